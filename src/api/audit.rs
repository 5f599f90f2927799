//! The audit log: the requested changes, with their authors, times and outcomes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// A requested change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The number of the entry. It counts up over all services.
    #[serde(default)]
    pub number: u64,
    /// The time of the change, RFC 3339, UTC.
    pub at: String,
    /// The name that the client gave (`X-Bulkhead-Actor`); null if it gave none.
    pub actor: Option<String>,
    /// The name of the admin token.
    pub token: String,
    /// The IP address of the client.
    pub peer: String,
    /// The kind of change: `create`, `modify`, `stop`, `start`, `mirror_on`, `mirror_off`, …
    pub action: String,
    pub service: String,
    /// The current version before the change; null if there was none.
    pub version_before: Option<u64>,
    /// The current version after the change; null if there was none.
    pub version_after: Option<u64>,
    /// The changed keys of the service file, and changed parts of the service. Their values are never listed.
    #[serde(default)]
    pub changed: Vec<String>,
    /// `done`, `unchanged` if the change made no difference, or the `code` of the refusal.
    pub outcome: String,
    /// The reason for a refusal, in words; null if the change was not refused.
    pub reason: Option<String>,
}
