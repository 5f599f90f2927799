//! Counts the streams of one connection: those that are open, and all that have begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::front::listen::connection::ConnectionLimits;

pub(super) struct Streams(Arc<Shared>);

struct Shared {
    limits: ConnectionLimits,
    begun: AtomicU64,
    open: AtomicUsize,
    /// Notified when the connection has reached its limit of requests.
    enough: Notify,
}

impl Streams {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let (begun, open, enough) = (AtomicU64::new(0), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Shared { limits, begun, open, enough }))
    }

    /// Counts a new stream. It is open until the returned value is dropped.
    pub(super) fn begin(&self) -> Open {
        if self.0.begun.fetch_add(1, Ordering::Relaxed) + 1 == self.0.limits.requests {
            self.0.enough.notify_one();
        }
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.0))
    }

    /// Ends when no further stream should come: the limit is reached, or no stream was open for the idle time.
    pub(super) async fn over(&self) {
        loop {
            let begun = self.0.begun.load(Ordering::Relaxed);
            tokio::select! {
                () = self.0.enough.notified() => return,
                () = tokio::time::sleep(self.0.limits.patience.idle) => {}
            }
            if self.0.open.load(Ordering::Relaxed) == 0 && self.0.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }
}

/// An open stream.
pub(super) struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
