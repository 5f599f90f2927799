//! An entry of the audit log: who asked for which change, when, and what came of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One change that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up over all services.
    pub number: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// Who the client said it was (`X-Bulkhead-Actor`); null where it said nothing.
    pub actor: Option<String>,
    /// The name of the admin token that was shown.
    pub token: String,
    /// Where the request came from.
    pub peer: IpAddr,
    /// What was asked for: `create`, `modify`, `stop`, …
    pub action: String,
    pub service: String,
    /// The current version before the change; null where there was none.
    pub version_before: Option<u64>,
    /// And after it.
    pub version_after: Option<u64>,
    /// What has changed: keys of the service file, and parts of the service. Never their values.
    pub changed: Vec<String>,
    /// `done`, `unchanged` where everything was so already, or the `code` of the refusal.
    pub outcome: String,
    /// The reason for a refusal, in words; null where the change was not refused.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Entry {
    /// The outcome of a change that was made.
    pub const DONE: &'static str = "done";
    /// The outcome of a change that asked for what was so already.
    pub const UNCHANGED: &'static str = "unchanged";
}
