//! Mirrors: copies of a service's requests for another service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mirror of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MirrorOf {
    #[serde(default)]
    pub name: String,
    /// The mirror; null if no copies are made.
    pub mirror: Option<Mirror>,
}

/// A mirror: another service gets copies of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mirror {
    /// The service that gets the copies.
    pub target: String,
    /// The percentage of the requests that are copied.
    pub ratio: u8,
}

/// The mirror to set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MirrorBody {
    /// The service that is to get the copies.
    pub target: String,
    /// The percentage of the requests to copy.
    #[schemars(range(max = 100))]
    pub ratio: u64,
}
