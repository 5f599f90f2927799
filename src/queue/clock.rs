//! The time as a store reads it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The time of a store. Leases and pauses follow the monotonic clock; only the ages of items and of idempotency keys
/// follow the wall clock, so a jump of the wall clock delivers nothing early.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> (Instant, u64) + Send + Sync>);

impl Clock {
    /// The clocks of the machine.
    pub fn system() -> Self {
        Self(Arc::new(|| (Instant::now(), super::unix_ms())))
    }

    /// The clock that `read` reads: the monotonic time, and the milliseconds since 1970.
    #[cfg(any(test, debug_assertions))]
    pub fn of(read: impl Fn() -> (Instant, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The monotonic time, and the milliseconds since 1970.
    pub(super) fn read(&self) -> (Instant, u64) {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
