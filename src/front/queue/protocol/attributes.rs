//! The attributes of a queue: names and values, all of them texts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::duration::as_go;
use super::headers::{GROUP, PRIORITY, USER};
use crate::queue::{Bounds, Consumer, ConsumerState, QueueName, Status};

/// The facts about a queue that its attributes tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'f> {
    pub(crate) name: &'f QueueName,
    pub(crate) status: &'f Status,
    pub(crate) bounds: &'f Bounds,
    /// The name of the storage, such as `local`.
    pub(crate) backend: &'f str,
    pub(crate) consumers: &'f [ConsumerLine],
    /// The time now, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// A consumer of the queue.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerLine {
    pub(crate) id: Consumer,
    /// The index of the last item that was delivered to it.
    pub(crate) index: u64,
    /// The number of items that it has not committed yet.
    pub(crate) pending: u64,
    pub(crate) status: ConsumerState,
    /// The time since it last received or committed an item.
    pub(crate) idle: Duration,
    pub(crate) window: usize,
    /// The number of places of the window that are free.
    pub(crate) slots: usize,
    pub(crate) auto_commit: bool,
}

/// Builds the attributes. The names that begin with `bulkhead.` are not in EAS.
pub(crate) fn of(facts: Facts<'_>) -> BTreeMap<String, String> {
    let Facts { name, status, bounds, backend, consumers, now_ms } = facts;
    let ready: u64 = status.ready.iter().map(|(_, count)| count).sum();
    let oldest_age = match status.oldest_put_ms {
        0 => Duration::ZERO,
        put_at_ms => Duration::from_millis(now_ms.saturating_sub(put_at_ms)),
    };
    let mut attributes: BTreeMap<_, _> = [
        ("meta.backend", backend.to_owned()),
        ("meta.name", name.to_string()),
        // The Go client has these two words as states of a stream.
        ("meta.state", if status.ended { "End" } else { "OK" }.to_owned()),
        ("meta.maxPayloadBytes", bounds.payload.to_string()),
        // The Go client refuses to work if it does not learn the name of the user's header.
        ("meta.header.user", USER.to_owned()),
        ("meta.header.group", GROUP.to_owned()),
        ("meta.header.priority", PRIORITY.to_owned()),
        ("stream.length", status.live().to_string()),
        ("stream.approxMaxLength", bounds.length.to_string()),
        ("stream.firstEntry", status.first.to_string()),
        ("stream.lastEntry", status.last.to_string()),
        // The documentation of EAS has the first name, the Go client the second.
        ("consumers.stats.total", consumers.len().to_string()),
        ("consumers.status.total", consumers.len().to_string()),
        ("bulkhead.ready", ready.to_string()),
        ("bulkhead.leased", status.leased.to_string()),
        ("bulkhead.delayed", status.delayed.to_string()),
        ("bulkhead.dead", status.dead.to_string()),
        ("bulkhead.oldestAgeSeconds", oldest_age.as_secs().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let lines = consumers.iter().enumerate();
    attributes.extend(lines.map(|(i, consumer)| (format!("consumers.list.[{i}]"), consumer.to_string())));
    attributes
}

impl fmt::Display for ConsumerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, index, pending, status, idle, window, slots, auto_commit } = self;
        // EAS shows milliseconds.
        let idle = as_go(Duration::from_millis(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)));
        write!(
            f,
            "Id: {id}, Index: {index}, Pending: {pending}, Status: {status}, Idle: {idle}, Window: {window}, \
             Slots: {slots}, AutoCommit: {auto_commit}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { length: 4096, payload: 8192, deliveries: 3, retention: None };

    fn of_a_queue(name: &QueueName, status: &Status, consumers: &[ConsumerLine], now_ms: u64) -> Vec<(String, String)> {
        of(Facts { name, status, bounds: &BOUNDS, backend: "local", consumers, now_ms }).into_iter().collect()
    }

    fn texts(attributes: &[(String, String)]) -> Vec<(&str, &str)> {
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn a_queue_with_items_and_consumers_tells_all_of_them() {
        let status = Status {
            ready: vec![(7, 2), (0, 3)],
            leased: 4,
            delayed: 10,
            dead: 100,
            first: 12,
            last: 345,
            oldest_put_ms: 1_700_000_000_000,
            ended: false,
            ..Status::default()
        };
        let running = ConsumerLine {
            id: Consumer::new("eas.uid-1"),
            index: 17,
            pending: 2,
            status: ConsumerState::Running,
            idle: Duration::from_micros(2_091_999),
            window: 5,
            slots: 3,
            auto_commit: false,
        };
        let gone = ConsumerLine {
            id: Consumer::new("g1.u1"),
            index: 0,
            pending: 0,
            status: ConsumerState::Complete,
            idle: Duration::from_secs(90),
            window: 1,
            slots: 1,
            auto_commit: true,
        };
        let attributes = of_a_queue(&QueueName::sink("qin"), &status, &[running, gone], 1_700_000_061_999);
        assert_eq!(
            texts(&attributes),
            [
                ("bulkhead.dead", "100"),
                ("bulkhead.delayed", "10"),
                ("bulkhead.leased", "4"),
                ("bulkhead.oldestAgeSeconds", "61"),
                ("bulkhead.ready", "5"),
                (
                    "consumers.list.[0]",
                    "Id: eas.uid-1, Index: 17, Pending: 2, Status: Running, Idle: 2.091s, Window: 5, Slots: 3, \
                     AutoCommit: false"
                ),
                (
                    "consumers.list.[1]",
                    "Id: g1.u1, Index: 0, Pending: 0, Status: Complete, Idle: 1m30s, Window: 1, Slots: 1, \
                     AutoCommit: true"
                ),
                ("consumers.stats.total", "2"),
                ("consumers.status.total", "2"),
                ("meta.backend", "local"),
                ("meta.header.group", "X-EAS-QueueService-Redis-Gid"),
                ("meta.header.priority", "X-EAS-QueueService-Priority"),
                ("meta.header.user", "X-EAS-QueueService-Redis-Uid"),
                ("meta.maxPayloadBytes", "8192"),
                ("meta.name", "qin/sink"),
                ("meta.state", "OK"),
                ("stream.approxMaxLength", "4096"),
                ("stream.firstEntry", "12"),
                ("stream.lastEntry", "345"),
                ("stream.length", "19"),
            ]
        );
    }

    #[test]
    fn an_empty_queue_has_zeros() {
        let status = Status { ended: true, last: 7, ..Status::default() };
        let attributes = of_a_queue(&QueueName::input("qin"), &status, &[], 1_700_000_000_000);
        let texts = texts(&attributes);
        for expected in [
            ("meta.name", "qin"),
            ("meta.state", "End"),
            ("stream.length", "0"),
            ("stream.firstEntry", "0"),
            ("stream.lastEntry", "7"),
            ("consumers.stats.total", "0"),
            ("consumers.status.total", "0"),
            ("bulkhead.oldestAgeSeconds", "0"),
        ] {
            assert!(texts.contains(&expected), "{expected:?} is not in {texts:?}");
        }
        assert!(!attributes.iter().any(|(name, _)| name.starts_with("consumers.list")));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_age() {
        let status = Status { oldest_put_ms: 1_700_000_000_000, ..Status::default() };
        let attributes = of_a_queue(&QueueName::input("qin"), &status, &[], 1_699_999_999_000);
        assert!(texts(&attributes).contains(&("bulkhead.oldestAgeSeconds", "0")));
    }
}
