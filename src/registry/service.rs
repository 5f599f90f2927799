//! One service, across all its versions.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::HeaderMap;
use tokio::sync::Semaphore;

use super::traffic::mirror::{COPIES_UNDER_WAY, Mirror};
use super::traffic::serving::{Chosen, Serving};
use crate::auth::{self, Caller, Tokens, Unauthorized};
use crate::config::{Cors, ServiceFile, ServiceSpec, Strength};
use crate::outbound::Share;
use crate::storage::Record;
use crate::telemetry::ServiceMetrics;
use crate::threads::{ShardRef, ShardedArc};

/// A name under which requests are answered. Its metrics live as long as the service, across versions.
pub struct Service {
    name: Box<str>,
    metrics: Arc<ServiceMetrics>,
    /// Permits for copies of its requests.
    copies: Arc<Semaphore>,
    outbound: Share,
    state: ArcSwap<State>,
}

/// The state of a service at one moment. It is read and replaced as a whole.
pub struct State {
    pub record: Arc<Record>,
    pub phase: Phase,
    /// The mirror of the record; `None` if requests are not copied.
    mirror: Option<Arc<Mirror>>,
    /// The tokens of the record, ready to be compared; `None` for a public service.
    tokens: Option<Arc<Tokens>>,
    /// The CORS settings of the record, for answers while no version runs.
    cors: Option<Arc<Cors>>,
    /// The settings of the record if the service is asynchronous: its queues work in every phase.
    asynchronous: Option<Arc<ServiceSpec>>,
}

/// A service and its state at one moment.
pub struct ServiceState {
    pub service: ShardRef<Service>,
    pub state: Guard<Arc<State>>,
}

#[derive(Clone)]
pub enum Phase {
    /// The host has just started and has not brought the service up yet.
    Starting,
    Running(Serving),
    Stopped,
    /// The service could not be brought up. Holds the reason.
    Failed(String),
}

impl ServiceState {
    pub(super) fn at(service: &ShardedArc<Service>) -> Self {
        Self { service: service.hold(), state: service.look() }
    }
}

impl Phase {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
        }
    }

    /// Returns the running versions, if there are any.
    pub const fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Running(serving) => Some(serving),
            Self::Starting | Self::Stopped | Self::Failed(_) => None,
        }
    }
}

impl State {
    fn new(record: Record, phase: Phase, copies: &Arc<Semaphore>) -> Self {
        let mirror = record.mirror.as_ref().map(|mirror| Arc::new(Mirror::new(mirror, Arc::clone(copies))));
        let tokens = record.token.clone().map(|token| Arc::new(Tokens::new(token, record.previous_token.clone())));
        let spec = record.file.parsed().ok().map(ServiceFile::shared_spec);
        let cors = spec.as_ref().and_then(|spec| spec.sandbox().cors.clone());
        let asynchronous = spec.filter(|spec| spec.queue().is_some());
        Self { record: Arc::new(record), phase, mirror, tokens, cors, asynchronous }
    }

    /// Returns the same state in another phase.
    fn in_phase(&self, phase: Phase) -> Self {
        let (record, tokens, mirror) = (Arc::clone(&self.record), self.tokens.clone(), self.mirror.clone());
        let (cors, asynchronous) = (self.cors.clone(), self.asynchronous.clone());
        Self { record, phase, mirror, tokens, cors, asynchronous }
    }

    /// Returns the settings of an asynchronous service; `None` for one that is called.
    pub fn asynchronous(&self) -> Option<&Arc<ServiceSpec>> {
        self.asynchronous.as_ref()
    }

    /// Returns the CORS settings to use while no version runs.
    pub fn cors(&self) -> Option<&Arc<Cors>> {
        self.cors.as_ref()
    }

    /// Chooses the version that answers a request. It stays usable for as long as it is held.
    ///
    /// # Errors
    /// If no version is running.
    pub fn choose(&self) -> Result<Chosen, &Phase> {
        match &self.phase {
            Phase::Running(serving) => Ok(Chosen { mirror: self.mirror.clone(), ..serving.choose() }),
            other => Err(other),
        }
    }

    pub fn is_public(&self) -> bool {
        self.tokens.is_none()
    }

    /// Returns the strength of the tokens. Without a token there is nothing to guess.
    pub fn token_strength(&self) -> Strength {
        self.tokens.as_ref().map_or(Strength::Unguessable, |tokens| tokens.strength())
    }

    /// Authenticates a caller against the current tokens, which may change without a new version.
    ///
    /// # Errors
    /// Says why the caller is refused.
    pub fn authenticate(&self, headers: &HeaderMap, target: &str) -> Result<Caller, Unauthorized> {
        auth::authenticate(self.tokens.as_deref(), headers, target)
    }

    /// Returns the group that the service is in.
    pub fn group(&self) -> Option<&str> {
        self.record.group()
    }
}

impl Service {
    pub(super) fn new(record: Record, phase: Phase, outbound: Share) -> Self {
        let copies = Arc::new(Semaphore::new(COPIES_UNDER_WAY));
        Self {
            name: record.name.as_str().into(),
            metrics: Arc::default(),
            state: ArcSwap::from_pointee(State::new(record, phase, &copies)),
            copies,
            outbound,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn metrics(&self) -> &Arc<ServiceMetrics> {
        &self.metrics
    }

    /// Returns the service's share of the outgoing requests of the host.
    pub fn outbound(&self) -> &Share {
        &self.outbound
    }

    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Returns the state for a short look. To hold it for longer, use [`Service::state`].
    pub fn look(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// Changes only the phase: while a service is brought up, its tokens may change, and neither change undoes the
    /// other.
    pub(super) fn set_phase(&self, phase: &Phase) {
        let old = self.state.rcu(|state| state.in_phase(phase.clone()));
        retire_all_but(phase, &old.phase);
    }

    /// Sets the phase that the host's start has found, unless an operator has changed the phase meanwhile.
    pub(super) fn finish_start(&self, phase: &Phase) {
        self.state.rcu(|state| {
            let phase = if matches!(state.phase, Phase::Starting) { phase } else { &state.phase };
            state.in_phase(phase.clone())
        });
    }

    /// Replaces only the record.
    pub(super) fn set_record(&self, record: &Record) {
        self.state.rcu(|state| State::new(record.clone(), state.phase.clone(), &self.copies));
    }

    /// Replaces the record and the phase in one step.
    pub(super) fn swap(&self, record: Record, phase: Phase) {
        let new = Arc::new(State::new(record, phase, &self.copies));
        let old = self.state.swap(Arc::clone(&new));
        retire_all_but(&new.phase, &old.phase);
    }
}

/// Retires the instances of the old phase that are not in the new one. They end with their last requests.
fn retire_all_but(new: &Phase, old: &Phase) {
    let stays = |instance| new.serving().is_some_and(|new| new.instances().any(|kept| Arc::ptr_eq(kept, instance)));
    for instance in old.serving().into_iter().flat_map(Serving::instances) {
        if !stays(instance) {
            instance.retire();
        }
    }
}
