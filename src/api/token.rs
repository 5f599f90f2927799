//! The tokens that callers of a service send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tokens of a service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    #[serde(default)]
    pub name: String,
    /// The token that callers send in `Authorization`; null if they need none.
    pub token: Option<String>,
    /// The previous token, while it is still accepted.
    pub previous_token: Option<String>,
}

/// A change of a service's tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum TokenBody {
    /// Makes this token the current one, or a generated one if none is given. The previous token is still accepted.
    Rotate {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// Retires the previous token, which is then no longer accepted.
    // Not a unit variant, because serde would accept unknown keys for it.
    Retire {},
}
