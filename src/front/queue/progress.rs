//! The progress of items that are being worked on, as frames for the clients that watch the results.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior};

use crate::queue::{Item, QueueName, Reported, Runs, Tags};

/// The time between two frames about one item. A processor may report more often; only its last report is sent.
const PAUSE: Duration = Duration::from_millis(500);

/// The tags of a frame, besides the request id. The index is 0, which no item has, and there is no data.
const FRACTION: &str = "progress";
const NOTE: &str = "note";

/// The reports that one watcher has not seen yet.
pub(super) struct Bulletin {
    /// The queue of the items that are worked on.
    input: QueueName,
    wanted: Tags,
    tick: Interval,
    /// The time of the last report that was sent, by index.
    sent: HashMap<u64, Instant>,
}

impl Bulletin {
    /// The progress of the items with these tags whose results come into `sink`.
    pub(super) fn new(sink: &QueueName, wanted: Tags) -> Self {
        let mut tick = tokio::time::interval(PAUSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { input: QueueName::input(sink.service()), wanted, tick, sent: HashMap::new() }
    }

    /// Waits for the next time at which frames may be sent, and returns them. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, runs: &Runs) -> Vec<Item> {
        self.tick.tick().await;
        let reports = runs.reports(&self.input, &self.wanted);
        let is_new = |report: &&Reported| self.sent.get(&report.index) != Some(&report.progress.at);
        let news = reports.iter().filter(is_new).map(frame).collect();
        self.sent = reports.iter().map(|report| (report.index, report.progress.at)).collect();
        news
    }
}

fn frame(report: &Reported) -> Item {
    let Reported { index: _, request_id, progress } = report;
    let fraction = format!("{:.4}", progress.fraction);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let tags = [(Tags::REQUEST_ID, request_id.as_str()), (FRACTION, fraction), (NOTE, &progress.note)];
    Item {
        index: 0,
        priority: 0,
        tags: tags.into_iter().collect(),
        target: String::new(),
        headers: Vec::new(),
        data: Bytes::new(),
        put_at_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn told(items: &[Item]) -> Vec<(&str, &str, &str)> {
        let tag = |item, name| Tags::get(item, name).unwrap();
        items
            .iter()
            .map(|item| {
                assert_eq!((item.index, item.data.len()), (0, 0));
                (tag(&item.tags, Tags::REQUEST_ID), tag(&item.tags, FRACTION), tag(&item.tags, NOTE))
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_report_about_each_item_is_sent_twice_a_second() {
        let runs = Arc::<Runs>::default();
        let tags = |id| [(Tags::REQUEST_ID, id)].into_iter().collect::<Tags>();
        let of_s = runs.begin(&QueueName::input("s"), 1, &tags("r-1"));
        let of_t = runs.begin(&QueueName::input("t"), 1, &tags("r-2"));
        let mut bulletin = Bulletin::new(&QueueName::sink("s"), Tags::default());
        let began = tokio::time::Instant::now();
        assert_eq!(told(&bulletin.next(&runs).await), []);

        of_s.run().report(0.1, "first");
        of_s.run().report(0.42, "second");
        of_t.run().report(0.9, "of another service");
        assert_eq!(told(&bulletin.next(&runs).await), [("r-1", "0.42", "second")]);
        assert_eq!(told(&bulletin.next(&runs).await), [], "nothing is sent again");
        of_s.run().report(1.0, "");
        assert_eq!(told(&bulletin.next(&runs).await), [("r-1", "1", "")]);
        assert_eq!(began.elapsed(), PAUSE * 3);
        drop(of_s);
        assert_eq!(told(&bulletin.next(&runs).await), []);
        assert!(bulletin.sent.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_tags_of_the_watch_choose_whose_progress_is_sent() {
        let runs = Arc::<Runs>::default();
        let tags = |id| [(Tags::REQUEST_ID, id)].into_iter().collect::<Tags>();
        let queue = QueueName::input("s");
        let (one, two) = (runs.begin(&queue, 1, &tags("r-1")), runs.begin(&queue, 2, &tags("r-2")));
        one.run().report(0.0, "");
        two.run().report(0.33333, "");
        let mut bulletin = Bulletin::new(&QueueName::sink("s"), tags("r-2"));
        assert_eq!(told(&bulletin.next(&runs).await), [("r-2", "0.3333", "")]);
    }
}
