//! One instance of a version: its queue, its guests, its retirement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::batch_runner::{BatchRunner, Outcome};
use super::crashes::{Crash, CrashedGuests};
use super::faults::{Faults, LastFault};
use super::grace::Grace;
use super::guest::make;
use super::replacements::{LastTrouble, Replacements, Trouble};
use super::supplies::Supplies;
use super::ticket::Claim;
use super::worker::Worker;
use crate::admission::{Admission, BatchLimits, Batcher, Occupancy, Rejected, SliceHistory};
use crate::call::Call;
use crate::config::ServiceSpec;
use crate::sandbox::{Guest, InitializeError, Room};

pub(in crate::registry) struct Instance {
    pub(in crate::registry) admission: Arc<Admission<Worker>>,
    /// The queue of requests that are answered in batches.
    pub(in crate::registry) batcher: Option<Batcher<Arc<Call>, Outcome>>,
    trouble: Arc<LastTrouble>,
    /// Crashed guests that are kept for inspection.
    pub(in crate::registry) crashes: Arc<CrashedGuests>,
    pub(in crate::registry) faults: Arc<Faults>,
    /// Set once the instance is dropped: failed guests are no longer replaced.
    retired: Arc<AtomicBool>,
    /// The grace period of the calls under way when the instance is retired.
    pub(in crate::registry) grace: Arc<Grace>,
    started: SystemTime,
    /// The places of its guests in the engine's pool, also of guests that are not created yet.
    _room: Room,
}

/// The state of an instance at one moment.
pub struct InstanceStatus {
    /// The time at which it was brought up.
    pub started: SystemTime,
    pub occupancy: Occupancy,
    /// The reason why guests cannot be replaced; `None` if they can.
    pub trouble: Option<Trouble>,
    /// Crashed guests that were not replaced.
    pub crashes: Vec<Crash>,
    /// The latest loss of a guest; `None` if there has been none since the instance was brought up.
    pub last_fault: Option<LastFault>,
}

impl Instance {
    /// Brings up an instance. Guests that start from an image are created on first use, which takes microseconds; all
    /// others are created now. At least one guest is created, unless `first` or `has_made` shows that the program can
    /// make one.
    pub(in crate::registry) async fn bring_up(
        spec: &ServiceSpec,
        supplies: &Supplies,
        slice_history: &Arc<SliceHistory>,
        room: Room,
        first: Option<Guest>,
        has_made: bool,
    ) -> Result<Arc<Self>, InitializeError> {
        let Supplies { version, program, executor, metrics } = supplies;
        let mut has_made = has_made || first.is_some();
        let mut guests: Vec<Worker> = first.into_iter().map(Worker::from).collect();
        while guests.len() < spec.rpc().worker_threads {
            guests.push(if has_made && program.starts_from_image() {
                Worker::Promised(Arc::clone(program))
            } else {
                make(executor, program).await?.into()
            });
            has_made = true;
        }
        // The last worker is used first, so the guest that exists goes last.
        guests.reverse();
        let (trouble, retired) = (Arc::default(), Arc::default());
        let replacements = Replacements {
            service: spec.name().as_str().to_owned(),
            program: Arc::clone(program),
            executor: Arc::clone(executor),
            metrics: Arc::clone(metrics),
            retired: Arc::clone(&retired),
            trouble: Arc::clone(&trouble),
        };
        let rpc = spec.rpc();
        // Requests wait in the batcher. This queue is for the next batch, and for batches that lost their worker
        // half-way.
        let max_queue = if rpc.batching.is_some() { rpc.worker_threads + 1 } else { rpc.max_queue_size };
        let admission = Admission::new(guests, max_queue, Box::new(replacements));
        let grace = Arc::new(Grace::of(spec));
        let name = spec.name().as_str().to_owned();
        let faults = Arc::new(Faults::of(name, *version, Arc::clone(metrics), Arc::clone(&grace)));
        let batcher = rpc.batching.map(|batching| {
            let limits = BatchLimits {
                max_size: batching.max_size,
                max_wait: batching.max_wait,
                max_waiting: rpc.max_queue_size,
            };
            let (supplies, slice_history) = (supplies.clone(), Arc::clone(slice_history));
            let (workers, faults) = (Arc::clone(&admission), Arc::clone(&faults));
            let batches = BatchRunner { supplies, admission: workers, slice_history, faults };
            Batcher::new(limits, Arc::clone(&admission), batches)
        });
        let crashes = Arc::default();
        Ok(Arc::new(Self {
            admission,
            batcher,
            trouble,
            crashes,
            faults,
            retired,
            grace,
            started: SystemTime::now(),
            _room: room,
        }))
    }

    pub(in crate::registry) fn occupancy(&self) -> Occupancy {
        let occupancy = self.admission.occupancy();
        match &self.batcher {
            Some(batcher) => Occupancy { queued: batcher.waiting(), max_queue: batcher.max_waiting(), ..occupancy },
            None => occupancy,
        }
    }

    /// True if a request would be rejected, so that its body need not be read.
    pub(in crate::registry) fn is_full(&self) -> bool {
        match &self.batcher {
            Some(batcher) => batcher.is_full(),
            // If no worker is left, the caller gets that error from `admit`, and not a full queue.
            None => self.admission.is_full() && !self.admission.is_deserted(),
        }
    }

    /// Returns the number of requests at work and waiting.
    pub(in crate::registry) fn load(&self) -> usize {
        self.admission.load() + self.batcher.as_ref().map_or(0, Batcher::waiting)
    }

    /// Takes an idle worker, if there is one. Requests that wait for a batch get none.
    pub(in crate::registry) fn admit_at_once(&self) -> Option<Claim> {
        if self.batcher.is_some() {
            return None;
        }
        self.admission.admit_at_once().map(Claim::Worker)
    }

    /// Waits in the queue for a worker, or takes a seat among the requests that wait for a batch.
    pub(in crate::registry) async fn admit(&self, deadline: Instant) -> Result<Claim, Rejected> {
        match &self.batcher {
            Some(_) if self.admission.is_deserted() => Err(Rejected::NoWorker),
            Some(batcher) => batcher.seat().map(Claim::Seat),
            None => self.admission.admit(deadline).await.map(Claim::Worker),
        }
    }

    pub(in crate::registry) fn status(&self) -> InstanceStatus {
        let occupancy = self.occupancy();
        // The last trouble is shown only while it lasts.
        let trouble = if occupancy.stalled > 0 { self.trouble.last() } else { None };
        InstanceStatus {
            started: self.started,
            occupancy,
            trouble,
            crashes: self.crashes.list(),
            last_fault: self.faults.last(),
        }
    }

    /// Begins the grace period. The instance gets no new requests; those under way must end within the period.
    pub(in crate::registry) fn retire(&self) {
        self.grace.begin();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}
