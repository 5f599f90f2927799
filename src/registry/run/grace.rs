//! The grace period: the time that running calls have after another version has taken over.
//!
//! A call that waits or runs in the task of its request ends with that task. A batch runs in a task of its own, and
//! finds out here why its callers no longer wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::ServiceSpec;

pub(in crate::registry) struct Grace {
    length: Duration,
    /// Signals the end of the period; `None` if the calls' deadlines come first anyway.
    over: Option<watch::Sender<bool>>,
}

impl Grace {
    pub(in crate::registry) fn of(spec: &ServiceSpec) -> Self {
        let length = spec.termination_grace();
        let over = (length < spec.rpc().keepalive).then(|| watch::Sender::new(false));
        Self { length, over }
    }

    /// Begins the period. Its end has no effect if no call is left by then.
    pub(in crate::registry) fn begin(self: &Arc<Self>) {
        if self.over.is_none() {
            return;
        }
        let (length, grace) = (self.length, Arc::downgrade(self));
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            // Every call at work holds a reference.
            if let Some(grace) = grace.upgrade()
                && let Some(over) = &grace.over
            {
                over.send_replace(true);
            }
        });
    }

    pub(in crate::registry) fn is_over(&self) -> bool {
        self.over.as_ref().is_some_and(|over| *over.borrow())
    }

    /// Runs `work`. If the grace period ends first, the work is dropped and the result is `None`.
    pub(in crate::registry) async fn within<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        let Some(over) = &self.over else { return Some(work.await) };
        let mut over = over.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = over.wait_for(|over| *over) => None,
        }
    }
}
