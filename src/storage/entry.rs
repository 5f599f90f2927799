//! An entry of the audit log: a requested change with its author, time and outcome.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A requested change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of the entry. It counts up over all services.
    pub number: u64,
    /// The time of the change, RFC 3339, UTC.
    pub at: String,
    /// The name that the client gave (`X-Bulkhead-Actor`); null if it gave none.
    pub actor: Option<String>,
    /// The name of the admin token.
    pub token: String,
    /// The IP address of the client.
    pub peer: IpAddr,
    /// The kind of change: `create`, `modify`, `stop`, …
    pub action: String,
    pub service: String,
    /// The current version before the change; null if there was none.
    pub version_before: Option<u64>,
    /// The current version after the change; null if there was none.
    pub version_after: Option<u64>,
    /// The changed keys of the service file, and changed parts of the service. Their values are never stored here.
    pub changed: Vec<String>,
    /// `done`, `unchanged` if the change made no difference, or the `code` of the refusal.
    pub outcome: String,
    /// The reason for a refusal, in words; null if the change was not refused.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Entry {
    /// The outcome of a change that was made.
    pub const DONE: &'static str = "done";
    /// The outcome of a change that made no difference.
    pub const UNCHANGED: &'static str = "unchanged";
}
