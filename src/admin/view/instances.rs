//! The instances of a service, as the control API shows them.

use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::PhaseName;
use crate::registry::{Crash, InstanceStatus, LastFault, Service, Serving, State, Trouble, Version};

/// The instances of a service.
#[derive(Serialize, JsonSchema)]
pub(in crate::admin) struct InstanceList {
    name: String,
    state: PhaseName,
    instances: Vec<Instance>,
}

/// One instance of a service: a queue and its workers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Instance {
    /// Counted through the current version, then the canary.
    index: usize,
    version: u64,
    state: InstanceState,
    /// Where the host takes its requests, with those of all others.
    address: String,
    /// RFC 3339, UTC.
    started_at: String,
    workers: usize,
    busy: usize,
    queued: usize,
    max_queue_size: usize,
    /// Guests replaced after a fault, counted for the service as a whole.
    restarts: u64,
    #[serde(flatten)]
    trouble: Option<Degraded>,
    /// Workers whose guest crashed and was not replaced (`runtime.enable_crash_block`).
    blocked: usize,
    /// How these ended.
    crashes: Vec<CrashRow>,
    /// The fault that cost the instance the latest of its guests; null where there has been none since it was brought up.
    last_fault: Option<FaultRow>,
}

/// A fault that cost an instance a guest, which may have been replaced since.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LastFault")]
struct FaultRow {
    /// RFC 3339, UTC.
    at: String,
    /// As `bulkhead_instance_restarts_total` counts it; `initialize` where no guest could be made.
    kind: &'static str,
    error: String,
    /// The request that it was answering, or one of them where it answered a batch.
    request_id: String,
}

/// How a guest ended that was not replaced.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Crash")]
struct CrashRow {
    /// RFC 3339, UTC.
    at: String,
    /// The request that it was answering.
    request_id: String,
    error: String,
    /// Innermost frame first, one a line; empty where the engine kept none.
    stack: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum InstanceState {
    Running,
    /// Some of its guests cannot be made again, or are not to be.
    Degraded,
}

/// What keeps an instance from being whole.
#[derive(Serialize, JsonSchema)]
struct Degraded {
    /// Workers without a guest.
    stalled: usize,
    error: String,
    /// Until the next attempt to make one.
    next_attempt_ms: u64,
}

impl InstanceList {
    /// `data_url` is where the host takes requests.
    pub(in crate::admin) fn of(service: &Service, data_url: &str) -> Self {
        let state = service.state();
        let instances = rows(seen(&state), service.metrics().restarts(), data_url);
        Self { name: service.name().to_owned(), state: (&state.phase).into(), instances }
    }
}

/// An instance as it is at this moment.
pub(super) struct InstanceSeen {
    version: u64,
    status: InstanceStatus,
}

/// Those of the current version, then the canary's.
pub(super) fn seen(state: &State) -> Vec<InstanceSeen> {
    let versions = state.phase.serving().into_iter().flat_map(Serving::versions);
    let of = |version: &Arc<Version>| {
        let number = version.number;
        version.status().into_iter().map(move |status| InstanceSeen { version: number, status })
    };
    versions.flat_map(of).collect()
}

pub(super) fn rows(seen: Vec<InstanceSeen>, restarts: u64, data_url: &str) -> Vec<Instance> {
    let address = data_url.trim_start_matches("http://");
    let row = |(index, InstanceSeen { version, status })| {
        let InstanceStatus { started, occupancy, trouble, crashes, last_fault } = status;
        let is_whole = trouble.is_none() && crashes.is_empty();
        Instance {
            index,
            version,
            state: if is_whole { InstanceState::Running } else { InstanceState::Degraded },
            address: address.to_owned(),
            started_at: humantime::format_rfc3339_seconds(started).to_string(),
            workers: occupancy.workers,
            busy: occupancy.busy,
            queued: occupancy.queued,
            max_queue_size: occupancy.max_queue,
            restarts,
            trouble: trouble.map(|trouble| Degraded {
                stalled: occupancy.stalled,
                next_attempt_ms: (seconds_until(&trouble) * 1e3).round() as u64,
                error: trouble.error,
            }),
            blocked: crashes.len(),
            crashes: crashes.into_iter().map(CrashRow::from).collect(),
            last_fault: last_fault.map(FaultRow::from),
        }
    };
    seen.into_iter().enumerate().map(row).collect()
}

/// What an operator should know of them first; empty where all are whole.
pub(super) fn trouble(seen: &[InstanceSeen]) -> String {
    let all = || seen.iter().map(|seen| &seen.status);
    let mut crashes = all().flat_map(|status| &status.crashes);
    if let Some(first) = crashes.next() {
        let (count, since) = (1 + crashes.count(), humantime::format_rfc3339_seconds(first.at));
        let error = &first.error;
        return format!("degraded: {count} workers are blocked since {since}, a restart heals them: {error}");
    }
    let Some(trouble) = all().find_map(|status| status.trouble.as_ref()) else {
        return String::new();
    };
    let workers: usize = all().map(|status| status.occupancy.workers).sum();
    let stalled: usize = all().map(|status| status.occupancy.stalled).sum();
    let (seconds, error) = (seconds_until(trouble), &trouble.error);
    format!("degraded: {stalled} of {workers} workers cannot be replaced, next attempt in {seconds:.1} s: {error}")
}

fn seconds_until(trouble: &Trouble) -> f64 {
    trouble.next_attempt.saturating_duration_since(Instant::now()).as_secs_f64()
}

impl From<Crash> for CrashRow {
    fn from(crash: Crash) -> Self {
        let at = humantime::format_rfc3339_seconds(crash.at).to_string();
        Self { at, request_id: crash.request_id.to_string(), error: crash.error, stack: crash.stack }
    }
}

impl From<LastFault> for FaultRow {
    fn from(fault: LastFault) -> Self {
        let at = humantime::format_rfc3339_seconds(fault.at).to_string();
        Self { at, kind: fault.kind, error: fault.error, request_id: fault.request_id.to_string() }
    }
}
