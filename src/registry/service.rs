//! One service through all its versions.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::version::Version;
use crate::storage::Record;
use crate::telemetry::ServiceMetrics;

/// A name under which requests are answered. Its counters live as long as it does, whatever its version.
pub struct Service {
    name: Box<str>,
    metrics: Arc<ServiceMetrics>,
    state: ArcSwap<State>,
}

/// What a service is at one moment; always looked at whole.
pub struct State {
    pub record: Arc<Record>,
    pub phase: Phase,
}

#[derive(Clone)]
pub enum Phase {
    /// The host has just started and has not come to it yet.
    Starting,
    Running(Arc<Version>),
    Stopped,
    /// It could not be brought up; why.
    Failed(String),
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
}

impl Service {
    pub(super) fn new(record: Record, phase: Phase) -> Self {
        Self {
            name: record.name.as_str().into(),
            metrics: Arc::default(),
            state: ArcSwap::from_pointee(State { record: Arc::new(record), phase }),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn metrics(&self) -> &Arc<ServiceMetrics> {
        &self.metrics
    }

    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The version that answers, and that goes on answering for whoever holds it.
    pub fn running(&self) -> Result<Arc<Version>, Phase> {
        match &self.state.load().phase {
            Phase::Running(version) => Ok(Arc::clone(version)),
            other => Err(other.clone()),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let record = Arc::clone(&self.state.load().record);
        self.state.store(Arc::new(State { record, phase }));
    }

    pub(super) fn replace(&self, record: Record, phase: Phase) {
        self.state.store(Arc::new(State { record: Arc::new(record), phase }));
    }
}
