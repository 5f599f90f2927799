//! The slice of a metered guest: the fuel after which it yields, fitted to the time that its fuel takes.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time that a guest should compute before it yields.
const AIM: Duration = Duration::from_micros(500);
/// Fuel of the first slices, before the program's rate is known.
const FIRST: u64 = 1_000_000;
/// Bounds of a fitted slice. Below them, yielding would cost more than it gains. Above them, a processor could first
/// show cheap fuel, by filling memory, and then hold a thread with costly host calls: a host call takes a handful of
/// fuel and a hundred nanoseconds.
const BOUNDS: RangeInclusive<u64> = 20_000..=2_000_000;
/// Least fuel of a call that shows the rate; calls with less say too little.
const TELLING: u64 = 20_000;

/// Fuel per slice of one program.
pub(super) struct Slice(AtomicU64);

impl Slice {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(FIRST))
    }

    pub(super) fn fuel(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes a call's fuel and time into account. Fuel is work, and the time that a unit of it takes differs a
    /// thousandfold between kinds of work.
    pub(super) fn fit(&self, fuel: u64, took: Duration) {
        if fuel < TELLING {
            return;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let fitted = u128::from(fuel) * AIM.as_nanos() / u128::from(nanos);
        let fitted = u64::try_from(fitted).unwrap_or(u64::MAX).clamp(*BOUNDS.start(), *BOUNDS.end());
        let old = self.0.load(Ordering::Relaxed);
        self.0.store(old - old / 4 + fitted / 4, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_comes_to_take_the_time_it_should() {
        let slice = Slice::new();
        slice.fit(TELLING - 1, Duration::from_secs(1));
        assert_eq!(slice.fuel(), FIRST, "too little to learn from");
        for _ in 0..100 {
            slice.fit(100_000, Duration::from_millis(1));
        }
        assert!(slice.fuel().abs_diff(50_000) < 10, "{}", slice.fuel());
        for (fuel, took, bound) in [(TELLING, Duration::from_secs(9), 20_000), (u64::MAX, Duration::ZERO, 2_000_000)] {
            for _ in 0..100 {
                slice.fit(fuel, took);
            }
            assert!(slice.fuel().abs_diff(bound) < 10, "{}", slice.fuel());
        }
    }
}
