//! One instance of a version: a door to warm guests of its own, and its end.

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
    /// Where requests wait that are answered together.
    pub(in crate::registry) batcher: Option<Batcher<Arc<Call>, Outcome>>,
    trouble: Arc<LastTrouble>,
    /// Guests that were not replaced, where that is asked for.
    pub(in crate::registry) crashes: Arc<CrashedGuests>,
    pub(in crate::registry) faults: Arc<Faults>,
    /// No guest is made any more for those that fail.
    retired: Arc<AtomicBool>,
    /// Of the calls that are under way when no new ones come any more.
    pub(in crate::registry) grace: Arc<Grace>,
    started: SystemTime,
    /// Where its guests are, made or promised.
    _room: Room,
}

/// How an instance was when it was looked at.
pub struct InstanceStatus {
    /// When it was brought up.
    pub started: SystemTime,
    pub occupancy: Occupancy,
    /// What keeps it from replacing its guests; `None` where nothing does.
    pub trouble: Option<Trouble>,
    /// Guests that were not replaced.
    pub crashes: Vec<Crash>,
    /// The latest loss of a guest; `None` if there has been none since the instance was brought up.
    pub last_fault: Option<LastFault>,
}

impl Instance {
    /// Makes every guest that costs more to make than microseconds, and at least one unless `first` is there already or
    /// a guest of the same program has been made before.
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
        // The last one is the first to work: the one that is there.
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
        // Requests wait for a batch, and batches for a worker: the next one, and those that lost theirs half-way.
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

    /// Looked at before a request's body is read: whether there is any use in reading it.
    pub(in crate::registry) fn is_full(&self) -> bool {
        match &self.batcher {
            Some(batcher) => batcher.is_full(),
            // Where no worker is left, what comes is not told to wait for one.
            None => self.admission.is_full() && !self.admission.is_deserted(),
        }
    }

    /// Requests at work and waiting.
    pub(in crate::registry) fn load(&self) -> usize {
        self.admission.load() + self.batcher.as_ref().map_or(0, Batcher::waiting)
    }

    /// An idle worker, if there is one. Requests that wait for a batch get none.
    pub(in crate::registry) fn admit_at_once(&self) -> Option<Claim> {
        if self.batcher.is_some() {
            return None;
        }
        self.admission.admit_at_once().map(Claim::Worker)
    }

    /// A worker for one request, after a wait in turn, or a seat among those that wait for a batch.
    pub(in crate::registry) async fn admit(&self, deadline: Instant) -> Result<Claim, Rejected> {
        match &self.batcher {
            Some(_) if self.admission.is_deserted() => Err(Rejected::NoWorker),
            Some(batcher) => batcher.seat().map(Claim::Seat),
            None => self.admission.admit(deadline).await.map(Claim::Worker),
        }
    }

    pub(in crate::registry) fn status(&self) -> InstanceStatus {
        let occupancy = self.occupancy();
        // The last trouble is of interest only while it lasts.
        let trouble = if occupancy.stalled > 0 { self.trouble.last() } else { None };
        InstanceStatus {
            started: self.started,
            occupancy,
            trouble,
            crashes: self.crashes.list(),
            last_fault: self.faults.last(),
        }
    }

    /// No new request comes here any more. Those under way have the service's termination grace to end in.
    pub(in crate::registry) fn retire(&self) {
        self.grace.begin();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}
