//! A running version of a service: its instances, and the steps of a call through one of them.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::instance::{Instance, InstanceStatus};
use super::supplies::Supplies;
use super::ticket::{NotAdmitted, Ticket};
use crate::admission::{Executor, Occupancy, Rejected, SliceHistory};
use crate::config::ServiceSpec;
use crate::policy::{InFlight, Limit, Limited, Policy, Rate};
use crate::sandbox::{InitializeError, Ready};
use crate::telemetry::ServiceMetrics;

/// A running version of a service.
pub struct Version {
    pub number: u64,
    pub spec: Arc<ServiceSpec>,
    pub(super) instances: Vec<Arc<Instance>>,
    pub(super) supplies: Supplies,
    rate: Option<Arc<Rate>>,
    /// The policy of all instances together.
    policy: Policy,
    pub(super) slice_history: Arc<SliceHistory>,
    no_snapshot: Option<String>,
    /// The instance at which the next choice begins.
    turn: AtomicUsize,
}

impl Version {
    /// Brings up all instances. The first failure is the result.
    pub(in crate::registry) async fn bring_up(
        number: u64,
        spec: Arc<ServiceSpec>,
        policy: Policy,
        ready: Ready,
        executor: Arc<Executor>,
        metrics: Arc<ServiceMetrics>,
    ) -> Result<Arc<Self>, InitializeError> {
        let Ready { program, mut first, no_snapshot } = ready;
        let workers = spec.rpc().worker_threads;
        // Reserved all at once, because a part of a version is of no use.
        let mut room = program.reserve(workers.saturating_mul(spec.instances()))?;
        let supplies = Supplies { version: number, program, executor, metrics };
        let slice_history = Arc::default();
        let mut instances = Vec::with_capacity(spec.instances());
        for index in 0..spec.instances() {
            let room = room.part(workers);
            instances.push(Instance::bring_up(&spec, &supplies, &slice_history, room, first.take(), index > 0).await?);
        }
        let rate = rate(&spec);
        let turn = AtomicUsize::new(0);
        Ok(Arc::new(Self { number, spec, instances, supplies, rate, policy, slice_history, no_snapshot, turn }))
    }

    /// Returns the same version with one instance replaced; `None` if there is no such instance.
    pub(in crate::registry) async fn with_new_instance(
        &self,
        index: usize,
    ) -> Option<Result<Arc<Self>, InitializeError>> {
        if index >= self.instances.len() {
            return None;
        }
        Some(self.renew(index).await)
    }

