//! The ticket of an admitted call, and the reasons for which a call gets none or is stopped.

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

/// A worker's place, or, where the service batches, a seat among the calls that are answered together.
pub(in crate::registry) enum Claim {
    Worker(Place<Worker>),
    Seat(Seat<Arc<Call>, Outcome>),
}

/// The wait of a call before its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A worker was idle.
    No,
    InQueue,
    /// Its batch is still to be filled; the call knows when that has ended.
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

/// The reason for which a call gets no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// All workers are busy and as many calls wait as may.
    QueueFull,
    /// The deadline passed in the queue.
    Overdue,
    /// No worker is left and none can be made for now.
    NoWorker,
    /// Every guest has crashed, and the service wants that to be looked at.
    Blocked,
    /// Another version has taken over, and the grace of this one is over.
    Retired,
}

/// The reason for which a call has no outcome of its own.
#[derive(Debug)]
pub enum Stopped {
    /// Its deadline has passed.
    Overdue,
    /// The guest that it was to have cannot be made.
    NoGuest(InitializeError),
    /// No worker is left for its batch, and none can be made for now.
    NoWorker,
    /// Another version has taken over, and the grace of this one is over.
    Retired,
}
