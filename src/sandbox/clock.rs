//! The monotonic clock of guests: the same for all guests, in all processes.
//!
//! A snapshot may contain a time that `initialize` has read. Guests compare it with later times, perhaps in another
//! process or after a restart of the machine. So the clock starts at the wall-clock time of its first use in this
//! process, and continues with the machine's monotonic clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use wasmtime_wasi::clocks::HostMonotonicClock;

static ORIGIN: LazyLock<(Duration, Instant)> =
    LazyLock::new(|| (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(), Instant::now()));

pub(super) struct SharedClock;

impl HostMonotonicClock for SharedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let (began, instant) = &*ORIGIN;
        u64::try_from((*began + instant.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}
