//! The documents of queues, their consumers and their dead letters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api;
use crate::api::{DeadLetter, DeadReason, QueueConsumer, QueueLimits, QueueState, ReadyItems};
use crate::queue::{Bounds, ConsumerState, ConsumerStatus, DeadItem, Status};

/// The state of a queue.
pub(in crate::admin) fn queue(status: &Status, bounds: &Bounds, consumers: &[ConsumerStatus]) -> QueueState {
    let oldest_age = match status.oldest_put_ms {
        0 => Duration::ZERO,
        put_at_ms => SystemTime::now().duration_since(time(put_at_ms)).unwrap_or(Duration::ZERO),
    };
    QueueState {
        length: status.live(),
        ready: status.ready.iter().map(|&(priority, items)| ReadyItems { priority, items }).collect(),
        leased: status.leased,
        delayed: status.delayed,
        dead: status.dead,
        first: status.first,
        last: status.last,
        oldest_age_s: oldest_age.as_secs(),
        ended: status.ended,
        limits: QueueLimits { length: bounds.length, payload: bounds.payload as u64 },
        consumers: consumers.iter().map(consumer).collect(),
    }
}

fn consumer(consumer: &ConsumerStatus) -> QueueConsumer {
    let status = match consumer.state() {
        ConsumerState::Running => api::ConsumerState::Running,
        ConsumerState::Leaving => api::ConsumerState::Leaving,
        ConsumerState::Exit => api::ConsumerState::Exit,
        ConsumerState::Complete => api::ConsumerState::Complete,
    };
    QueueConsumer {
        id: consumer.id.to_string(),
        index: consumer.index,
        pending: consumer.pending as u64,
        window: consumer.window as u64,
        status: status.into(),
        idle_s: consumer.idle.as_secs(),
    }
}

/// A dead item, without its data.
pub(in crate::admin) fn dead_letter(dead: DeadItem) -> DeadLetter {
    let DeadItem { item, reason, deliveries, died_at_ms } = dead;
    DeadLetter {
        index: item.index,
        request_id: item.tags.request_id().map(str::to_owned),
        tags: item.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        priority: item.priority,
        bytes: item.data.len() as u64,
        put_at: humantime::format_rfc3339_seconds(time(item.put_at_ms)).to_string(),
        died_at: humantime::format_rfc3339_seconds(time(died_at_ms)).to_string(),
        deliveries,
        reason: DeadReason { code: reason.code, text: reason.text },
    }
}

fn time(unix_ms: u64) -> SystemTime {
    // `humantime` can print the times up to the year 9999.
    const LATEST: u64 = 253_402_300_799_000;
    UNIX_EPOCH + Duration::from_millis(unix_ms.min(LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Item, Reason};

    #[test]
    fn a_dead_letter_has_its_times_as_text_and_no_data() {
        let item = Item {
            index: 7,
            priority: 3,
            tags: [("requestId", "r-1"), ("kind", "a")].into_iter().collect(),
            target: String::new(),
            headers: Vec::new(),
            data: "hello".into(),
            put_at_ms: 1_700_000_000_999,
        };
        let reason = Reason::new("408", "late");
        let told = dead_letter(DeadItem { item, reason, deliveries: 5, died_at_ms: u64::MAX });
        assert_eq!((told.request_id.as_deref(), told.bytes, told.tags.len()), (Some("r-1"), 5, 2));
        assert_eq!((told.put_at.as_str(), told.died_at.as_str()), ("2023-11-14T22:13:20Z", "9999-12-31T23:59:59Z"));
    }

    #[test]
    fn the_age_is_that_of_the_oldest_live_item() {
        let bounds = Bounds { length: 9, payload: 8, deliveries: 1, retention: None };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let status =
            Status { ready: vec![(7, 2), (0, 3)], leased: 1, oldest_put_ms: now - 90_500, ..Status::default() };
        let told = queue(&status, &bounds, &[]);
        assert_eq!((told.length, told.oldest_age_s), (6, 90));
        assert_eq!((told.ready[0].priority, told.ready[1].items), (7, 3));
        assert_eq!(queue(&Status::default(), &bounds, &[]).oldest_age_s, 0);
        let ahead = Status { oldest_put_ms: now + 90_500, ..Status::default() };
        assert_eq!(queue(&ahead, &bounds, &[]).oldest_age_s, 0, "a clock that was set back makes no age");
    }
}
