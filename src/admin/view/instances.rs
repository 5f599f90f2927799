//! The instances of a service, as they are at this moment.

use std::sync::Arc;
use std::time::Instant;

use crate::api::{self, Degraded, Instance, InstanceList, InstanceState, PhaseName};
use crate::registry::{Crash, InstanceStatus, LastFault, Service, Serving, State, Trouble, Version};

/// The instances of `service`. `data_url` is the base URL of the data listener.
pub(in crate::admin) fn of(service: &Service, data_url: &str) -> InstanceList {
    let state = service.state();
    let instances = rows(seen(&state), service.metrics().restarts(), data_url);
    InstanceList { name: service.name().to_owned(), state: PhaseName::from(&state.phase).into(), instances }
}

/// The state of an instance at one moment.
pub(super) struct InstanceSeen {
    version: u64,
    status: InstanceStatus,
}

impl InstanceSeen {
    pub(super) fn is_whole(&self) -> bool {
        self.status.trouble.is_none() && self.status.crashes.is_empty()
    }
}

/// The instances of the current version, then those of the canary.
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
    let row = |(index, seen): (usize, InstanceSeen)| {
        let is_whole = seen.is_whole();
        let InstanceSeen { version, status } = seen;
        let InstanceStatus { started, occupancy, trouble, crashes, last_fault } = status;
        Instance {
            index,
            version: Some(version),
            state: if is_whole { InstanceState::Running.into() } else { InstanceState::Degraded.into() },
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
            crashes: crashes.into_iter().map(Into::into).collect(),
            last_fault: last_fault.map(Into::into),
        }
    };
    seen.into_iter().enumerate().map(row).collect()
}

/// The most important fact about the instances for an operator; empty if all are intact.
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

impl From<Crash> for api::Crash {
    fn from(crash: Crash) -> Self {
        let at = humantime::format_rfc3339_seconds(crash.at).to_string();
        Self { at, request_id: crash.request_id.to_string(), error: crash.error, stack: crash.stack }
    }
}

impl From<LastFault> for api::LastFault {
    fn from(fault: LastFault) -> Self {
        let at = humantime::format_rfc3339_seconds(fault.at).to_string();
        Self { at, kind: fault.kind.to_owned(), error: fault.error, request_id: fault.request_id.to_string() }
    }
}
