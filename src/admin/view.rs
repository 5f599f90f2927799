//! Services as the control API shows them: each answer is a type, and its documentation is what the document says of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::Admin;
use crate::admission::Occupancy;
use crate::config::{ServiceFile, Token};
use crate::registry::{Phase, Service, State, Trouble};
use crate::storage::{self, Digest, ModelFile};
use crate::telemetry::{HostNumbers, Seen};

/// What create and modify answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deployed {
    name: String,
    /// Where callers send their requests.
    url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    token: Option<String>,
    version: u64,
}

/// The tokens of a service.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    name: String,
    token: Option<String>,
    /// The token before, while it is still accepted.
    previous_token: Option<String>,
}

/// A page of services, by name.
#[derive(Serialize, JsonSchema)]
pub(super) struct ServiceList {
    pub(super) services: Vec<ServiceRow>,
    /// The `cursor` of the page after this; null on the last one.
    pub(super) next: Option<String>,
}

/// A service in a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct ServiceRow {
    name: String,
    state: PhaseName,
    version: u64,
    /// How many are running.
    instances: usize,
    /// How many requests each instance works on at once.
    workers: usize,
    url: String,
    created_at: String,
    updated_at: String,
}

/// What a service is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhaseName {
    /// The host has just started and has not come to it yet.
    Starting,
    Running,
    Stopped,
    /// It could not be brought up; `message` says why.
    Failed,
}

/// Everything about one service.
#[derive(Serialize, JsonSchema)]
pub(super) struct Description {
    name: String,
    state: PhaseName,
    /// What an operator should know first; empty where there is nothing.
    message: String,
    version: u64,
    url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    token: Option<String>,
    /// The token before, while it is still accepted.
    previous_token: Option<String>,
    created_at: String,
    updated_at: String,
    /// The service file in its canonical form.
    #[schemars(schema_with = "service_file")]
    spec: Value,
    /// Its keys that mean something to EAS and nothing here.
    ignored: Vec<String>,
    /// Its keys that are kept and have no effect yet.
    not_yet: Vec<String>,
    processor: storage::Artifact,
    model: Vec<ModelFile>,
    /// Null where no instance is running.
    snapshot: Option<Snapshot>,
    /// Guests replaced between two requests, by reason.
    recycled: BTreeMap<&'static str, u64>,
    instances: Vec<Instance>,
}

/// Whether guests start from one that was initialised.
#[derive(Serialize, JsonSchema)]
struct Snapshot {
    taken: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// One instance of a service: a queue and its workers.
#[derive(Serialize, JsonSchema)]
struct Instance {
    index: usize,
    state: InstanceState,
    workers: usize,
    busy: usize,
    queued: usize,
    max_queue_size: usize,
    /// Guests replaced after a fault, counted for the service as a whole.
    restarts: u64,
    #[serde(flatten)]
    trouble: Option<Degraded>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum InstanceState {
    Running,
    /// Some of its guests cannot be made again.
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

/// What has become of a service.
#[derive(Serialize, JsonSchema)]
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) state: &'static str,
}

/// An uploaded file.
#[derive(Serialize, JsonSchema)]
pub(super) struct Artifact {
    pub(super) sha256: Digest,
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Sha256".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Digest::PATTERN,
            "description": "A SHA-256 in lower-case hexadecimal.",
        })
    }
}

/// The schema of a service file, which is a document of its own as well.
pub(super) fn service_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "#/components/schemas/ServiceFile" })
}

impl From<&Phase> for PhaseName {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Starting => Self::Starting,
            Phase::Running(_) => Self::Running,
            Phase::Stopped => Self::Stopped,
            Phase::Failed(_) => Self::Failed,
        }
    }
}

impl Admin {
    pub(super) fn deployed(&self, service: &Service) -> Deployed {
        let state = service.state();
        Deployed {
            name: service.name().to_owned(),
            url: self.url(service.name()),
            token: shown(state.record.token.as_ref()),
            version: state.record.version,
        }
    }

    pub(super) fn tokens(service: &Service) -> Tokens {
        let state = service.state();
        Tokens {
            name: service.name().to_owned(),
            token: shown(state.record.token.as_ref()),
            previous_token: shown(state.record.previous_token.as_ref()),
        }
    }

    pub(super) fn row(&self, service: &Service) -> ServiceRow {
        let state = service.state();
        let (instances, workers) = match &state.phase {
            Phase::Running(version) => (version.spec.instances(), version.spec.rpc().worker_threads),
            Phase::Starting | Phase::Stopped | Phase::Failed(_) => (0, 0),
        };
        ServiceRow {
            name: service.name().to_owned(),
            state: (&state.phase).into(),
            version: state.record.version,
            instances,
            workers,
            url: self.url(service.name()),
            created_at: state.record.created_at.clone(),
            updated_at: state.record.updated_at.clone(),
        }
    }

    pub(super) fn description(&self, service: &Service) -> Description {
        let state = service.state();
        let record = &state.record;
        let (ignored, not_yet) = match ServiceFile::from_value(&record.file) {
            Ok(file) => (file.ignored(), file.not_yet()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        Description {
            name: service.name().to_owned(),
            state: (&state.phase).into(),
            message: message(&state),
            version: record.version,
            url: self.url(service.name()),
            token: shown(record.token.as_ref()),
            previous_token: shown(record.previous_token.as_ref()),
            created_at: record.created_at.clone(),
            updated_at: record.updated_at.clone(),
            spec: record.file.clone(),
            ignored,
            not_yet,
            processor: record.processor.clone(),
            model: record.model.clone(),
            snapshot: snapshot(&state),
            recycled: service.metrics().recycled_by_reason(),
            instances: instances(&state, service.metrics().restarts()),
        }
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
fn shown(token: Option<&Token>) -> Option<String> {
    token.map(|token| token.reveal().to_owned())
}

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

fn snapshot(state: &State) -> Option<Snapshot> {
    let Phase::Running(version) = &state.phase else { return None };
    let reason = version.no_snapshot().map(str::to_owned);
    Some(Snapshot { taken: reason.is_none(), reason })
}

fn seconds_until(trouble: &Trouble) -> f64 {
    trouble.next_attempt.saturating_duration_since(Instant::now()).as_secs_f64()
}

fn instances(state: &State, restarts: u64) -> Vec<Instance> {
    let Phase::Running(version) = &state.phase else { return Vec::new() };
    let row = |(index, (o, trouble)): (usize, (Occupancy, Option<Trouble>))| Instance {
        index,
        state: if trouble.is_none() { InstanceState::Running } else { InstanceState::Degraded },
        workers: o.workers,
        busy: o.busy,
        queued: o.queued,
        max_queue_size: o.max_queue,
        restarts,
        trouble: trouble.map(|trouble| Degraded {
            stalled: o.stalled,
            next_attempt_ms: (seconds_until(&trouble) * 1e3).round() as u64,
            error: trouble.error,
        }),
    };
    version.occupancy().into_iter().zip(version.troubles()).enumerate().map(row).collect()
}
