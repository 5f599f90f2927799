//! Services as the control API shows them.

use serde_json::{Value, json};

use super::Admin;
use crate::config::ServiceFile;
use crate::registry::{Phase, Service, State};
use crate::telemetry::{HostNumbers, Seen};

impl Admin {
    /// What create and modify answer.
    pub(super) fn deployed(&self, service: &Service) -> Value {
        let state = service.state();
        json!({
            "name": service.name(),
            "url": self.url(service.name()),
            "token": state.record.token,
            "version": state.record.version,
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
            "token": record.token,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "spec": record.file,
            "ignored": ignored,
            "not_yet": not_yet,
            "processor": record.processor,
            "model": record.model,
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

fn message(state: &State) -> &str {
    match &state.phase {
        Phase::Failed(reason) => reason,
        Phase::Starting | Phase::Running(_) | Phase::Stopped => "",
    }
}

fn instances(state: &State, restarts: u64) -> Vec<Value> {
    let Phase::Running(version) = &state.phase else { return Vec::new() };
    let row = |(index, o): (usize, &crate::admission::Occupancy)| {
        json!({
            "index": index,
            "workers": o.workers,
            "busy": o.busy,
            "queued": o.queued,
            "max_queue_size": o.max_queue,
            // Restarts are counted for the service as a whole.
            "restarts": restarts,
        })
    };
    version.occupancy().iter().enumerate().map(row).collect()
}
