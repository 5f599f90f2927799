//! A limit on requests per second by the generic cell rate algorithm: one number, no lock, no timer.
//!
//! Source: ITU-T I.371, Annex A. The number is the theoretical arrival time of the next request. Each request moves it
//! by one interval, and is refused if it lies a second or more ahead. So the requests of one second may come all at
//! once.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Rate {
    start: Instant,
    interval_nanos: u64,
    next: AtomicU64,
}

impl Rate {
    pub(crate) fn per_second(limit: NonZeroU64) -> Self {
        Self { start: Instant::now(), interval_nanos: (SECOND / limit).max(1), next: AtomicU64::new(0) }
    }

    /// Admits one request, or returns the time after which the next one may pass.
    pub(crate) fn pass(&self) -> Result<(), Duration> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Result<(), Duration> {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let ahead = SECOND - self.interval_nanos.min(SECOND);
        let step = |next: u64| {
            let next = next.max(now);
            (next - now <= ahead).then_some(next + self.interval_nanos)
        };
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(_) => Ok(()),
            Err(next) => Err(Duration::from_nanos(next.saturating_sub(now + ahead))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_per_interval() {
        let rate = Rate::per_second(NonZeroU64::new(4).unwrap());
        let at = |millis| rate.start + Duration::from_millis(millis);
        for _ in 0..4 {
            assert_eq!(rate.pass_at(at(10)), Ok(()));
        }
        assert_eq!(rate.pass_at(at(10)), Err(Duration::from_millis(250)));
        assert_eq!(rate.pass_at(at(259)), Err(Duration::from_millis(1)));
        assert_eq!(rate.pass_at(at(260)), Ok(()));
        assert!(rate.pass_at(at(260)).is_err());
        assert_eq!(
            (0..10).filter(|_| rate.pass_at(at(60_000)).is_ok()).count(),
            4,
            "rest is not saved up beyond a second"
        );
    }

    #[test]
    fn one_a_second_is_one_a_second() {
        let rate = Rate::per_second(NonZeroU64::MIN);
        let at = |millis| rate.start + Duration::from_millis(millis);
        assert_eq!(rate.pass_at(at(0)), Ok(()));
        assert_eq!(rate.pass_at(at(400)), Err(Duration::from_millis(600)));
        assert_eq!(rate.pass_at(at(1000)), Ok(()));
    }
}
