//! Operations on many items: each does a part, so that no batch grows with the length of a queue.

use bytes::Bytes;
use redb::ReadableTable;

use super::super::{Bounds, Holder, QueueError, QueueName, Reason};
use super::batch::{Batch, Step};
use super::tables::{DeadRow, StateKind, StateRow, read_row};

/// Most items in one part.
const PART: usize = 500;

impl Batch<'_, '_> {
    /// Opens a queue that an earlier host has left, so that it can be closed.
    pub(super) fn open_to_close(&mut self, queue: &QueueName) -> Step<()> {
        let is_left = self.books.get(queue).is_some_and(|book| book.bounds.is_none());
        let bounds = Bounds { length: u64::MAX, payload: 0, deliveries: u32::MAX, retention: None };
        if is_left { self.open(queue, bounds) } else { Ok(()) }
    }

    /// Ends a queue that is to be removed, if it may be.
    pub(super) fn close(&mut self, queue: &QueueName, with_items: bool) -> Step<()> {
        let book = self.book(queue)?;
        let items = book.live() + book.dead;
        if items > 0 && !with_items {
            return Err(QueueError::NotEmpty { items }.into());
        }
        book.closed = true;
        self.stirred.push(queue.clone());
        Ok(())
    }

    /// Removes some items and idempotency keys of a queue, whatever their state. Returns the number of rows.
    pub(super) fn remove_part(&mut self, queue: &QueueName) -> Step<u64> {
        let number = self.book(queue)?.number();
        let keys = self.tables.keys.remove_in((number, "")..(number + 1, ""), PART, |_| true)?;
        let times = self.tables.key_times.remove_in((number, 0, "")..(number + 1, 0, ""), PART, |_| true)?;
        Ok(keys + times + self.purge(queue, None)? + self.truncate_part(queue, u64::MAX)?)
    }

    /// Removes a queue without items.
    pub(super) fn remove_queue(&mut self, queue: &QueueName) -> Step<()> {
        self.book(queue)?;
        self.tables.queues.remove(queue.as_str())?;
        if let Some(mut book) = self.books.remove(queue) {
            book.waiters.refuse_all(&QueueError::NoQueue(queue.to_string()));
        }
        Ok(())
    }

    /// Removes some live items with indexes below `before`. Returns their number.
    pub(super) fn truncate_part(&mut self, queue: &QueueName, before: u64) -> Step<u64> {
        let number = self.book(queue)?.number();
        let mut part = Vec::new();
        {
            let rows = self.tables.items.range((number, 0)..(number, before))?;
            for row in rows {
                let index = row?.0.value().1;
                if self.tables.dead.get((number, index))?.is_none() {
                    part.push(index);
                }
                if part.len() == PART {
                    break;
                }
            }
        }
        let mut removed = 0;
        for index in part {
            removed += u64::from(self.delete(queue, index)?);
        }
        Ok(removed)
    }

    /// The indexes of some dead items: of those named, or of all.
    fn dead_among(&mut self, queue: &QueueName, indexes: Option<&[u64]>, damaged_too: bool) -> Step<Vec<u64>> {
        let number = self.book(queue)?.number();
        let mut dead = Vec::new();
        match indexes {
            None => {
                for row in self.tables.dead.range((number, 0)..=(number, u64::MAX))? {
                    let (key, row) = row?;
                    if damaged_too || read_row::<DeadRow>(row.value())?.reason.code != Reason::DAMAGED {
                        dead.push(key.value().1);
                    }
                    if dead.len() == PART {
                        break;
                    }
                }
            }
            Some(indexes) => {
                for index in indexes {
                    if self.tables.dead.get((number, *index))?.is_some() && !dead.contains(index) {
                        dead.push(*index);
                    }
                }
            }
        }
        Ok(dead)
    }

    /// Makes dead items ready again. A damaged one stays dead.
    pub(super) fn requeue(&mut self, queue: &QueueName, indexes: Option<&[u64]>) -> Step<u64> {
        let number = self.book(queue)?.number();
        let mut requeued = 0;
        for index in self.dead_among(queue, indexes, false)? {
            let Some(item) = self.facts(queue, index)? else { continue };
            let state = self.state(number, index)?;
            self.tables.dead.remove((number, index))?;
            self.set_state(number, index, StateRow { count: 0, kind: StateKind::Ready, ..state })?;
            let book = self.book(queue)?;
            book.dead -= 1;
            *book.live.entry(std::cmp::Reverse(item.priority)).or_default() += 1;
            for (name, value) in item.tags.iter() {
                let key = super::tables::tag(name, value);
                self.tables.tags.insert((number, &*key, super::tables::rank(item.priority), index), ())?;
            }
            self.make_ready(queue, index, item.priority)?;
            requeued += 1;
        }
        Ok(requeued)
    }

    /// Removes dead items.
    pub(super) fn purge(&mut self, queue: &QueueName, indexes: Option<&[u64]>) -> Step<u64> {
        let number = self.book(queue)?.number();
        let dead = self.dead_among(queue, indexes, true)?;
        for index in &dead {
            self.tables.dead.remove((number, *index))?;
            self.book(queue)?.dead -= 1;
            self.erase(queue, *index)?;
        }
        if !dead.is_empty() {
            self.stirred.push(queue.clone());
        }
        Ok(dead.len() as u64)
    }

    pub(super) fn keep_partial(&mut self, queue: &QueueName, index: u64, holder: &Holder, partial: &Bytes) -> Step<()> {
        let book = self.book(queue)?;
        let limit = book.bounds.map_or(0, |bounds| bounds.payload);
        if partial.len() > limit {
            return Err(QueueError::TooLarge { limit }.into());
        }
        if book.held_by(index, holder).is_none() {
            return Err(QueueError::LeaseLost { index }.into());
        }
        let number = book.number();
        if !self.has_space {
            return Err(QueueError::StorageFull.into());
        }
        self.tables.partials.insert((number, index), &**partial)?;
        Ok(())
    }
}
