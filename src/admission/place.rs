//! A place at work, owned by whoever works. However it ends, the account is settled by drop.

use std::sync::Arc;

use super::Admission;

/// One worker, lent to one call.
///
/// Dropped before work began, it gives the worker back; dropped in the middle of work, it gives the worker up, because
/// nobody knows what state it is in, and asks for another. Only [`Place::release`] vouches for a worker that has worked.
pub struct Place<W: Send + 'static> {
    admission: Arc<Admission<W>>,
    pub(super) worker: Option<W>,
    at_work: bool,
    pub(super) has_waited: bool,
}

impl<W: Send + 'static> Place<W> {
    pub(super) fn new(admission: &Arc<Admission<W>>, worker: W) -> Self {
        Self { admission: Arc::clone(admission), worker: Some(worker), at_work: false, has_waited: false }
    }

    /// Whether the call stood in the queue before it got this place.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Work begins. From here on the worker comes back only through [`Place::release`].
    pub fn start(&mut self) -> &mut W {
        self.at_work = true;
        match &mut self.worker {
            Some(worker) => worker,
            None => unreachable!("a place keeps its worker until it is dropped"),
        }
    }

    /// The worker is spoilt, and whoever has the vacancy decides what becomes of its place.
    pub fn give_up(mut self) -> Vacancy<W> {
        drop(self.worker.take());
        Vacancy { admission: Arc::clone(&self.admission), stalled: false }
    }

    /// The worker is whole; the next call may have it.
    pub fn release(mut self) {
        if let Some(worker) = self.worker.take() {
            self.admission.free(worker);
        }
    }
}

impl<W: Send + 'static> Drop for Place<W> {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        if self.at_work {
            drop(worker);
            self.admission.replace.replace(Vacancy { admission: Arc::clone(&self.admission), stalled: false });
        } else {
            self.admission.free(worker);
        }
    }
}

/// The place of a worker that was given up. The place counts as busy until it is filled, so that a burst behind a fault
/// waits its turn instead of being turned away.
pub struct Vacancy<W: Send + 'static> {
    admission: Arc<Admission<W>>,
    stalled: bool,
}

impl<W: Send + 'static> Vacancy<W> {
    pub fn fill(self, worker: W) {
        if self.stalled {
            self.admission.state().stalled -= 1;
        }
        self.admission.free(worker);
    }

    /// No worker could be made, and nobody knows when one can. While this is so of every place of the instance, calls
    /// are turned away instead of waiting for their deadline.
    pub fn stall(&mut self) {
        if !std::mem::replace(&mut self.stalled, true) {
            self.admission.stall();
        }
    }
}
