//! The counters of each service.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::histogram::Histogram;
use super::sizes::Sizes;
use crate::threads::PerThread;

/// The counters of one service over its lifetime, for all its versions.
#[derive(Default)]
pub struct ServiceMetrics {
    pub(super) by_thread: PerThread<Frequent>,
    pub(super) restarts: Counts,
    pub(super) recycled: Counts,
    pub(super) initialize_failures: AtomicU64,
    pub(super) log_dropped: AtomicU64,
    pub(super) batches: Sizes,
    pub(super) mirrored: AtomicU64,
    pub(super) mirror_sent: AtomicU64,
    pub(super) mirror_dropped: AtomicU64,
}

/// Per-request counters, one shard per thread, so that threads do not wait for each other.
#[derive(Default)]
pub(super) struct Frequent {
    pub(super) accepted: AtomicU64,
    /// Requests that ended with 200.
    answered: AtomicU64,
    /// Other requests, by status and code. The code is empty if there is none. A thread does not wait for another here,
    /// even if most requests are refused.
    others: Mutex<BTreeMap<(u16, &'static str), u64>>,
    pub(super) fuel: AtomicU64,
    pub(super) receive: Histogram,
    pub(super) queue: Histogram,
    pub(super) run: Histogram,
}

impl Frequent {
    fn others(&self) -> MutexGuard<'_, BTreeMap<(u16, &'static str), u64>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters by a fixed name, for events that are rare or already costly.
#[derive(Default)]
pub(super) struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    fn add(&self, name: &'static str) {
        *self.entries().entry(name).or_default() += 1;
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceMetrics {
    /// Counts a request that came in. Exactly one [`Self::settled`] follows.
    pub fn accepted(&self) {
        self.by_thread.mine().accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that ended. `code` is the code of its outcome, if that has one.
    pub fn settled(&self, status: u16, code: Option<&'static str>) {
        let frequent = self.by_thread.mine();
        if status == 200 && code.is_none() {
            frequent.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            *frequent.others().entry((status, code.unwrap_or_default())).or_default() += 1;
        }
    }

    /// Counts a copy of a request for another service. It also counts as accepted.
    pub fn mirrored(&self) {
        self.mirrored.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a copy of a request that was sent to another service.
    pub fn mirror_sent(&self) {
        self.mirror_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a copy of a request that could not be sent.
    pub fn mirror_dropped(&self) {
        self.mirror_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests that came in, and of those that have ended. They are equal if none is under way.
    pub fn account(&self) -> (u64, u64) {
        (self.sum(|frequent| &frequent.accepted), self.ended().values().sum())
    }

    /// Returns the number of requests that have ended, by status and code.
    pub(crate) fn ended(&self) -> BTreeMap<(u16, &'static str), u64> {
        let mut ended = BTreeMap::new();
        for frequent in self.by_thread.all() {
            let answered = ((200, ""), frequent.answered.load(Ordering::Relaxed));
            let others = frequent.others();
            for (how, count) in others.iter().map(|(how, count)| (*how, *count)).chain([answered]) {
                *ended.entry(how).or_default() += count;
            }
        }
        ended.retain(|_, count| *count > 0);
        ended
    }

    pub(super) fn sum(&self, counter: impl Fn(&Frequent) -> &AtomicU64) -> u64 {
        self.by_thread.all().map(|frequent| counter(frequent).load(Ordering::Relaxed)).sum()
    }

    pub fn received(&self, took: Duration) {
        self.by_thread.mine().receive.record(took);
    }

    pub fn queued(&self, took: Duration) {
        self.by_thread.mine().queue.record(took);
    }

    pub fn ran(&self, took: Duration, fuel: Option<u64>) {
        let frequent = self.by_thread.mine();
        frequent.run.record(took);
        if let Some(fuel) = fuel {
            frequent.fuel.fetch_add(fuel, Ordering::Relaxed);
        }
    }

    /// Records that `size` requests began as one batch.
    pub fn batched(&self, size: usize) {
        self.batches.record(size);
    }

    /// Counts a guest that was given up because of `fault` and is being replaced.
    pub fn restarted(&self, fault: &'static str) {
        self.restarts.add(fault);
    }

    /// Counts an intact guest that is being replaced because of `reason`.
    pub fn recycled(&self, reason: &'static str) {
        self.recycled.add(reason);
    }

    /// Returns the number of recycled guests, by reason.
    pub fn recycled_by_reason(&self) -> BTreeMap<&'static str, u64> {
        self.recycled.entries().clone()
    }

    /// Counts a replacement guest that could not be made.
    pub fn initialize_failed(&self) {
        self.initialize_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn restarts(&self) -> u64 {
        self.restarts.entries().values().sum()
    }

    pub fn log_dropped(&self, lines: u64) {
        self.log_dropped.fetch_add(lines, Ordering::Relaxed);
    }
}
