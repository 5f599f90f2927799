//! Copies of a service's requests for another one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where copies of a service's requests go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MirrorOf {
    #[serde(default)]
    pub name: String,
    /// Null where none are made.
    pub mirror: Option<Mirror>,
}

/// Copies of requests for another service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mirror {
    /// The service that gets them.
    pub target: String,
    /// Of a hundred requests.
    pub ratio: u8,
}

/// Where copies are to go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MirrorBody {
    /// The service that is to get them.
    pub target: String,
    /// Of a hundred requests.
    #[schemars(range(max = 100))]
    pub ratio: u64,
}
