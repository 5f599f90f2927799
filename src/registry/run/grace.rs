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
    /// Signals the end of the period.
    over: watch::Sender<bool>,
    /// True if the deadlines of calls that answer as a whole come first anyway.
    deadlines_come_first: bool,
}

impl Grace {
    pub(in crate::registry) fn of(spec: &ServiceSpec) -> Self {
        let length = spec.termination_grace();
        Self { length, over: watch::Sender::new(false), deadlines_come_first: length >= spec.rpc().keepalive }
    }

    /// Begins the period. Its end has no effect if no call is left by then.
    pub(in crate::registry) fn begin(self: &Arc<Self>) {
        let (length, grace) = (self.length, Arc::downgrade(self));
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            // Every call at work holds a reference.
            if let Some(grace) = grace.upgrade() {
                grace.over.send_replace(true);
            }
        });
    }

    pub(in crate::registry) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Runs `work`. If the grace period ends first, the work is dropped and the result is `None`.
    pub(in crate::registry) async fn within<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        if self.deadlines_come_first { Some(work.await) } else { self.within_stream(work).await }
    }

    /// As [`Grace::within`], for an answer that is streamed, which may take longer than the deadline of a call.
    pub(in crate::registry) async fn within_stream<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        let mut over = self.over.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = over.wait_for(|over| *over) => None,
        }
    }
}
