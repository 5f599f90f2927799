//! Services: a row of the list, all that is known of one, and what has become of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Canary, Instance, Mirror, ModelFile, StoredArtifact, Word, service_file};
use crate::config::TrafficState;

/// A page of services, by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    pub services: Vec<ServiceRow>,
    /// The `cursor` of the page after this; null on the last one.
    pub next: Option<String>,
}

/// A service in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRow {
    pub name: String,
    pub state: Word<PhaseName>,
    /// The current version.
    pub version: u64,
    /// The version that is tried beside it; null where there is none.
    pub canary: Option<Canary>,
    /// The group that it is in; null where it is in none.
    pub group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    #[serde(default)]
    pub weight: u16,
    /// Whether it shares them at all.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// How many of the current version are running.
    pub instances: usize,
    /// How many requests each instance works on at once.
    pub workers: usize,
    /// Where callers send their requests.
    pub url: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// The host has just started and has not come to it yet.
    Starting,
    Running,
    Stopped,
    /// It could not be brought up; `message` says why.
    Failed,
}

/// Everything about one service.
// Not `Debug`, so that no log line shows its tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    pub name: String,
    pub state: Word<PhaseName>,
    /// What an operator should know first; empty where there is nothing.
    #[serde(default)]
    pub message: String,
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    #[serde(default)]
    pub revision: u64,
    /// The current version.
    pub version: u64,
    /// The highest number that a version has been given.
    // None where an older host does not say.
    #[schemars(with = "u64")]
    pub latest_version: Option<u64>,
    /// The version that is tried beside the current one; null where there is none.
    pub canary: Option<Canary>,
    /// The group that it is in; null where it is in none.
    pub group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    #[serde(default)]
    pub weight: u16,
    /// Whether it shares them at all.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// Where copies of its requests go; null where none are made.
    pub mirror: Option<Mirror>,
    /// Where callers send their requests.
    pub url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    pub token: Option<String>,
    /// The token before, while it is still accepted.
    pub previous_token: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// The service file in its canonical form.
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    /// Its keys that mean something to EAS and nothing here.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Its keys that are kept and have no effect yet.
    #[serde(default)]
    pub not_yet: Vec<String>,
    pub processor: StoredArtifact,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    /// Null where no instance is running.
    pub snapshot: Option<Snapshot>,
    /// Guests replaced between two requests, by reason.
    #[serde(default)]
    pub recycled: BTreeMap<String, u64>,
    /// Those of the current version, then the canary's.
    #[serde(default)]
    pub instances: Vec<Instance>,
}

/// Whether guests start from one that was initialised.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    pub taken: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What has become of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub name: String,
    /// What it is doing now, or `deleted`.
    pub state: String,
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
