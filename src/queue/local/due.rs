//! Work that is due at a certain time: ends of leases and pauses, old items, old keys. Also the recovery after a crash.

use std::cmp::Reverse;
use std::time::Duration;

use redb::ReadableTable;

use super::super::{KEY_KEPT, QueueName, Reason, pause_after};
use super::batch::{Batch, Step, millis};
use super::book::{Held, Pause};
use super::record;
use super::tables::{StateKind, StateRow, read_row};

/// Most old items, and most old keys, that are removed in one batch.
const MOST_OLD: usize = 500;

impl Batch<'_, '_> {
    /// Does everything that is due.
    pub(super) fn due(&mut self) -> Step<()> {
        let now = self.now;
        let is_due = |book: &super::book::Book| {
            book.timers.first().is_some_and(|(at, _)| *at <= now)
                || book.bounds.is_some_and(|bounds| bounds.retention.is_some())
        };
        let queues: Vec<QueueName> =
            self.books.iter().filter(|(_, book)| is_due(book)).map(|(queue, _)| queue.clone()).collect();
        for queue in queues {
            self.timers(&queue)?;
            if let Some(retention) = self.book(&queue)?.bounds.and_then(|bounds| bounds.retention) {
                self.drop_old(&queue, retention)?;
            }
        }
        Ok(())
    }

    fn timers(&mut self, queue: &QueueName) -> Step<()> {
        let now = self.now;
        while let Some((_, index)) = self.book(queue)?.timers.first().copied().filter(|(at, _)| *at <= now) {
            let book = self.book(queue)?;
            let number = book.number();
            if let Some(pause) = book.resume(index) {
                let state = self.state(number, index)?;
                self.set_state(number, index, StateRow { kind: StateKind::Ready, ..state })?;
                self.make_ready(queue, index, pause.priority)?;
            } else if let Some(held) = book.leases.get(&index).cloned() {
                self.release(queue, index)?;
                let reason = Reason::new(Reason::LEASE_EXPIRED, "the lease was not renewed");
                self.fail(queue, index, &held, reason)?;
            } else {
                book.timers.pop_first();
            }
        }
        Ok(())
    }

    /// Removes the oldest items, as long as they are older than the queue keeps items. A leased item stays.
    fn drop_old(&mut self, queue: &QueueName, retention: Duration) -> Step<()> {
        let is_old = |wall_ms: u64, put_at_ms: u64| put_at_ms.saturating_add(millis(retention)) <= wall_ms;
        let wall_ms = self.wall_ms;
        let book = self.book(queue)?;
        let number = book.number();
        if book.head.is_some_and(|(_, put_at_ms)| !is_old(wall_ms, put_at_ms)) {
            return Ok(());
        }
        let mut old = Vec::new();
        let mut head = None;
        for row in self.tables.items.range((number, 0)..=(number, u64::MAX))? {
            let (key, value) = row?;
            let index = key.value().1;
            // A damaged item has no readable time. It stays until an operator purges it.
            let Ok(item) = record::facts(number, index, value.value()) else { continue };
            head = head.or(Some((index, item.put_at_ms)));
            if !is_old(wall_ms, item.put_at_ms) || old.len() == MOST_OLD {
                break;
            }
            if !self.books.get(queue).is_some_and(|book| book.leases.contains_key(&index)) {
                old.push((index, item.priority));
            }
        }
        self.book(queue)?.head = head;
        let mut dropped = 0;
        for (index, priority) in old {
            dropped += 1;
            if self.tables.dead.remove((number, index))? {
                self.book(queue)?.dead -= 1;
                self.erase(queue, index)?;
                continue;
            }
            if self.book(queue)?.resume(index).is_none() {
                self.make_unready(queue, index, priority)?;
            }
            self.forget(queue, index, priority)?;
        }
        if dropped > 0 {
            self.book(queue)?.counts.expired += dropped;
            self.stirred.push(queue.clone());
            tracing::info!(queue = queue.as_str(), dropped, "items older than queue.retention_s were removed");
        }
        Ok(())
    }

    /// Removes some idempotency keys that are not remembered any more. Returns true if there may be others.
    pub(super) fn drop_old_keys(&mut self) -> Step<bool> {
        let Some(before) = self.wall_ms.checked_sub(millis(KEY_KEPT)) else { return Ok(false) };
        let mut is_more = false;
        let numbers: Vec<u32> = self.books.values().map(super::book::Book::number).collect();
        for number in numbers {
            let mut old = Vec::new();
            for row in self.tables.key_times.range((number, 0, "")..(number, before, ""))?.take(MOST_OLD) {
                let (key, _) = row?;
                let (_, at_ms, text) = key.value();
                old.push((at_ms, text.to_owned()));
            }
            is_more |= old.len() == MOST_OLD;
            for (at_ms, text) in old {
                self.tables.key_times.remove((number, at_ms, &*text))?;
                // The key may have been used again since.
                let known = self.tables.keys.get((number, &*text))?.map(|found| read_row(found.value())).transpose()?;
                if known.is_some_and(|known: super::tables::KeyRow| known.at_ms == at_ms) {
                    self.tables.keys.remove((number, &*text))?;
                }
            }
        }
        Ok(is_more)
    }

    /// Ends the deliveries that were under way when the host ended, and begins pauses anew. Runs when a queue is opened
    /// for the first time after the database was opened.
    pub(super) fn recover(&mut self, queue: &QueueName) -> Step<()> {
        let now = self.now;
        let number = self.book(queue)?.number();
        let mut found = Vec::new();
        for row in self.tables.states.range((number, 0)..=(number, u64::MAX))? {
            let (key, value) = row?;
            let state: StateRow = read_row(value.value())?;
            if matches!(state.kind, StateKind::Leased | StateKind::Delayed) {
                found.push((key.value().1, state));
            }
        }
        for (index, state) in found {
            let priority = self.facts(queue, index)?.map_or(0, |facts| facts.priority);
            let book = self.book(queue)?;
            *book.live.entry(Reverse(priority)).or_default() += 1;
            let StateRow { turn, count, kind } = state;
            if kind == StateKind::Delayed {
                book.delay(index, Pause { priority, until: now + pause_after(count) });
                continue;
            }
            let consumer = super::super::Consumer::new("");
            let held = Held { turn, count, priority, consumer, until: now, room_in: None };
            self.fail(queue, index, &held, Reason::new(Reason::HOST_ENDED, "the host ended"))?;
        }
        Ok(())
    }
}
