//! The versions of a service, and the share of its requests that each gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelFile, Sha256, StoredArtifact, is_false, service_file};
use crate::config::TrafficState;

/// The kept versions of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub current_version: u64,
    /// The highest version number so far.
    #[serde(default)]
    pub latest_version: u64,
    /// The versions, newest first.
    pub versions: Vec<Version>,
}

/// A version of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The number of the version, counted from 1.
    pub version: u64,
    /// The time of creation, RFC 3339, UTC.
    pub created_at: String,
    /// True for the current version, which answers all requests that no canary gets.
    pub current: bool,
    /// The percentage of the requests if the version is a canary; otherwise null.
    pub canary_weight: Option<u8>,
    /// Null for a version without a processor.
    pub processor: Option<StoredArtifact>,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Sha256>,
    /// The service file in its canonical form.
    #[serde(default)]
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    /// The origin of the version, in words, and whether it was a canary that was aborted.
    pub note: String,
}

/// A canary: a version that gets a share of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    pub version: u64,
    /// The percentage of the requests.
    pub weight: u8,
}

/// The version to go back to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionBody {
    pub version: u64,
}

/// A change of the canary or, if there is none, of the service's share in its group. `abort` must be given alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// For a canary, the percentage of the requests; with 100 it becomes the current version. In a group, the weight of
    /// the service relative to those of the other members, up to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub weight: Option<u64>,
    /// `grouping` for a share of the group's requests, `standalone` for none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_state: Option<TrafficState>,
    /// True to drop the canary.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(!skip_serializing_if)]
    pub abort: bool,
}
