//! The documents of the admin API: what goes over the wire, one type for both ends.
//!
//! The admin listener writes these types and reads the bodies of requests as them; the command line reads and writes the
//! same ones. Each has the name under which `openapi.json` shows it, and its documentation is what is said there.
//!
//! They are plain text and numbers, apart from the records on disk, so that the two can change one without the other;
//! nothing here looks at what is running or judges what was sent. Conversions and checks are the host's, in `admin`.
//! A request refuses members that nobody knows. An answer is read more leniently: unknown members and unknown
//! [`Word`]s are passed over, and what the command line can do without may be missing.

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

/// The schema of a service file, which is a document of its own as well.
fn service_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "#/components/schemas/ServiceFile" })
}

/// Reads a member that is there, so that null differs from nothing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}
