//! Services as the control API shows them: each answer is a type, and its documentation is what the document says of it.

mod instances;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use http::StatusCode;

pub(super) use self::instances::InstanceList;
use self::instances::{Instance, InstanceSeen};
use super::api::json_reply;
use super::problem::Problem;
use super::{Admin, Reply, conditions};
use crate::config::{ServiceFile, Token, TrafficState};
use crate::registry::{Phase, Service, Serving, State};
use crate::storage::{self, CanaryRecord, Digest, MirrorRecord, ModelFile};

/// What create and modify answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deployed {
    name: String,
    /// Where callers send their requests.
    url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    token: Option<String>,
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    revision: u64,
    /// The current version.
    version: u64,
    /// The version that is tried beside it; null where there is none.
    canary: Option<CanaryRecord>,
    group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    weight: u16,
    /// Whether it shares them at all.
    traffic_state: TrafficState,
    /// Everything was so already: no version was made, and the tag stays.
    unchanged: bool,
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
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    revision: u64,
    /// The current version.
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
    pub(super) fn deployed(&self, service: &Service, unchanged: bool) -> Deployed {
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
            unchanged,
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
        let seen = instances::seen(&state);
        let (ignored, not_yet) = match ServiceFile::from_value(&record.file) {
            Ok(file) => (file.ignored(), file.not_yet()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        Description {
            name: service.name().to_owned(),
            state: (&state.phase).into(),
            message: self.message(&state, &seen),
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
            instances: instances::rows(seen, service.metrics().restarts(), &self.data_url),
        }
    }
}

impl Admin {
    /// The most important fact about a service for an operator; empty if there is none.
    fn message(&self, state: &State, seen: &[InstanceSeen]) -> String {
        let serving = match &state.phase {
            Phase::Failed(reason) => return reason.clone(),
            Phase::Starting => return self.registry.progress_of(&state.record.name),
            Phase::Stopped => return String::new(),
            Phase::Running(serving) => serving,
        };
        if let (Some(canary), None) = (state.record.canary, &serving.canary) {
            let number = canary.version;
            return format!("the canary, version {number}, could not be brought up; the log says why");
        }
        instances::trouble(seen)
    }
}

impl Deployed {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

impl Description {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

/// Operators hand tokens out, so they are shown them.
fn shown(token: Option<&Token>) -> Option<String> {
    token.map(|token| token.reveal().to_owned())
}

fn snapshot(state: &State) -> Option<Snapshot> {
    let reason = state.phase.serving()?.current.no_snapshot().map(str::to_owned);
    Some(Snapshot { taken: reason.is_none(), reason })
}

impl Changed {
    /// The answer of a change, with the service's tag after it.
    pub(super) fn reply(service: &Service) -> Result<Reply, Problem> {
        let state = service.state();
        let changed = Self { name: service.name().to_owned(), state: state.phase.name() };
        Ok(conditions::tagged(json_reply(StatusCode::OK, &changed)?, state.record.revision))
    }
}
