//! The monotonic clock that guests see: one for all guests of all times.
//!
//! A snapshot may hold an instant that `initialize` has taken, and guests compare it with later ones, also in another
//! process or after the machine was started again. So the clock begins where the wall clock stood when this process first
//! asked, and goes on from there by the machine's own monotonic clock.

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
