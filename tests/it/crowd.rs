//! Threads that go on until the test says that it is over, also when it says so by failing.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
