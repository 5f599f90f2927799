//! The documents of the admin API: one type for each, used at both ends.
//!
//! The admin listener writes these types and parses the bodies of requests into them; the command line does the
//! reverse. Each type has its name in `openapi.json`, and its documentation is the description there.
//!
//! The types are plain text and numbers. They are separate from the records on disk, so that either can change alone.
//! Nothing here reads the running state or validates input: conversions and checks are in `admin`. A request with an
//! unknown member is refused. A response is read more leniently: unknown members and unknown [`Word`]s are ignored, and
//! members that the command line can do without may be missing.

mod artifact;
mod audit;
mod deploy;
mod gateway;
mod instance;
mod mirror;
mod problem;
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
pub use self::service::{Changed, Description, PhaseName, ServiceList, ServiceRow, Snapshot};
pub use self::token::{TokenBody, Tokens};
pub use self::version::{Canary, ReleaseBody, Version, VersionBody, Versions};
pub use self::word::Word;

/// Returns a reference to the schema of the service file, which is a document of its own.
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
