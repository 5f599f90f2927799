//! Services: the list, the description of one, and the outcome of a change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Canary, Instance, Mirror, ModelFile, StoredArtifact, Word, service_file};
use crate::config::TrafficState;

/// A page of services, sorted by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    pub services: Vec<ServiceRow>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// A service in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRow {
    pub name: String,
    /// `Async` if the service is called by a put into its queue, otherwise `Standard` (`metadata.type`).
    #[serde(default, rename = "type")]
    pub service_type: Word<ServiceType>,
    pub state: Word<PhaseName>,
    /// The current version.
    pub version: u64,
    /// The canary beside the current version; null if there is none.
    pub canary: Option<Canary>,
    /// The group of the service; null if it is in none.
    pub group: Option<String>,
    /// The weight in the group: the share of the group's requests, relative to the weights of the other members.
    #[serde(default)]
    pub weight: u16,
    /// `grouping` if the service gets its share of the group's requests, `standalone` if it gets none of them.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// The number of instances of the current version; 0 if the service is not running.
    pub instances: usize,
    /// The number of instances that are degraded, those of a canary included: workers of them have no guest.
    #[serde(default)]
    pub degraded: usize,
    /// The number of workers of each instance; 0 if the service is not running.
    pub workers: usize,
    /// The URL to which callers send their requests; for an asynchronous service, that of the input queue.
    pub url: String,
    /// The URL of the queue with the results; null for a service without queues.
    pub sink_url: Option<String>,
    /// The time of creation, RFC 3339, UTC.
    pub created_at: String,
    /// The time of the latest change, RFC 3339, UTC.
    pub updated_at: String,
}

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// The host has just started, and has not started the service yet.
    Starting,
    Running,
    Stopped,
    /// The service could not be started; `message` has the reason.
    Failed,
}

/// The way in which a service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// A request is answered by the processor.
    Standard,
    /// A request is put into a queue, and the answer of the processor into another one.
    Async,
}

/// Everything about one service.
// Not `Debug`, so that no log line shows its tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    pub name: String,
    /// `Async` if the service is called by a put into its queue, otherwise `Standard` (`metadata.type`).
    #[serde(default, rename = "type")]
    pub service_type: Word<ServiceType>,
    pub state: Word<PhaseName>,
    /// The most important fact for an operator; empty if there is none.
    #[serde(default)]
    pub message: String,
    /// The revision of the service: the number of its latest change on this host. Its `ETag` is this number in quotes.
    #[serde(default)]
    pub revision: u64,
    /// The current version.
    pub version: u64,
    /// The highest version number so far.
    // `None` from an older host.
    #[schemars(with = "u64")]
    pub latest_version: Option<u64>,
    /// The canary beside the current version; null if there is none.
    pub canary: Option<Canary>,
    /// The group of the service; null if it is in none.
    pub group: Option<String>,
    /// The weight in the group: the share of the group's requests, relative to the weights of the other members.
    #[serde(default)]
    pub weight: u16,
    /// `grouping` if the service gets its share of the group's requests, `standalone` if it gets none of them.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// The mirror that gets copies of the requests; null if there is none.
    pub mirror: Option<Mirror>,
    /// The URL to which callers send their requests; for an asynchronous service, that of the input queue.
    pub url: String,
    /// The URL of the queue with the results; null for a service without queues.
    pub sink_url: Option<String>,
    /// The token that callers send in `Authorization`; null if they need none.
    pub token: Option<String>,
    /// The previous token, while it is still accepted.
    pub previous_token: Option<String>,
    /// The time of creation, RFC 3339, UTC.
    pub created_at: String,
    /// The time of the latest change, RFC 3339, UTC.
    pub updated_at: String,
    /// The service file in its canonical form.
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    /// The keys of the service file that have a meaning for EAS and none here.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Null for an asynchronous service without a processor.
    pub processor: Option<StoredArtifact>,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    /// The snapshot of the current version; null if no instance is running.
    pub snapshot: Option<Snapshot>,
    /// Guests replaced between two requests, by reason.
    #[serde(default)]
    pub recycled: BTreeMap<String, u64>,
    /// The instances of the current version, then those of the canary.
    #[serde(default)]
    pub instances: Vec<Instance>,
}

/// The snapshot of a version, from which its guests start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    pub taken: bool,
    /// The reason why no snapshot was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of a change of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub name: String,
    /// The state of the service now, or `deleted`.
    pub state: String,
}

impl AsRef<str> for ServiceType {
    fn as_ref(&self) -> &str {
        match self {
            Self::Standard => "Standard",
            Self::Async => "Async",
        }
    }
}

impl AsRef<str> for PhaseName {
    fn as_ref(&self) -> &str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}