    async fn renew(&self, index: usize) -> Result<Arc<Self>, InitializeError> {
        let room = self.supplies.program.reserve(self.spec.rpc().worker_threads)?;
        let mut instances = self.instances.clone();
        instances[index] =
            Instance::bring_up(&self.spec, &self.supplies, &self.slice_history, room, None, false).await?;
        Ok(Arc::new(Self {
            number: self.number,
            spec: Arc::clone(&self.spec),
            instances,
            supplies: self.supplies.clone(),
            rate: self.rate.clone(),
            policy: self.policy.clone(),
            slice_history: Arc::clone(&self.slice_history),
            no_snapshot: self.no_snapshot.clone(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Returns the same guests as a version of another number, whose file differs only in the number of instances.
    /// Existing guests still log the number of the version that created them.
    pub(in crate::registry) async fn with_instances(
        &self,
        number: u64,
        spec: Arc<ServiceSpec>,
    ) -> Result<Arc<Self>, InitializeError> {
        let workers = spec.rpc().worker_threads;
        let kept = self.instances.len().min(spec.instances());
        let missing = spec.instances() - kept;
        let mut instances = self.instances[..kept].to_vec();
        if missing > 0 {
            let mut room = self.supplies.program.reserve(workers.saturating_mul(missing))?;
            for _ in 0..missing {
                let room = room.part(workers);
                instances
                    .push(Instance::bring_up(&spec, &self.supplies, &self.slice_history, room, None, false).await?);
            }
        }
        Ok(Arc::new(Self {
            number,
            rate: rate(&spec),
            spec,
            instances,
            supplies: self.supplies.clone(),
            policy: self.policy.clone(),
            slice_history: Arc::clone(&self.slice_history),
            no_snapshot: self.no_snapshot.clone(),
            turn: AtomicUsize::new(0),
        }))
    }

    pub(in crate::registry) fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// Checks the limits, before a request's body is read.
    pub fn enter(&self) -> Result<InFlight, Limited> {
        if let Some(rate) = &self.rate {
            let most = rate_of_all(&self.spec).map_or(u64::MAX, NonZeroU64::get);
            rate.pass().map_err(|retry_after| Limited { limit: Limit::Instances, most, retry_after })?;
        }
        self.policy.enter()
    }

    pub(in crate::registry) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// True if a request would be rejected, so that its body need not be read.
    pub fn is_full(&self) -> bool {
        self.instances.iter().all(|instance| instance.is_full())
    }

    /// Waits in the queue for a worker. If the service uses batches, that wait is a part of [`Version::run`].
    pub async fn admit(&self, deadline: Instant) -> Result<Ticket, NotAdmitted> {
        let index = self.pick();
        let instance = &self.instances[index];
        if let Some(claim) = instance.admit_at_once() {
            return Ok(Ticket { claim, instance: index });
        }
        // Boxed, so that calls that need not wait do not reserve space for the wait.
        match instance.grace.within(Box::pin(instance.admit(deadline))).await {
            Some(Ok(claim)) => Ok(Ticket { claim, instance: index }),
            Some(Err(Rejected::QueueFull)) => Err(NotAdmitted::QueueFull),
            Some(Err(Rejected::Overdue)) => Err(NotAdmitted::Overdue),
            Some(Err(Rejected::NoWorker)) if !instance.crashes.is_empty() => Err(NotAdmitted::Blocked),
            Some(Err(Rejected::NoWorker)) => Err(NotAdmitted::NoWorker),
            None => Err(NotAdmitted::Retired),
        }
    }

    /// Returns the reason why guests are initialised one by one; `None` if they start from a snapshot.
    pub fn no_snapshot(&self) -> Option<&str> {
        self.no_snapshot.as_deref()
    }

    pub fn occupancy(&self) -> Vec<Occupancy> {
        self.instances.iter().map(|instance| instance.occupancy()).collect()
    }

    /// Returns the status of each instance.
    pub fn status(&self) -> Vec<InstanceStatus> {
        self.instances.iter().map(|instance| instance.status()).collect()
    }

    /// Picks the less loaded of two neighbours, starting at the next instance each time. Prefers an instance with
    /// workers.
    fn pick(&self) -> usize {
        let count = self.instances.len();
        if count == 1 {
            return 0;
        }
        let load = |index: usize| self.instances[index].load();
        let is_deserted = |index: usize| self.instances[index].admission.is_deserted();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let second = (first + 1) % count;
        let picked = if load(second) < load(first) { second } else { first };
        if !is_deserted(picked) {
            return picked;
        }
        let by_hope = |index: &usize| (is_deserted(*index), load(*index));
        (0..count).min_by_key(by_hope).unwrap_or(picked)
    }
}

/// Returns the limit for all instances together: the rate is checked before the instance of a call is known.
fn rate(spec: &ServiceSpec) -> Option<Arc<Rate>> {
    Some(Arc::new(Rate::per_second(rate_of_all(spec)?)))
}

/// Returns the requests per second of all instances together.
fn rate_of_all(spec: &ServiceSpec) -> Option<NonZeroU64> {
    let of_one = NonZeroU64::from(spec.rpc().rate_limit?);
    NonZeroU64::new(spec.instances() as u64).map(|instances| of_one.saturating_mul(instances))
}
