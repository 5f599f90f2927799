//! The time that calls still have once another version has taken over.
//!
//! Calls that wait or run in the task of their request end with it; those of a batch are worked on by a task of its own,
//! which learns from here why nobody waits for them any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::ServiceSpec;

pub(in crate::registry) struct Grace {
    length: Duration,
    /// Tells calls that it is over; `None` where their deadlines come first anyway.
    over: Option<watch::Sender<bool>>,
}

impl Grace {
    pub(in crate::registry) fn of(spec: &ServiceSpec) -> Self {
        let length = spec.termination_grace();
        let over = (length < spec.rpc().keepalive).then(|| watch::Sender::new(false));
        Self { length, over }
    }

    /// Begins. It ends early if nobody is left who could be told.
    pub(in crate::registry) fn begin(self: &Arc<Self>) {
        if self.over.is_none() {
            return;
        }
        let (length, grace) = (self.length, Arc::downgrade(self));
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            // Whoever is still at work holds it.
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

    /// Does `work`, unless the grace is over before it is done: then the work is dropped and there is nothing.
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
