//! The settings of a service that its request's connection must follow.
//!
//! A connection does not know which service a request is for. The handler finds it out and sets the service's rules
//! here; the connection reads them whenever it needs them. Until the service is known, the host's defaults apply.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::config::HalfClose;

/// The rules for the current request of a connection. They are atomics only because the runtime may move the task to
/// another thread; nothing reads them concurrently.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    answers_half_closed: AtomicBool,
    accepted_bytes: AtomicUsize,
}

impl Rules {
    /// Resets the rules to the defaults, for a new request.
    pub(super) fn reset(&self) {
        self.set_half_close(HalfClose::Leave);
        self.set_accepted_bytes(0);
    }

    /// Sets the treatment of a client that closes its sending side after its request.
    pub(super) fn set_half_close(&self, half_close: HalfClose) {
        self.answers_half_closed.store(half_close == HalfClose::Answer, Relaxed);
    }

    pub(super) fn answers_half_closed(&self) -> bool {
        self.answers_half_closed.load(Relaxed)
    }

    /// Sets the size of the largest body that the service takes.
    pub(super) fn set_accepted_bytes(&self, bytes: usize) {
        self.accepted_bytes.store(bytes, Relaxed);
    }

    pub(super) fn accepted_bytes(&self) -> usize {
        self.accepted_bytes.load(Relaxed)
    }
}
