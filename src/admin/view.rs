//! Services as the control API shows them: each answer is a type, and its documentation is what the document says of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use http::StatusCode;

use super::api::json_reply;
use super::problem::Problem;
use super::{Admin, Reply, conditions};
use crate::admission::Occupancy;
use crate::config::{ServiceFile, Token, TrafficState};
use crate::registry::{Crash, Phase, Service, Serving, State, Trouble, Version};
use crate::storage::{self, CanaryRecord, Digest, MirrorRecord, ModelFile};
use crate::telemetry::{HostNumbers, Seen, UpstreamSeen};

/// What create and modify answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deployed {
    name: String,
    /// Where callers send their requests.
    url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    token: Option<String>,
    /// The current version.
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    revision: u64,
    version: u64,
    /// The version that is tried beside it; null where there is none.
    canary: Option<CanaryRecord>,
    group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    weight: u16,
    /// Whether it shares them at all.
    traffic_state: TrafficState,
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
    canary: Option<CanaryRecord>,
    group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    weight: u16,
    /// Whether it shares them at all.
    traffic_state: TrafficState,
    /// How many of the current version are running.
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
    /// The current version.
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    revision: u64,
    version: u64,
    /// The highest number that a version has been given.
    latest_version: u64,
    /// The version that is tried beside the current one; null where there is none.
    canary: Option<CanaryRecord>,
    group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    weight: u16,
    /// Whether it shares them at all.
    traffic_state: TrafficState,
    /// Where copies of its requests go; null where none are made.
    mirror: Option<MirrorRecord>,
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
    /// Those of the current version, then the canary's.
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

/// The instances of a service.
#[derive(Serialize, JsonSchema)]
pub(super) struct InstanceList {
    name: String,
    state: PhaseName,
    instances: Vec<Instance>,
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

impl CrashRow {
    fn of(crash: Crash) -> Self {
        let at = humantime::format_rfc3339_seconds(crash.at).to_string();
        Self { at, request_id: crash.request_id.to_string(), error: crash.error, stack: crash.stack }
    }
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
            revision: state.record.revision,
            version: state.record.version,
            canary: state.record.canary,
            group: state.group().map(str::to_owned),
            weight: state.record.weight,
            traffic_state: state.record.traffic_state,
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
        let (instances, workers) = match state.phase.serving() {
            Some(Serving { current, .. }) => (current.spec.instances(), current.spec.rpc().worker_threads),
            None => (0, 0),
        };
        ServiceRow {
            name: service.name().to_owned(),
            state: (&state.phase).into(),
            version: state.record.version,
            canary: state.record.canary,
            group: state.group().map(str::to_owned),
            weight: state.record.weight,
            traffic_state: state.record.traffic_state,
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
            revision: record.revision,
            version: record.version,
            latest_version: record.latest,
            canary: record.canary,
            group: record.group().map(str::to_owned),
            weight: record.weight,
            traffic_state: record.traffic_state,
            mirror: record.mirror.clone(),
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
            instances: self.instances(&state, service.metrics().restarts()),
        }
    }

    pub(super) fn instance_list(&self, service: &Service) -> InstanceList {
        let state = service.state();
        let instances = self.instances(&state, service.metrics().restarts());
        InstanceList { name: service.name().to_owned(), state: (&state.phase).into(), instances }
    }

    /// Every service's numbers, and those of requests that named none.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .registry
            .list()
            .iter()
            .map(|service| Seen {
                service: service.name().to_owned(),
                metrics: Arc::clone(service.metrics()),
                instances: numbers(&service.state().phase),
                by_version: outcomes(&service.state().phase),
            })
            .collect();
        seen.extend(self.gateway.iter().flat_map(|gateway| gateway.seen()));
        let nobody = Arc::clone(self.front.nobody());
        seen.push(Seen { service: String::new(), metrics: nobody, instances: Vec::new(), by_version: Vec::new() });
        seen
    }

    pub(super) fn upstreams_seen(&self) -> Vec<UpstreamSeen> {
        self.gateway.as_ref().map(|gateway| gateway.upstreams_seen()).unwrap_or_default()
    }

    /// Whether every service has been brought up, and every upstream looked at.
    pub(super) fn is_settled(&self) -> bool {
        self.registry.is_settled() && self.gateway.as_ref().is_none_or(|gateway| gateway.is_settled())
    }

    pub(super) fn host_numbers(&self) -> HostNumbers {
        HostNumbers {
            connections: self.front.connections(),
            connections_turned_away: self.front.connections_turned_away(),
            log_lines_lost: self.log.lost(),
        }
    }
}

