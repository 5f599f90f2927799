//! The documents of the admin API, with one type for both ends.
//!
//! The admin listener and the command line write and read the same types. The name and the doc comment of a type are
//! its name and description in `openapi.json`.
//!
//! The types hold plain text and numbers. They are separate from the records on disk, so that each can change without
//! the other. Conversions and checks are in `admin`. A request with unknown members is refused. An answer is read more
//! leniently: unknown members and unknown [`Word`]s are accepted, and members that the command line does not need may
//! be missing.

mod artifact;
mod audit;
mod deploy;
mod gateway;
mod instance;
mod mirror;
mod problem;
mod queue;
mod service;
mod token;
mod version;
mod word;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

pub use self::artifact::{Artifact, ListedModelFile, ModelFile, Sha256, StoredArtifact};
pub use self::audit::{AuditEntry, AuditPage};
pub use self::deploy::{CreateBody, Deployed, Event, ModifyBody};
pub use self::gateway::{ClusterView, GatewayView, RouteView, UpstreamState, UpstreamView};
pub use self::instance::{Crash, Degraded, Instance, InstanceList, InstanceState, LastFault};
pub use self::mirror::{Mirror, MirrorBody, MirrorOf};
pub use self::problem::{ErrorMember, Mistake, Problem, SpentMs};
pub use self::queue::{
    CancelBody, CancelledIn, CancelledItem, ConsumerState, DeadChoice, DeadLetter, DeadLetters, DeadReason, Purged,
    QueueConsumer, QueueLimits, QueueState, QueueStatus, ReadyItems, Requeued,
};
pub use self::service::{Changed, Description, PhaseName, ServiceList, ServiceRow, ServiceType, Snapshot};
pub use self::token::{TokenBody, Tokens};
pub use self::version::{Canary, ReleaseBody, Version, VersionBody, Versions};
pub use self::word::Word;

/// The schema of a service file, which is a document of its own as well.
fn service_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "#/components/schemas/ServiceFile" })
}

/// Reads a member that is present, so that null differs from an absent member.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}
