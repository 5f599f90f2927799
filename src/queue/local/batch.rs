//! Operations that are written to the log together: their changes of the tables, and the state in memory.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use redb::ReadableTable;

use super::super::{
    Bounds, Holder, Item, KEY_KEPT, Key, NewItem, Outcome, QueueError, QueueName, Reason, Receipt, Settled, pause_after,
};
use super::book::{Book, Held, Pause, take_one};
use super::record::{self, Facts};
use super::tables::{DeadRow, KeyRow, StateKind, StateRow, Tables, rank, read_row, row, tag};
use super::writer::Job;

/// The queues by name.
pub(super) type Books = HashMap<QueueName, Book>;

/// One batch of operations.
pub(super) struct Batch<'t, 'b> {
    pub(super) tables: &'b mut Tables<'t>,
    pub(super) books: &'b mut Books,
    pub(super) now: Instant,
    pub(super) wall_ms: u64,
    /// True if the disk has room for more items.
    pub(super) has_space: bool,
    /// True if the answers wait until readers on other threads can see the changes.
    pub(super) publish: bool,
    /// Items that have become ready in this batch.
    pub(super) fresh: Vec<(QueueName, u64)>,
    /// Queues that may have ended, or may have room again, so that waiting consumers need an answer.
    pub(super) stirred: Vec<QueueName>,
    /// Answers, which are sent once the batch is on disk.
    pub(super) replies: &'b mut Vec<Reply>,
}

/// Sends an answer once the batch is on disk, or the reason why it is not. Returns more work if the caller has left.
pub(super) type Reply = Box<dyn FnOnce(Result<(), &QueueError>) -> Option<Job> + Send>;

/// The reason why an operation stops early.
pub(super) enum Stop {
    /// The operation is refused and has changed nothing.
    Refused(QueueError),
    /// The storage has failed. The batch cannot go on.
    Failed(redb::Error),
}

impl From<QueueError> for Stop {
    fn from(why: QueueError) -> Self {
        Self::Refused(why)
    }
}

