//! The metrics of the queues of asynchronous services.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use super::exposition::{Seen, encode_gauge};
use super::families::{self, Family};
use super::histogram::Histogram;

/// A queue at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct QueueSeen {
    /// `input` or `sink`.
    pub queue: &'static str,
    /// Ready items by priority.
    pub ready: Vec<(u8, u64)>,
    pub leased: u64,
    pub delayed: u64,
    pub dead: u64,
    /// The age of the oldest item that is not dead.
    pub oldest_age: Duration,
    pub put: u64,
    pub delivered: u64,
    pub redelivered: u64,
    pub finished: u64,
    pub died: u64,
    pub expired: u64,
}

/// Times of one kind, added up without a lock.
#[derive(Debug, Default)]
pub struct Times(Histogram);

impl Times {
    pub fn record(&self, time: Duration) {
        self.0.record(time);
    }

    pub(super) fn histogram(&self) -> &Histogram {
        &self.0
    }
}

type Value = fn(&QueueSeen) -> u64;

pub(super) fn encode(services: &[Seen], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let queues = || services.iter().flat_map(|seen| seen.queues.iter().map(|queue| (seen.service.as_str(), queue)));
    let states: [(&str, Value); 4] = [
        ("ready", |queue| queue.ready.iter().map(|(_, count)| count).sum()),
        ("leased", |queue| queue.leased),
        ("delayed", |queue| queue.delayed),
        ("dead", |queue| queue.dead),
    ];
    let mut samples = families::QUEUED_ITEMS.begin(encoder)?;
    for (service, queue) in queues() {
        for (state, value) in states {
            let labels = families::QUEUED_ITEMS.labels([service, queue.queue, state]);
            encode_gauge(samples.encode_family(&labels)?, usize::try_from(value(queue)).unwrap_or(usize::MAX))?;
        }
    }
    let mut samples = families::QUEUED_ITEMS_READY.begin(encoder)?;
    for (service, queue) in queues() {
        for (priority, count) in &queue.ready {
            let priority = priority.to_string();
            let labels = families::QUEUED_ITEMS_READY.labels([service, queue.queue, &priority]);
            encode_gauge(samples.encode_family(&labels)?, usize::try_from(*count).unwrap_or(usize::MAX))?;
        }
    }
    let mut samples = families::QUEUED_ITEMS_OLDEST.begin(encoder)?;
    for (service, queue) in queues() {
        let labels = families::QUEUED_ITEMS_OLDEST.labels([service, queue.queue]);
        samples.encode_family(&labels)?.encode_gauge(&queue.oldest_age.as_secs_f64())?;
    }
    let counters: [(&'static Family, Value); 6] = [
        (&families::QUEUED_ITEMS_PUT, |queue| queue.put),
        (&families::QUEUED_ITEMS_DELIVERED, |queue| queue.delivered),
        (&families::QUEUED_ITEMS_REDELIVERED, |queue| queue.redelivered),
        (&families::QUEUED_ITEMS_FINISHED, |queue| queue.finished),
        (&families::QUEUED_ITEMS_DIED, |queue| queue.died),
        (&families::QUEUED_ITEMS_EXPIRED, |queue| queue.expired),
    ];
    for (family, value) in counters {
        let mut samples = family.begin(encoder)?;
        for (service, queue) in queues() {
            let labels = family.labels([service, queue.queue]);
            samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value(queue), None)?;
        }
    }
    Ok(())
}
