//! The audit log: who asked for which change, when, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// The `cursor` of the page after this; null on the last one.
    pub next: Option<String>,
}

/// One change that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Counts up over all services.
    #[serde(default)]
    pub number: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// Who the client said it was (`X-Bulkhead-Actor`); null where it said nothing.
    pub actor: Option<String>,
    /// The name of the admin token that was shown.
    pub token: String,
    /// Where the request came from.
    pub peer: String,
    /// What was asked for: `create`, `modify`, `stop`, …
    pub action: String,
    pub service: String,
    /// The current version before the change; null where there was none.
    pub version_before: Option<u64>,
    /// And after it.
    pub version_after: Option<u64>,
    /// What has changed: keys of the service file, and parts of the service. Never their values.
    #[serde(default)]
    pub changed: Vec<String>,
    /// `done`, `unchanged` where everything was so already, or the `code` of the refusal.
    pub outcome: String,
    /// The reason for a refusal, in words; null where the change was not refused.
    pub reason: Option<String>,
}