impl From<redb::Error> for Stop {
    fn from(error: redb::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<redb::StorageError> for Stop {
    fn from(error: redb::StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// The result of a step.
pub(super) type Step<T> = Result<T, Stop>;

impl Batch<'_, '_> {
    pub(super) fn book(&mut self, queue: &QueueName) -> Result<&mut Book, QueueError> {
        let book = self.books.get_mut(queue).filter(|book| book.bounds.is_some());
        let book = book.ok_or_else(|| QueueError::NoQueue(queue.to_string()))?;
        book.touched = true;
        Ok(book)
    }

    pub(super) fn open(&mut self, queue: &QueueName, bounds: Bounds) -> Step<()> {
        if !self.books.contains_key(queue) {
            let number = 1 + self.books.values().map(Book::number).max().unwrap_or_default();
            let new = super::tables::QueueRow { number, last: 0, ended: false, ended_at_once: false };
            self.books.insert(queue.clone(), Book::new(new));
            self.write_row(queue)?;
        }
        let mut is_first = false;
        if let Some(book) = self.books.get_mut(queue) {
            is_first = book.bounds.replace(bounds).is_none();
            book.closed = false;
            book.head = None;
        }
        if is_first {
            self.recover(queue)?;
        }
        self.stirred.push(queue.clone());
        Ok(())
    }

    /// Writes the row of a queue.
    pub(super) fn write_row(&mut self, queue: &QueueName) -> Step<()> {
        if let Some(book) = self.books.get(queue) {
            self.tables.queues.insert(queue.as_str(), &*row(&book.row))?;
        }
        Ok(())
    }

    pub(super) fn put(&mut self, queue: &QueueName, item: &NewItem, key: Option<Key>) -> Step<Receipt> {
        let wall_ms = self.wall_ms;
        let has_space = self.has_space;
        let book = self.book(queue)?;
        let Some(bounds) = book.bounds else { return Err(QueueError::NoQueue(queue.to_string()).into()) };
        if item.data.len() > bounds.payload {
            return Err(QueueError::TooLarge { limit: bounds.payload }.into());
        }
        let (number, ended, room) = (book.number(), book.row.ended || book.closed, book.room());
        let known = key.as_ref().map(|key| self.known_key(number, key)).transpose()?.flatten();
        if let Some(receipt) = known {
            return Ok(receipt);
        }
        if ended {
            return Err(QueueError::Ended.into());
        }
        if room == 0 {
            return Err(QueueError::Full { length: bounds.length }.into());
        }
        if !has_space {
            return Err(QueueError::StorageFull.into());
        }
        let index = self.add(queue, item)?;
        if let Some(Key { text, digest }) = key {
            self.tables.keys.insert((number, &*text), &*row(&KeyRow { index, digest, at_ms: wall_ms }))?;
            self.tables.key_times.insert((number, wall_ms, &*text), ())?;
        }
        Ok(Receipt { index, repeated: false })
    }

    /// The receipt of the earlier put with this key.
    fn known_key(&self, number: u32, key: &Key) -> Step<Option<Receipt>> {
        let Some(found) = self.tables.keys.get((number, &*key.text))? else { return Ok(None) };
        let known: KeyRow = read_row(found.value())?;
        if self.wall_ms >= known.at_ms.saturating_add(millis(KEY_KEPT)) {
            return Ok(None);
        }
        if known.digest != key.digest {
            return Err(QueueError::KeyReused { index: known.index }.into());
        }
        Ok(Some(Receipt { index: known.index, repeated: true }))
    }

    /// Adds an item with the next index.
    pub(super) fn add(&mut self, queue: &QueueName, item: &NewItem) -> Step<u64> {
        let wall_ms = self.wall_ms;
        let book = self.book(queue)?;
        book.row.last += 1;
        book.counts.put += 1;
        let index = book.row.last;
        self.insert(queue, index, item, wall_ms)?;
        Ok(index)
    }

    /// Stores an item under this index, and makes it ready.
    pub(super) fn insert(&mut self, queue: &QueueName, index: u64, item: &NewItem, put_at_ms: u64) -> Step<()> {
        let book = self.book(queue)?;
        let number = book.number();
        if book.head.is_some_and(|(head, _)| index < head) {
            book.head = None;
        }
        *book.live.entry(Reverse(item.priority)).or_default() += 1;
        let record = record::encode(number, index, item, put_at_ms);
        self.tables.items.insert((number, index), &*record)?;
        for (name, value) in item.tags.iter() {
            self.tables.tags.insert((number, &*tag(name, value), rank(item.priority), index), ())?;
        }
        self.make_ready(queue, index, item.priority)
    }

    /// Makes an item ready. The caller has ended its previous state.
    pub(super) fn make_ready(&mut self, queue: &QueueName, index: u64, priority: u8) -> Step<()> {
        let book = self.book(queue)?;
        book.ready.add(priority, index);
        let number = book.number();
        self.tables.ready.insert((number, rank(priority), index), ())?;
        self.fresh.push((queue.clone(), index));
        Ok(())
    }

    /// Removes an item from the ready ones.
    pub(super) fn make_unready(&mut self, queue: &QueueName, index: u64, priority: u8) -> Step<()> {
        let book = self.book(queue)?;
        book.ready.remove(priority, index);
        let number = book.number();
        self.tables.ready.remove((number, rank(priority), index))?;
        Ok(())
    }

    pub(super) fn state(&self, number: u32, index: u64) -> Step<StateRow> {
        let found = self.tables.states.get((number, index))?;
        let fresh = StateRow { turn: 0, count: 0, kind: StateKind::Ready };
        Ok(found.map(|found| read_row(found.value())).transpose()?.unwrap_or(fresh))
    }

    /// Gives a restored item the state that it had, so that no number of a delivery is used twice.
    pub(super) fn keep_state(&mut self, queue: &QueueName, index: u64, state: StateRow) -> Step<()> {
        let number = self.book(queue)?.number();
        if state.turn > 0 { self.set_state(number, index, state) } else { Ok(()) }
    }

    pub(super) fn set_state(&mut self, number: u32, index: u64, state: StateRow) -> Step<()> {
        self.tables.states.insert((number, index), &*row(&state))?;
        Ok(())
    }

    /// Reads an item; `None` if there is none, or if it is damaged.
    pub(super) fn load(&mut self, queue: &QueueName, index: u64) -> Step<Option<Item>> {
        let number = self.book(queue)?.number();
        let Some(found) = self.tables.items.get((number, index))? else { return Ok(None) };
        let decoded = record::decode(number, index, found.value());
        drop(found);
        Ok(decoded.ok())
    }

    /// Reads the facts of an item; `None` if there is none, or if it is damaged.
    pub(super) fn facts(&mut self, queue: &QueueName, index: u64) -> Step<Option<Facts>> {
        let number = self.book(queue)?.number();
        let found = self.tables.items.get((number, index))?;
        Ok(found.and_then(|found| record::facts(number, index, found.value()).ok()))
    }

    /// Ends a delivery.
    pub(super) fn settle(&mut self, queue: &QueueName, index: u64, holder: &Holder, outcome: Outcome) -> Step<Settled> {
        let held = self.book(queue)?.held_by(index, holder).cloned();
        let Some(held) = held else { return Err(QueueError::LeaseLost { index }.into()) };
        if let Outcome::Done { result: Some(result) } = &outcome {
            let into = self.book(&result.0)?;
            if held.room_in.as_ref() != Some(&result.0) && into.room() == 0 {
                let length = into.bounds.map_or(0, |bounds| bounds.length);
                return Err(QueueError::Full { length }.into());
            }
        }
        self.release(queue, index)?;
        match outcome {
            Outcome::Done { result } => {
                self.book(queue)?.counts.finished += 1;
                self.forget(queue, index, held.priority)?;
                if let Some(result) = result {
                    self.add(&result.0, &result.1)?;
                }
                Ok(Settled::Removed)
            }
            Outcome::Failed(reason) => self.fail(queue, index, &held, reason),
            Outcome::Returned => {
                let number = self.book(queue)?.number();
                let count = held.count.saturating_sub(1);
                self.set_state(number, index, StateRow { turn: held.turn, count, kind: StateKind::Ready })?;
                self.make_ready(queue, index, held.priority)?;
                Ok(Settled::Ready)
            }
        }
    }

    /// Ends a lease, and frees the room that was kept for the result.
    pub(super) fn release(&mut self, queue: &QueueName, index: u64) -> Step<()> {
        let released = self.book(queue)?.release(index);
        if let Some(sink) = released.and_then(|held| held.room_in)
            && let Ok(book) = self.book(&sink)
        {
            book.kept_room = book.kept_room.saturating_sub(1);
            self.stirred.push(queue.clone());
        }
        Ok(())
    }

    /// Ends a delivery that has failed: the item waits, or is dead. Its lease has been released.
    pub(super) fn fail(&mut self, queue: &QueueName, index: u64, held: &Held, reason: Reason) -> Step<Settled> {
        let now = self.now;
        let book = self.book(queue)?;
        let number = book.number();
        let Held { turn, count, priority, .. } = *held;
        if count >= book.bounds.map_or(1, |bounds| bounds.deliveries) {
            self.kill(queue, index, priority, StateRow { turn, count, kind: StateKind::Dead }, reason)?;
            return Ok(Settled::Dead);
        }
        let pause = pause_after(count);
        book.delay(index, Pause { priority, until: now + pause });
        self.set_state(number, index, StateRow { turn, count, kind: StateKind::Delayed })?;
        Ok(Settled::Delayed(pause))
    }

    /// Makes an item dead. The caller has ended its previous state.
    pub(super) fn kill(
        &mut self,
        queue: &QueueName,
        index: u64,
        priority: u8,
        state: StateRow,
        reason: Reason,
    ) -> Step<()> {
        let at_ms = self.wall_ms;
        let tags = self.facts(queue, index)?.map(|facts| facts.tags);
        let book = self.book(queue)?;
        let number = book.number();
        book.dead += 1;
        book.counts.died += 1;
        take_one(&mut book.live, Reverse(priority));
        self.remove_tags(number, index, priority, tags)?;
        self.tables.dead.insert((number, index), &*row(&DeadRow { reason, at_ms }))?;
        self.set_state(number, index, state)?;
        self.stirred.push(queue.clone());
        Ok(())
    }

    fn remove_tags(&mut self, number: u32, index: u64, priority: u8, tags: Option<super::super::Tags>) -> Step<()> {
        if let Some(tags) = tags {
            for (name, value) in tags.iter() {
                self.tables.tags.remove((number, &*tag(name, value), rank(priority), index))?;
            }
            return Ok(());
        }
        // The tags of a damaged item cannot be read, so all rows are searched.
        let rows = (number, "", 0, 0)..=(number, "\u{10ffff}", u8::MAX, u64::MAX);
        self.tables.tags.remove_in(rows, usize::MAX, |key| key.3 == index)?;
        Ok(())
    }

    /// Removes a live item. The caller has ended its state: ready, leased or delayed.
    pub(super) fn forget(&mut self, queue: &QueueName, index: u64, priority: u8) -> Step<()> {
        let tags = self.facts(queue, index)?.map(|facts| facts.tags);
        let book = self.book(queue)?;
        let number = book.number();
        take_one(&mut book.live, Reverse(priority));
        self.remove_tags(number, index, priority, tags)?;
        self.erase(queue, index)?;
        self.stirred.push(queue.clone());
        Ok(())
    }

    /// Removes the rows of an item, except those of its tags.
    pub(super) fn erase(&mut self, queue: &QueueName, index: u64) -> Step<()> {
        let book = self.book(queue)?;
        let number = book.number();
        if book.head.is_some_and(|(head, _)| head == index) {
            book.head = None;
        }
        self.tables.items.remove((number, index))?;
        self.tables.states.remove((number, index))?;
        self.tables.partials.remove((number, index))?;
        Ok(())
    }

    /// Removes a live item in any state; false if there is none.
    pub(super) fn delete(&mut self, queue: &QueueName, index: u64) -> Step<bool> {
        let book = self.book(queue)?;
        let number = book.number();
        if let Some(held) = book.leases.get(&index) {
            let priority = held.priority;
            self.release(queue, index)?;
            self.forget(queue, index, priority)?;
            return Ok(true);
        }
        if let Some(pause) = book.resume(index) {
            self.forget(queue, index, pause.priority)?;
            return Ok(true);
        }
        if self.tables.dead.get((number, index))?.is_some() {
            return Ok(false);
        }
        let Some(priority) = self.priority_of(queue, index)? else { return Ok(false) };
        self.make_unready(queue, index, priority)?;
        self.forget(queue, index, priority)?;
        Ok(true)
    }

    /// The priority of an item; `None` if there is none.
    pub(super) fn priority_of(&mut self, queue: &QueueName, index: u64) -> Step<Option<u8>> {
        if let Some(facts) = self.facts(queue, index)? {
            return Ok(Some(facts.priority));
        }
        let book = self.book(queue)?;
        let (number, priorities) = (book.number(), book.ready.counts.keys().map(|key| key.0).collect::<Vec<_>>());
        for priority in priorities {
            if self.tables.ready.get((number, rank(priority), index))?.is_some() {
                return Ok(Some(priority));
            }
        }
        Ok(None)
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
