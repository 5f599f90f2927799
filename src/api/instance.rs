//! The instances of a service, and the faults of their guests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PhaseName, Word};

/// The instances of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceList {
    /// The name of the service.
    #[serde(default)]
    pub name: String,
    /// The state of the service.
    #[serde(default)]
    pub state: Word<PhaseName>,
    /// The instances of the current version, then those of the canary.
    pub instances: Vec<Instance>,
}

/// One instance of a service: a queue and its workers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The number of the instance, from 0. The canary's instances are counted after those of the current version.
    pub index: usize,
    /// The version that it runs.
    // `None` from an older host.
    #[schemars(with = "u64")]
    pub version: Option<u64>,
    #[serde(default)]
    pub state: Word<InstanceState>,
    /// The address of the data listener. All instances have the same one.
    #[serde(default)]
    pub address: String,
    /// The time at which the instance started, RFC 3339, UTC.
    #[serde(default)]
    pub started_at: String,
    /// The number of workers. Each answers one request at a time.
    pub workers: usize,
    /// Workers that are answering a request.
    #[serde(default)]
    pub busy: usize,
    /// Requests that wait for a worker.
    #[serde(default)]
    pub queued: usize,
    /// Most requests that may wait.
    #[serde(default)]
    pub max_queue_size: usize,
    /// Guests replaced after a fault, counted for the whole service.
    pub restarts: u64,
    #[serde(flatten)]
    pub trouble: Option<Degraded>,
    /// Workers whose guest crashed and was not replaced (`runtime.enable_crash_block`).
    #[serde(default)]
    pub blocked: usize,
    /// The crashes of these guests.
    #[serde(default)]
    pub crashes: Vec<Crash>,
    /// The latest fault that ended a guest of the instance; null if there was none since the instance started.
    pub last_fault: Option<LastFault>,
}

/// A fault that ended a guest of an instance. The guest may have been replaced since.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LastFault {
    /// The time of the fault, RFC 3339, UTC.
    pub at: String,
    /// The kind of fault, as in `bulkhead_instance_restarts_total`; `initialize` if no guest could be made.
    pub kind: String,
    /// The error in words.
    pub error: String,
    /// The request that the guest was answering; for a batch, one of its requests.
    pub request_id: String,
}

/// The crash of a guest that was not replaced.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Crash {
    /// The time of the crash, RFC 3339, UTC.
    #[serde(default)]
    pub at: String,
    /// The request that the guest was answering.
    #[serde(default)]
    pub request_id: String,
    /// The error in words.
    pub error: String,
    /// The stack, innermost frame first, one a line; empty if the engine kept none.
    #[serde(default)]
    pub stack: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    Running,
    /// Some of its guests cannot be replaced, or are not to be replaced.
    Degraded,
}

/// The reason why an instance is degraded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Degraded {
    /// Workers without a guest.
    pub stalled: usize,
    /// The error of the latest attempt to make a guest.
    pub error: String,
    /// Milliseconds until the next attempt.
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
    /// The number of workers that can take a request: those that have a guest or can get one.
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
