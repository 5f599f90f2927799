//! The instances of a service, and what has happened to their guests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PhaseName, Word};

/// The instances of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceList {
    /// The service.
    #[serde(default)]
    pub name: String,
    /// What the service is doing.
    #[serde(default)]
    pub state: Word<PhaseName>,
    /// Those of the current version, then the canary's.
    pub instances: Vec<Instance>,
}

/// One instance of a service: a queue and its workers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Counted through the current version, then the canary.
    pub index: usize,
    /// The version that it runs.
    // None where an older host does not say.
    #[schemars(with = "u64")]
    pub version: Option<u64>,
    #[serde(default)]
    pub state: Word<InstanceState>,
    /// Where the host takes its requests, with those of all others.
    #[serde(default)]
    pub address: String,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub started_at: String,
    /// How many requests it works on at once.
    pub workers: usize,
    /// Workers that are answering a request.
    #[serde(default)]
    pub busy: usize,
    /// Requests that wait for a worker.
    #[serde(default)]
    pub queued: usize,
    /// The most that may wait.
    #[serde(default)]
    pub max_queue_size: usize,
    /// Guests replaced after a fault, counted for the service as a whole.
    pub restarts: u64,
    #[serde(flatten)]
    pub trouble: Option<Degraded>,
    /// Workers whose guest crashed and was not replaced (`runtime.enable_crash_block`).
    #[serde(default)]
    pub blocked: usize,
    /// How these ended.
    #[serde(default)]
    pub crashes: Vec<Crash>,
    /// The fault that cost the instance the latest of its guests; null where there has been none since it was brought up.
    pub last_fault: Option<LastFault>,
}

/// A fault that cost an instance a guest, which may have been replaced since.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LastFault {
    /// RFC 3339, UTC.
    pub at: String,
    /// As `bulkhead_instance_restarts_total` counts it; `initialize` where no guest could be made.
    pub kind: String,
    /// What went wrong, in words.
    pub error: String,
    /// The request that it was answering, or one of them where it answered a batch.
    pub request_id: String,
}

/// How a guest ended that was not replaced.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Crash {
    /// RFC 3339, UTC.
    #[serde(default)]
    pub at: String,
    /// The request that it was answering.
    #[serde(default)]
    pub request_id: String,
    /// What went wrong, in words.
    pub error: String,
    /// Innermost frame first, one a line; empty where the engine kept none.
    #[serde(default)]
    pub stack: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    Running,
    /// Some of its guests cannot be made again, or are not to be.
    Degraded,
}

/// What keeps an instance from being whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Degraded {
    /// Workers without a guest.
    pub stalled: usize,
    /// Why the latest attempt to make one failed.
    pub error: String,
    /// Until the next attempt to make one, in milliseconds.
    #[serde(default)]
    pub next_attempt_ms: u64,
}

impl AsRef<str> for InstanceState {
    fn as_ref(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Degraded => "degraded",
        }
    }
}

impl Instance {
    /// The workers that can take a request: those that have a guest or can be given one.
    pub fn ready(&self) -> usize {
        let stalled = self.trouble.as_ref().map_or(0, |trouble| trouble.stalled);
        self.workers.saturating_sub(stalled.max(self.blocked))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_of_an_older_host_is_read_and_its_workers_without_a_guest_take_nothing() {
        let mut json = json!({ "index": 0, "workers": 5, "restarts": 3, "of a later release": true });
        let read = |json: &serde_json::Value| serde_json::from_value::<Instance>(json.clone()).unwrap();
        let whole = read(&json);
        assert_eq!((whole.version, whole.state.as_str(), whole.ready()), (None, "", 5));
        (json["stalled"], json["error"]) = (json!(2), json!("no memory"));
        assert_eq!(read(&json).ready(), 3);
        json["blocked"] = json!(4);
        assert_eq!(read(&json).ready(), 1);
    }
}
