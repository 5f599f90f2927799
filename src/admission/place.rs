//! The place of a worker, owned by a call or by a replacement. Its drop updates the counts.

use std::sync::Arc;

use super::Admission;

/// One worker, lent to one call.
///
/// If the place is dropped before work begins, the worker becomes free. If it is dropped during work, the worker is
/// discarded, because its state is unknown, and a new one is requested. Only [`Place::release`] keeps a worker that has
/// worked.
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

    /// True if the call waited in the queue for this place.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Begins the work. From here on only [`Place::release`] keeps the worker.
    pub fn start(&mut self) -> &mut W {
        self.at_work = true;
        match &mut self.worker {
            Some(worker) => worker,
            None => unreachable!("a place keeps its worker until it is dropped"),
        }
    }

    /// Discards the worker. The holder of the vacancy decides about a replacement.
    pub fn give_up(mut self) -> Vacancy<W> {
        drop(self.worker.take());
        Vacancy { admission: Arc::clone(&self.admission), stalled: false }
    }

    /// Frees the worker, which is intact, for the next call.
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

/// The place of a discarded worker. It counts as busy until it is filled, so that calls that arrive after a fault wait
/// in the queue instead of being rejected.
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

    /// Marks that no worker could be created, and that it is unknown when one can be. While all places of the instance
    /// are marked, calls are rejected at once instead of waiting for their deadline.
    pub fn stall(&mut self) {
        if !std::mem::replace(&mut self.stalled, true) {
            self.admission.stall();
        }
    }
}
