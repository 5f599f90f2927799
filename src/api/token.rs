//! The tokens that callers of a service show.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tokens of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    #[serde(default)]
    pub name: String,
    /// What callers show in `Authorization`; null where anybody may call.
    pub token: Option<String>,
    /// The token before, while it is still accepted.
    pub previous_token: Option<String>,
}

/// What is to become of a service's tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum TokenBody {
    /// This token becomes the current one, or a new one where none is given; the one before is accepted as well.
    Rotate {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// The one before is accepted no longer.
    // Not a unit: one of those takes keys that nobody knows.
    Retire {},
}