impl Deployed {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

/// Operators hand tokens out, so they are shown them.
fn shown(token: Option<&Token>) -> Option<String> {
    token.map(|token| token.reveal().to_owned())
}

/// Per instance of the versions at work: workers, busy workers, queued calls.
fn numbers(phase: &Phase) -> Vec<(usize, usize, usize)> {
    let versions = phase.serving().into_iter().flat_map(Serving::versions);
    versions.flat_map(|version| version.occupancy()).map(|o| (o.workers, o.busy, o.queued)).collect()
}

/// How requests ended since the canary began, by version and status.
fn outcomes(phase: &Phase) -> Vec<(u64, u16, u64)> {
    let Some(Serving { current, canary: Some(canary) }) = phase.serving() else { return Vec::new() };
    canary.outcomes(current.number)
}

fn message(state: &State) -> String {
    let serving = match &state.phase {
        Phase::Failed(reason) => return reason.clone(),
        Phase::Starting | Phase::Stopped => return String::new(),
        Phase::Running(serving) => serving,
    };
    if let (Some(canary), None) = (state.record.canary, &serving.canary) {
        let number = canary.version;
        return format!("the canary, version {number}, could not be brought up; the log says why");
    }
    let crashes: Vec<Crash> = serving.versions().flat_map(|version| version.crashes()).flatten().collect();
    if let Some(first) = crashes.first() {
        let (count, since) = (crashes.len(), humantime::format_rfc3339_seconds(first.at));
        let error = &first.error;
        return format!("degraded: {count} workers are blocked since {since}, a restart heals them: {error}");
    }
    let Some(trouble) = serving.versions().flat_map(|version| version.troubles()).flatten().next() else {
        return String::new();
    };
    let occupancy: Vec<Occupancy> = serving.versions().flat_map(|version| version.occupancy()).collect();
    let workers: usize = occupancy.iter().map(|o| o.workers).sum();
    let stalled: usize = occupancy.iter().map(|o| o.stalled).sum();
    let seconds = seconds_until(&trouble);
    format!(
        "degraded: {stalled} of {workers} workers cannot be replaced, next attempt in {seconds:.1} s: {}",
        trouble.error
    )
}

fn snapshot(state: &State) -> Option<Snapshot> {
    let reason = state.phase.serving()?.current.no_snapshot().map(str::to_owned);
    Some(Snapshot { taken: reason.is_none(), reason })
}

fn seconds_until(trouble: &Trouble) -> f64 {
    trouble.next_attempt.saturating_duration_since(Instant::now()).as_secs_f64()
}

impl Admin {
    fn instances(&self, state: &State, restarts: u64) -> Vec<Instance> {
        let address = self.data_url.trim_start_matches("http://");
        type Seen = (Occupancy, Option<Trouble>, SystemTime, Vec<Crash>);
        let row = |version: u64, (o, trouble, started, crashes): Seen| Instance {
            index: 0,
            version,
            blocked: crashes.len(),
            state: if trouble.is_none() && crashes.is_empty() {
                InstanceState::Running
            } else {
                InstanceState::Degraded
            },
            address: address.to_owned(),
            started_at: humantime::format_rfc3339_seconds(started).to_string(),
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
            crashes: crashes.into_iter().map(CrashRow::of).collect(),
        };
        let of_version = |version: &Arc<Version>| -> Vec<Instance> {
            let (occupancy, troubles) = (version.occupancy(), version.troubles());
            let instances = occupancy.into_iter().zip(troubles).zip(version.starts()).zip(version.crashes());
            let seen = |(((o, trouble), started), crashes)| row(version.number, (o, trouble, started, crashes));
            instances.map(seen).collect()
        };
        let rows = state.phase.serving().into_iter().flat_map(Serving::versions).flat_map(of_version);
        rows.enumerate().map(|(index, row)| Instance { index, ..row }).collect()
    }
}

impl Description {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

impl Changed {
    /// The answer of a change, with the service's tag after it.
    pub(super) fn reply(service: &Service) -> Result<Reply, Problem> {
        let state = service.state();
        let changed = Self { name: service.name().to_owned(), state: state.phase.name() };
        Ok(conditions::tagged(json_reply(StatusCode::OK, &changed)?, state.record.revision))
    }
}
