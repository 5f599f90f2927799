//! The ticket of an admitted call, and the reasons why a call gets none or is stopped.

use std::sync::Arc;

use super::batch_runner::Outcome;
use super::worker::Worker;
use crate::admission::{Place, Seat};
use crate::call::Call;
use crate::sandbox::InitializeError;

/// The right of one call to a worker of one instance.
pub struct Ticket {
    pub(in crate::registry) claim: Claim,
    pub(in crate::registry) instance: usize,
}

/// A worker's place, or a seat in the next batch if the service uses batches.
pub(in crate::registry) enum Claim {
    Worker(Place<Worker>),
    Seat(Seat<Arc<Call>, Outcome>),
}

/// The kind of wait before a call got its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A worker was idle.
    No,
    InQueue,
    /// The batch is still to be filled. It records the end of the wait.
    NotYet,
}

impl Ticket {
    pub fn waited(&self) -> Waited {
        match &self.claim {
            Claim::Worker(place) if place.has_waited() => Waited::InQueue,
            Claim::Worker(_) => Waited::No,
            Claim::Seat(_) => Waited::NotYet,
        }
    }
}

/// The reason why a call gets no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// All workers are busy, and the queue is full.
    QueueFull,
    /// The deadline passed in the queue.
    Overdue,
    /// No worker is left, and none can be created for now.
    NoWorker,
    /// Every guest has crashed, and the service keeps crashed guests for inspection.
    Blocked,
    /// Another version has taken over, and the grace period of this one is over.
    Retired,
}

/// The reason why a call has no outcome of its own.
#[derive(Debug)]
pub enum Stopped {
    /// Its deadline has passed.
    Overdue,
    /// No guest could be created for the call.
    NoGuest(InitializeError),
    /// No worker is left for its batch, and none can be created for now.
    NoWorker,
    /// Its client left in the middle of a streamed answer.
    ClientClosed,
    /// Another version has taken over, and the grace period of this one is over.
    Retired,
}
