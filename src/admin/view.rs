//! Services as the control API shows them.

use std::time::Instant;

use serde_json::{Value, json};

use super::Admin;
use crate::admission::Occupancy;
use crate::config::{ServiceFile, Token};
use crate::registry::{Phase, Service, State, Trouble};
use crate::telemetry::{HostNumbers, Seen};

impl Admin {
    /// What create and modify answer.
    pub(super) fn deployed(&self, service: &Service) -> Value {
        let state = service.state();
        json!({
            "name": service.name(),
            "url": self.url(service.name()),
            "token": shown(state.record.token.as_ref()),
            "version": state.record.version,
        })
    }

    /// What a change of its tokens answers.
    pub(super) fn tokens(service: &Service) -> Value {
        let state = service.state();
        json!({
            "name": service.name(),
            "token": shown(state.record.token.as_ref()),
            "previous_token": shown(state.record.previous_token.as_ref()),
        })
    }

    /// A row of the list.
    pub(super) fn row(&self, service: &Service) -> Value {
        let state = service.state();
        let (instances, workers) = match &state.phase {
            Phase::Running(version) => (version.spec.instances(), version.spec.rpc().worker_threads),
            Phase::Starting | Phase::Stopped | Phase::Failed(_) => (0, 0),
        };
        json!({
            "name": service.name(),
            "state": state.phase.name(),
            "version": state.record.version,
            "instances": instances,
            "workers": workers,
            "url": self.url(service.name()),
            "created_at": state.record.created_at,
            "updated_at": state.record.updated_at,
        })
    }

    /// Everything about one service.
    pub(super) fn description(&self, service: &Service) -> Value {
        let state = service.state();
        let record = &state.record;
        let (ignored, not_yet) = match ServiceFile::from_value(&record.file) {
            Ok(file) => (file.ignored(), file.not_yet()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        json!({
            "name": service.name(),
            "state": state.phase.name(),
            "message": message(&state),
            "version": record.version,
            "url": self.url(service.name()),
            "token": shown(record.token.as_ref()),
            "previous_token": shown(record.previous_token.as_ref()),
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "spec": record.file,
            "ignored": ignored,
            "not_yet": not_yet,
            "processor": record.processor,
            "model": record.model,
            "snapshot": snapshot(&state),
            "recycled": service.metrics().recycled_by_reason(),
            "instances": instances(&state, service.metrics().restarts()),
        })
    }

    /// Every service's numbers, and those of requests that named none.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .registry
            .list()
            .iter()
            .map(|service| Seen {
                service: service.name().to_owned(),
                metrics: std::sync::Arc::clone(service.metrics()),
                instances: match &service.state().phase {
                    Phase::Running(version) => {
                        version.occupancy().iter().map(|o| (o.workers, o.busy, o.queued)).collect()
                    }
                    Phase::Starting | Phase::Stopped | Phase::Failed(_) => Vec::new(),
                },
            })
            .collect();
        let nobody = std::sync::Arc::clone(self.front.nobody());
        seen.push(Seen { service: String::new(), metrics: nobody, instances: Vec::new() });
        seen
    }

    pub(super) fn host_numbers(&self) -> HostNumbers {
        HostNumbers {
            connections: self.front.connections(),
            connections_turned_away: self.front.connections_turned_away(),
            log_lines_lost: self.log.lost(),
        }
    }
}

/// Operators hand tokens out, so they are shown them.
fn shown(token: Option<&Token>) -> Option<&str> {
    token.map(Token::reveal)
}

/// What an operator should know first.
fn message(state: &State) -> String {
    let version = match &state.phase {
        Phase::Failed(reason) => return reason.clone(),
        Phase::Starting | Phase::Stopped => return String::new(),
        Phase::Running(version) => version,
    };
    let Some(trouble) = version.troubles().into_iter().flatten().next() else { return String::new() };
    let occupancy = version.occupancy();
    let workers: usize = occupancy.iter().map(|o| o.workers).sum();
    let stalled: usize = occupancy.iter().map(|o| o.stalled).sum();
    let seconds = seconds_until(&trouble);
    format!(
        "degraded: {stalled} of {workers} workers cannot be replaced, next attempt in {seconds:.1} s: {}",
        trouble.error
    )
}

/// Whether guests start from one that was initialised; null where none are there.
fn snapshot(state: &State) -> Value {
    let Phase::Running(version) = &state.phase else { return Value::Null };
    match version.no_snapshot() {
        None => json!({"taken": true}),
        Some(reason) => json!({"taken": false, "reason": reason}),
    }
}

fn seconds_until(trouble: &Trouble) -> f64 {
    trouble.next_attempt.saturating_duration_since(Instant::now()).as_secs_f64()
}

fn instances(state: &State, restarts: u64) -> Vec<Value> {
    let Phase::Running(version) = &state.phase else { return Vec::new() };
    let row = |(index, (o, trouble)): (usize, (Occupancy, Option<Trouble>))| {
        let mut row = json!({
            "index": index,
            "state": if trouble.is_none() { "running" } else { "degraded" },
            "workers": o.workers,
            "busy": o.busy,
            "queued": o.queued,
            "max_queue_size": o.max_queue,
            // Restarts are counted for the service as a whole.
            "restarts": restarts,
        });
        if let Some(trouble) = trouble {
            row["stalled"] = o.stalled.into();
            row["error"] = trouble.error.as_str().into();
            row["next_attempt_ms"] = (seconds_until(&trouble) * 1e3).round().into();
        }
        row
    };
    version.occupancy().into_iter().zip(version.troubles()).enumerate().map(row).collect()
}
