//! Stops background threads at the end of a test, also if the test fails.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
