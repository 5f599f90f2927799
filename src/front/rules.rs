//! The rules of a service that hold on the connection of its request.
//!
//! A connection does not know which service a request is for; the line finds it out, and sets the service's rules here. The
//! connection looks at them whenever it has to decide. Until the service is known, the host's own rules hold.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::config::HalfClose;

/// The rules for the present request of a connection. The line and the connection look at them in one task, which a runtime
/// may send to another thread; hence the atomics.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    answers_half_closed: AtomicBool,
    accepted_bytes: AtomicUsize,
}

impl Rules {
    /// A request begins, of which nothing is known.
    pub(super) fn reset(&self) {
        self.set_half_close(HalfClose::Leave);
        self.set_accepted_bytes(0);
    }

    /// Sets what the client means by closing its sending side after its request.
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
