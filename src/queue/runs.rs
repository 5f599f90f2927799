//! The items that processors of this host work on: their progress, and the way to cancel them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::{QueueName, Tags};

/// Most bytes of the note of a report.
const LONGEST_NOTE: usize = 1 << 10;

/// The items that are being processed.
#[derive(Debug, Default)]
pub struct Runs(Mutex<HashMap<(QueueName, u64), Arc<Run>>>);

/// The processing of one item, in one delivery.
#[derive(Debug)]
pub struct Run {
    tags: Tags,
    cancel: Notify,
    progress: Mutex<Option<Progress>>,
}

/// The last report of a processor about its item.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// At most 1 KiB.
    pub note: Arc<str>,
    /// The time of the report.
    pub at: Instant,
}

/// The progress of an item that is being processed.
#[derive(Clone, Debug)]
pub struct Reported {
    pub index: u64,
    pub request_id: String,
    pub progress: Progress,
}

/// An item that is being processed for as long as this value lives.
#[derive(Debug)]
pub struct Running {
    runs: Arc<Runs>,
    place: (QueueName, u64),
    run: Arc<Run>,
}

impl Runs {
    pub fn begin(self: &Arc<Self>, queue: &QueueName, index: u64, tags: &Tags) -> Running {
        let run = Run { tags: tags.clone(), cancel: Notify::new(), progress: Mutex::default() };
        let (place, run) = ((queue.clone(), index), Arc::new(run));
        self.lock().insert(place.clone(), Arc::clone(&run));
        Running { runs: Arc::clone(self), place, run }
    }

    /// Cancels the items of this request that are being processed. Returns their indexes.
    pub fn cancel(&self, queue: &QueueName, request_id: &str) -> Vec<u64> {
        let runs = self.lock();
        let meant = runs.iter().filter(|((of, _), run)| of == queue && run.tags.request_id() == Some(request_id));
        meant
            .map(|((_, index), run)| {
                run.cancel.notify_one();
                *index
            })
            .collect()
    }

    /// The last report about an item, if it is being processed and there was a report.
    pub fn progress(&self, queue: &QueueName, index: u64) -> Option<Progress> {
        let run = self.lock().get(&(queue.clone(), index)).cloned();
        run?.progress()
    }

    /// The last reports about all items of a queue that are being processed and have these tags.
    pub fn reports(&self, queue: &QueueName, wanted: &Tags) -> Vec<Reported> {
        let runs = self.lock();
        let meant = runs.iter().filter(|((of, _), run)| of == queue && run.tags.contain(wanted));
        let reported = meant.filter_map(|((_, index), run)| {
            let request_id = run.tags.request_id().unwrap_or_default().to_owned();
            Some(Reported { index: *index, request_id, progress: run.progress()? })
        });
        reported.collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(QueueName, u64), Arc<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Records a report. A fraction that is no number is ignored, and its note with it.
    pub fn report(&self, fraction: f64, note: &str) {
        if fraction.is_nan() {
            return;
        }
        let note = note[..note.floor_char_boundary(LONGEST_NOTE)].into();
        *self.lock() = Some(Progress { fraction: fraction.clamp(0.0, 1.0), note, at: Instant::now() });
    }

    fn progress(&self) -> Option<Progress> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// The run, for the reports of the processor. A report after the end of this value is seen by nobody.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Ready once somebody cancels the item.
    pub async fn cancelled(&self) {
        self.run.cancel.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut runs = self.runs.lock();
        // The item may have been delivered again meanwhile. Then the place has the run of the later delivery.
        if runs.get(&self.place).is_some_and(|run| Arc::ptr_eq(run, &self.run)) {
            runs.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(request_id: &str) -> Tags {
        [(Tags::REQUEST_ID, request_id), ("user", "ada")].into_iter().collect()
    }

    #[test]
    fn a_report_is_seen_until_the_processing_ends() {
        let runs = Arc::<Runs>::default();
        let queue = QueueName::input("s");
        let running = runs.begin(&queue, 7, &tags("r-7"));
        assert_eq!(runs.progress(&queue, 7), None, "nothing was reported yet");
        running.run().report(0.25, "a quarter");
        let progress = runs.progress(&queue, 7).unwrap();
        assert_eq!((progress.fraction, &*progress.note), (0.25, "a quarter"));
        assert_eq!(runs.progress(&QueueName::input("t"), 7), None);

        let of = |wanted: &[(&str, &str)]| {
            let reports = runs.reports(&queue, &wanted.iter().copied().collect());
            reports.into_iter().map(|report| (report.index, report.request_id)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [(7, "r-7".to_owned())]);
        assert_eq!(of(&[("user", "ada")]), [(7, "r-7".to_owned())]);
        assert_eq!(of(&[("user", "bob")]), []);
        drop(running);
        assert_eq!((runs.progress(&queue, 7), of(&[])), (None, vec![]));
    }

    #[test]
    fn a_fraction_is_from_0_to_1_and_a_note_has_at_most_1_kib() {
        let runs = Arc::<Runs>::default();
        let queue = QueueName::input("s");
        let running = runs.begin(&queue, 1, &Tags::default());
        let after = |fraction: f64, note: &str| {
            running.run().report(fraction, note);
            let progress = runs.progress(&queue, 1).unwrap();
            (progress.fraction, progress.note.to_string())
        };
        assert_eq!(after(-3.0, "a"), (0.0, "a".to_owned()));
        assert_eq!(after(f64::INFINITY, "b"), (1.0, "b".to_owned()));
        assert_eq!(after(f64::NAN, "c"), (1.0, "b".to_owned()), "the last report stays");
        assert_eq!(after(0.5, &"€".repeat(400)), (0.5, "€".repeat(341)));
    }

    #[test]
    fn the_end_of_a_delivery_does_not_end_the_next_one() {
        let runs = Arc::<Runs>::default();
        let queue = QueueName::input("s");
        let first = runs.begin(&queue, 1, &tags("r"));
        let second = runs.begin(&queue, 1, &tags("r"));
        second.run().report(0.5, "");
        first.run().report(0.9, "late");
        drop(first);
        assert_eq!(runs.progress(&queue, 1).unwrap().fraction, 0.5);
        assert_eq!(runs.cancel(&queue, "r"), [1]);
    }

    #[tokio::test]
    async fn a_cancellation_reaches_the_items_of_the_request_and_no_others() {
        let runs = Arc::<Runs>::default();
        let queue = QueueName::input("s");
        let (one, two) = (runs.begin(&queue, 1, &tags("r-1")), runs.begin(&queue, 2, &tags("r-2")));
        let _other = runs.begin(&QueueName::input("t"), 1, &tags("r-1"));
        one.run().report(0.5, "half");
        assert_eq!(runs.cancel(&queue, "r-1"), [1]);
        // Also if nobody waited for it yet.
        one.cancelled().await;
        assert!(futures_util::FutureExt::now_or_never(two.cancelled()).is_none());
        drop(one);
        assert!(runs.cancel(&queue, "r-1").is_empty(), "it has ended");
    }
}
