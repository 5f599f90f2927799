//! Makes the documents of the control API from the running services and the stored records.

mod instances;
mod queues;
mod stored;

use http::StatusCode;

use self::instances::InstanceSeen;
pub(super) use self::instances::of as instances;
pub(super) use self::queues::{dead_letter, queue};
pub(super) use self::stored::{audit_entry, version};
use super::api::json_reply;
use super::problem::Problem;
use super::{Admin, Reply, conditions};
use crate::api::{Changed, Deployed, Description, PhaseName, ServiceRow, ServiceType, Snapshot, Tokens};
use crate::config::Token;
use crate::queue::QueueName;
use crate::registry::{Phase, Service, Serving, State};

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
            state: PhaseName::from(&state.phase).into(),
            url: self.url(service.name()),
            sink_url: self.sink_url(&state),
            token: shown(state.record.token.as_ref()),
            revision: state.record.revision,
            version: state.record.version,
            processor: state.record.processor.clone().map(Into::into),
            canary: state.record.canary.map(Into::into),
            group: state.group().map(str::to_owned),
            weight: state.record.weight,
            traffic_state: state.record.traffic_state.into(),
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
            service_type: service_type(&state).into(),
            state: PhaseName::from(&state.phase).into(),
            version: state.record.version,
            canary: state.record.canary.map(Into::into),
            group: state.group().map(str::to_owned),
            weight: state.record.weight,
            traffic_state: state.record.traffic_state.into(),
            instances,
            degraded: instances::seen(&state).iter().filter(|instance| !instance.is_whole()).count(),
            workers,
            url: self.url(service.name()),
            sink_url: self.sink_url(&state),
            created_at: state.record.created_at.clone(),
            updated_at: state.record.updated_at.clone(),
        }
    }

    pub(super) fn description(&self, service: &Service) -> Description {
        let state = service.state();
        let record = &state.record;
        let seen = instances::seen(&state);
        let ignored = record.file.parsed().map(|file| file.ignored()).unwrap_or_default();
        let recycled = service.metrics().recycled_by_reason();
        Description {
            name: service.name().to_owned(),
            service_type: service_type(&state).into(),
            state: PhaseName::from(&state.phase).into(),
            message: self.message(&state, &seen),
            revision: record.revision,
            version: record.version,
            latest_version: Some(record.latest),
            canary: record.canary.map(Into::into),
            group: record.group().map(str::to_owned),
            weight: record.weight,
            traffic_state: record.traffic_state.into(),
            mirror: record.mirror.clone().map(Into::into),
            url: self.url(service.name()),
            sink_url: self.sink_url(&state),
            token: shown(record.token.as_ref()),
            previous_token: shown(record.previous_token.as_ref()),
            created_at: record.created_at.clone(),
            updated_at: record.updated_at.clone(),
            spec: record.file.value(),
            ignored,
            processor: record.processor.clone().map(Into::into),
            model: record.model.iter().cloned().map(Into::into).collect(),
            snapshot: snapshot(&state),
            recycled: recycled.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            instances: instances::rows(seen, service.metrics().restarts(), &self.data_url),
        }
    }
}

impl Admin {
    /// The URL of the queue with the results of an asynchronous service.
    fn sink_url(&self, state: &State) -> Option<String> {
        state.asynchronous().map(|spec| format!("{}/{}", self.url(spec.name().as_str()), QueueName::SINK))
    }

    /// The most important fact about a service for an operator; empty if there is none.
    fn message(&self, state: &State, seen: &[InstanceSeen]) -> String {
        let serving = match &state.phase {
            Phase::Failed(reason) => return reason.clone(),
            Phase::Starting => return self.registry.progress_of(&state.record.name),
            Phase::Stopped if state.record.processor.is_none() => {
                return "a queue without a processor: clients put items in and take them out".to_owned();
            }
            Phase::Stopped => return String::new(),
            Phase::Running(serving) => serving,
        };
        if let (Some(canary), None) = (state.record.canary, &serving.canary) {
            let number = canary.version;
            return format!("the canary, version {number}, could not be started; the log has the reason");
        }
        instances::trouble(seen)
    }
}

fn service_type(state: &State) -> ServiceType {
    match state.asynchronous() {
        Some(_) => ServiceType::Async,
        None => ServiceType::Standard,
    }
}

/// The text of a token. Operators may see it, because they give it to callers.
fn shown(token: Option<&Token>) -> Option<String> {
    token.map(|token| token.reveal().to_owned())
}

fn snapshot(state: &State) -> Option<Snapshot> {
    let reason = state.phase.serving()?.current.no_snapshot().map(str::to_owned);
    Some(Snapshot { taken: reason.is_none(), reason })
}

/// The answer to a change, with the service's new tag.
pub(super) fn changed(service: &Service) -> Result<Reply, Problem> {
    let state = service.state();
    let changed = Changed { name: service.name().to_owned(), state: state.phase.name().to_owned() };
    Ok(conditions::tagged(json_reply(StatusCode::OK, &changed)?, state.record.revision))
}
