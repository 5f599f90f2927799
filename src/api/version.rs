//! Versions of a service, and what share of its requests each gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelFile, Sha256, StoredArtifact, is_false, service_file};
use crate::config::TrafficState;

/// The versions that are kept of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub current_version: u64,
    /// The highest number that a version has been given.
    #[serde(default)]
    pub latest_version: u64,
    /// The newest first.
    pub versions: Vec<Version>,
}

/// A version of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its number: versions of a service are counted from 1.
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Whether it answers the requests that no canary gets.
    pub current: bool,
    /// Percent of the requests, where it is a canary.
    pub canary_weight: Option<u8>,
    pub processor: StoredArtifact,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Sha256>,
    /// The service file in its canonical form.
    #[serde(default)]
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    /// How it came to be.
    pub note: String,
}

/// A share of the requests for another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    pub version: u64,
    /// Percent of the requests.
    pub weight: u8,
}

/// The version to go back to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionBody {
    pub version: u64,
}

/// What is to become of a canary or, where there is none, of the service's part in its group. `abort` stands alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// Of a canary, percent of the requests; with 100 it becomes the current version. In a group, the share relative to
    /// those of the other members, up to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub weight: Option<u64>,
    /// Whether the service shares its group's requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_state: Option<TrafficState>,
    /// The canary is dropped.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(!skip_serializing_if)]
    pub abort: bool,
}
