//! The numbers of the host for its metrics, and its readiness.

use std::sync::Arc;
use std::time::Duration;

use super::Admin;
use crate::queue::{Counts, QueueName, Status, unix_ms};
use crate::registry::{Phase, Service, Serving};
use crate::telemetry::{HostNumbers, InstanceNumbers, QueueSeen, Seen, UpstreamSeen};

impl Admin {
    /// The numbers of every service, and those of requests that named no service.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .registry
            .list()
            .iter()
            .map(|service| Seen {
                service: service.name().to_owned(),
                metrics: Arc::clone(service.metrics()),
                instances: numbers(&service.state().phase),
                ready: Some(is_ready(&service.state().phase)),
                by_version: outcomes(&service.state().phase),
                queues: self.queues_of(service),
            })
            .collect();
        seen.extend(self.gateway.iter().flat_map(|gateway| gateway.seen()));
        let nobody = Arc::clone(self.front.nobody());
        seen.push(Seen::without_instances(String::new(), nobody));
        seen
    }

    /// The queues of an asynchronous service.
    fn queues_of(&self, service: &Service) -> Vec<QueueSeen> {
        if service.look().asynchronous().is_none() {
            return Vec::new();
        }
        let name = service.name();
        let queues = [("input", QueueName::input(name)), ("sink", QueueName::sink(name))];
        let store = &self.registry.queues().store;
        queues.into_iter().filter_map(|(queue, name)| Some(queue_seen(queue, store.glance(&name)?))).collect()
    }

    pub(super) fn upstreams_seen(&self) -> Vec<UpstreamSeen> {
        self.gateway.as_ref().map(|gateway| gateway.upstreams_seen()).unwrap_or_default()
    }

    /// True if every service has started or failed to start, and every upstream has been checked.
    pub(super) fn is_settled(&self) -> bool {
        self.registry.is_settled() && self.gateway.as_ref().is_none_or(|gateway| gateway.is_settled())
    }

    /// The progress of a host that is not ready yet, for `/readyz`.
    pub(super) fn progress(&self) -> String {
        match self.registry.is_settled() {
            true => "the upstreams of the gateway are being checked".to_owned(),
            false => self.registry.progress(),
        }
    }

    pub(super) fn host_numbers(&self) -> HostNumbers {
        HostNumbers {
            connections: self.front.connections(),
            connections_turned_away: self.front.connections_turned_away(),
            log_lines_lost: self.log.lost(),
            queue_commits: Arc::clone(&self.registry.queues().commits),
        }
    }
}

fn queue_seen(queue: &'static str, status: Status) -> QueueSeen {
    let Status { ready, leased, delayed, dead, oldest_put_ms, counts, .. } = status;
    let Counts { put, delivered, redelivered, finished, died, expired } = counts;
    let oldest_age = match oldest_put_ms {
        0 => Duration::ZERO,
        put_at => Duration::from_millis(unix_ms().saturating_sub(put_at)),
    };
    QueueSeen { queue, ready, leased, delayed, dead, oldest_age, put, delivered, redelivered, finished, died, expired }
}

/// The numbers of each instance of the serving versions.
fn numbers(phase: &Phase) -> Vec<InstanceNumbers> {
    let versions = phase.serving().into_iter().flat_map(Serving::versions);
    let occupancies = versions.flat_map(|version| version.occupancy());
    let numbers = occupancies.map(|of| InstanceNumbers {
        workers: of.workers,
        busy: of.busy,
        stalled: of.stalled,
        queued: of.queued,
    });
    numbers.collect()
}

/// True if a worker can answer requests: at least one is not stalled.
fn is_ready(phase: &Phase) -> bool {
    let mut versions = phase.serving().into_iter().flat_map(Serving::versions);
    versions.any(|version| version.occupancy().iter().any(|of| of.stalled < of.workers))
}

/// The number of requests since the canary began, by version and status.
fn outcomes(phase: &Phase) -> Vec<(u64, u16, u64)> {
    let Some(Serving { current, canary: Some(canary) }) = phase.serving() else { return Vec::new() };
    canary.outcomes(current.number)
}
