//! The results of an asynchronous service: each is matched to its put, and the time between them is recorded.
//!
//! A put is remembered before it is sent, because its result may come before its answer. It is forgotten when its
//! result has come, or when it has failed. So the memory grows only with the items that the service has not finished.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::tally::Tally;

/// The puts of a run whose results have not come, and the results that have.
pub(super) struct Awaited {
    /// The time at which the measurement begins. The results of earlier puts are taken, and not measured.
    began: Instant,
    state: Mutex<State>,
    /// Notified after each change by results.
    changed: Notify,
}

struct State {
    /// The time from which each put counts: when it was due.
    puts: HashMap<u64, Instant>,
    next: u64,
    tally: Tally,
    /// The time of the last result of any put.
    last: Option<Instant>,
    unmatched: u64,
    trouble: Option<String>,
}

/// A put that is under way. If it is dropped before it is accepted, no result is awaited.
pub(super) struct Put<'a> {
    awaited: &'a Awaited,
    pub(super) number: u64,
    is_accepted: bool,
}

/// The results of a whole run.
pub(super) struct Results {
    /// Times from the puts to their results: a success has the status 200.
    pub(super) tally: Tally,
    /// Accepted puts whose results did not come.
    pub(super) missing: u64,
    /// Results of puts that got no answer.
    pub(super) unmatched: u64,
    /// The time from the begin of the measurement to the last result.
    pub(super) took: Duration,
    /// The last reason why the sink could not be read.
    pub(super) trouble: Option<String>,
}

impl Awaited {
    pub(super) fn new(began: Instant) -> Self {
        let state =
            State { puts: HashMap::new(), next: 0, tally: Tally::new(began), last: None, unmatched: 0, trouble: None };
        Self { began, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Begins a put that was due at `due`.
    pub(super) fn put(&self, due: Instant) -> Put<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.puts.insert(number, due);
        Put { awaited: self, number, is_accepted: false }
    }

    /// Records a result that came at `now`; `number` is `None` if its request id is none of this run.
    pub(super) fn record(&self, number: Option<u64>, now: Instant, status: u16, code: String) {
        let mut state = self.state();
        state.last = Some(now);
        match number.and_then(|number| state.puts.remove(&number)) {
            Some(due) if due >= self.began => state.tally.record_result(due, now, status, code),
            Some(_) => {}
            None => state.unmatched += 1,
        }
        self.changed.notify_one();
    }

    /// Notes why the sink could not be read.
    pub(super) fn note(&self, trouble: String) {
        self.state().trouble = Some(trouble);
    }

    /// The number of puts whose results have not come.
    pub(super) fn left(&self) -> usize {
        self.state().puts.len()
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.state().last
    }

    /// Waits for the next result, or returns at once if one has come since the last call. Only one task may wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes the results out, at the end of a run.
    pub(super) fn finish(&self) -> Results {
        let mut state = self.state();
        let missing = state.puts.values().filter(|due| **due >= self.began).count() as u64;
        Results {
            tally: std::mem::replace(&mut state.tally, Tally::new(self.began)),
            missing,
            unmatched: state.unmatched,
            took: state.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(self.began)),
            trouble: state.trouble.take(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Put<'_> {
    /// The put was answered with success, so its result is awaited.
    pub(super) fn accept(mut self) {
        self.is_accepted = true;
    }
}

impl Drop for Put<'_> {
    fn drop(&mut self) {
        if !self.is_accepted {
            self.awaited.state().puts.remove(&self.number);
        }
    }
}

impl Results {
    /// Results of all statuses.
    pub(super) fn count(&self) -> u64 {
        self.tally.answers()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.count() as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn record(awaited: &Awaited, number: u64, now: Instant, status: u16) {
        awaited.record(Some(number), now, status, String::new());
    }

    #[test]
    fn a_result_is_matched_to_its_put_whatever_the_order() {
        let began = Instant::now();
        let awaited = Awaited::new(began);
        let [first, second, third] = [10, 20, 30].map(|ms| awaited.put(began + ms * MS));
        let (one, two) = (first.number, second.number);
        second.accept();
        // This result comes before the answer to its put.
        record(&awaited, one, began + 110 * MS, 200);
        first.accept();
        record(&awaited, two, began + 25 * MS, 422);
        third.accept();
        assert_eq!(awaited.left(), 1, "the others are forgotten");
        let results = awaited.finish();
        assert_eq!((results.count(), results.missing, results.unmatched), (2, 1, 0));
        assert!(results.tally.answered.equivalent(results.tally.answered.max(), 100_000_000));
        assert!(results.tally.refused.equivalent(results.tally.refused.max(), 5_000_000));
        assert_eq!(results.tally.statuses.keys().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 422]);
    }

    #[test]
    fn a_put_that_failed_awaits_no_result() {
        let began = Instant::now();
        let awaited = Awaited::new(began);
        let failed = awaited.put(began);
        let number = failed.number;
        drop(failed);
        assert_eq!(awaited.left(), 0);
        // A put without an answer may have put its item.
        record(&awaited, number, began + MS, 200);
        awaited.record(None, began + MS, 200, String::new());
        let results = awaited.finish();
        assert_eq!((results.count(), results.missing, results.unmatched), (0, 0, 2));
    }

    #[test]
    fn results_of_the_warm_up_are_awaited_and_not_measured() {
        let start = Instant::now();
        let awaited = Awaited::new(start + 100 * MS);
        let [lost, early, late] = [0, 99, 100].map(|ms| awaited.put(start + ms * MS));
        for put in [&early, &late] {
            record(&awaited, put.number, start + 150 * MS, 200);
        }
        for put in [lost, early, late] {
            put.accept();
        }
        assert_eq!(awaited.left(), 1);
        let results = awaited.finish();
        assert_eq!((results.count(), results.missing), (1, 0));
        assert_eq!(results.took, 50 * MS);
    }
}
