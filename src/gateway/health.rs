//! The health of an upstream, as checks and the outcomes of requests show it.
//!
//! Reading it takes one or two loads, because every request reads it for every upstream of its cluster. It is written
//! only when something changes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Ejection, HealthCheck};

/// The health of an upstream. It is healthy at first: until the first check, only requests can show a fault.
#[derive(Debug)]
pub(super) struct Health {
    start: Instant,
    is_unhealthy: AtomicBool,
    /// The end of the ejection, in milliseconds since `start`. The upstream gets no requests before that time.
    ejected_until: AtomicU64,
    /// The number of failed requests in a row.
    failures: AtomicU32,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    has_been_checked: bool,
    has_been_well: bool,
    /// The number of checks in a row that contradict the present state.
    contrary: u32,
    why: Option<String>,
    ejections: u64,
    /// The number of ejections without a long healthy time in between.
    repeated: u32,
}

/// A change of state by a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthChange {
    Unhealthy,
    Healthy,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            is_unhealthy: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            account: Mutex::default(),
        }
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        !self.is_unhealthy() && self.ejected_for(now).is_none()
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.is_unhealthy.load(Ordering::Relaxed)
    }

    /// Returns the time for which it is still ejected.
    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = self.ejected_until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let rest = until.saturating_sub(self.millis(now));
        (rest > 0).then(|| Duration::from_millis(rest))
    }

    /// Returns the reason that the last failed check gave, while the upstream is unhealthy.
    pub(super) fn why_unhealthy(&self) -> Option<String> {
        if self.is_unhealthy() { self.account().why.clone() } else { None }
    }

    pub(super) fn ejections(&self) -> u64 {
        self.account().ejections
    }

    pub(super) fn has_been_checked(&self) -> bool {
        self.account().has_been_checked
    }

    /// True if a check has ever found it healthy.
    pub(super) fn has_been_well(&self) -> bool {
        self.account().has_been_well
    }

    /// Records the result of a check; an error is the reason for a failure. The thresholds do not hold for the first
    /// check and for the first good one, because an upstream that has just started has not been unstable.
    pub(super) fn checked(&self, outcome: Result<(), String>, check: &HealthCheck) -> Option<HealthChange> {
        let mut account = self.account();
        let is_first = !std::mem::replace(&mut account.has_been_checked, true);
        let (is_well, was_well) = (outcome.is_ok(), !self.is_unhealthy());
        let is_first_good = is_well && !account.has_been_well;
        account.has_been_well |= is_well;
        if let Err(why) = outcome {
            account.why = Some(why);
        }
        if is_well == was_well {
            account.contrary = 0;
            return None;
        }
        account.contrary += 1;
        let threshold = if is_well { check.healthy_threshold } else { check.unhealthy_threshold };
        if account.contrary < threshold && !is_first && !is_first_good {
            return None;
        }
        account.contrary = 0;
        self.is_unhealthy.store(!is_well, Ordering::Relaxed);
        Some(if is_well { HealthChange::Healthy } else { HealthChange::Unhealthy })
    }

    pub(super) fn succeeded(&self) {
        // Most of the time there is nothing to reset. A load does not take the cache line from other threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Records a failed request; true if there were so many in a row that the upstream should be ejected.
    pub(super) fn failed(&self, ejection: &Ejection) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= ejection.consecutive_failures.get()
    }

    /// Ejects it from `now` on. The caller has checked that enough others are left.
    pub(super) fn eject(&self, ejection: &Ejection, now: Instant) -> Duration {
        let mut account = self.account();
        let last_until = self.start + Duration::from_millis(self.ejected_until.load(Ordering::Relaxed));
        let was_well_for_long = now.saturating_duration_since(last_until) > ejection.max_time;
        account.repeated = if was_well_for_long { 0 } else { account.repeated + u32::from(account.ejections > 0) };
        account.ejections += 1;
        let factor = 1_u32.checked_shl(account.repeated.min(16)).unwrap_or(u32::MAX);
        let time = ejection.time.saturating_mul(factor).min(ejection.max_time);
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(self.millis(now + time), Ordering::Relaxed);
        time
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const CHECK: HealthCheck = HealthCheck {
        path: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        unhealthy_threshold: 3,
        healthy_threshold: 2,
    };
    const EJECTION: Ejection = Ejection {
        consecutive_failures: NonZeroU32::new(2).unwrap(),
        time: Duration::from_secs(30),
        max_time: Duration::from_secs(100),
        max_share: 50,
    };

    #[test]
    fn the_first_check_and_the_first_good_one_decide_and_later_ones_must_agree() {
        let health = Health::new();
        let (good, bad) = (|| health.checked(Ok(()), &CHECK), || health.checked(Err("refused".into()), &CHECK));
        assert!(health.is_available(Instant::now()));
        assert_eq!(bad(), Some(HealthChange::Unhealthy));
        assert_eq!(health.why_unhealthy().as_deref(), Some("refused"));
        assert_eq!((bad(), health.has_been_well(), good()), (None, false, Some(HealthChange::Healthy)));
        assert!(health.has_been_well());
        assert_eq!((bad(), bad(), good(), bad(), bad()), (None, None, None, None, None));
        assert!(health.is_available(Instant::now()));
        assert_eq!(bad(), Some(HealthChange::Unhealthy));
        assert_eq!((good(), bad(), good(), good()), (None, None, None, Some(HealthChange::Healthy)));
        assert_eq!(health.why_unhealthy(), None);
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let health = Health::new();
        let at = |seconds| health.start + Duration::from_secs(seconds);
        assert!(!health.failed(&EJECTION));
        health.succeeded();
        assert!(!health.failed(&EJECTION));
        assert!(health.failed(&EJECTION));
        assert_eq!(health.eject(&EJECTION, at(10)).as_secs(), 30);
        assert!(!health.is_available(at(39)));
        assert!(health.is_available(at(40)));
        assert!(!health.failed(&EJECTION), "it begins anew");
        assert_eq!(health.eject(&EJECTION, at(41)).as_secs(), 60);
        assert_eq!(health.eject(&EJECTION, at(102)).as_secs(), 100);
        assert_eq!(health.eject(&EJECTION, at(303)).as_secs(), 30, "it was well for longer than it is ever left out");
        assert_eq!(health.ejections(), 4);
    }
}
