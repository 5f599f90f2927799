//! The tables of the database. The first part of most keys is the number of a queue.

use std::cmp::Reverse;

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::super::Reason;
use super::change::Change;
use super::log::Mark;
use super::rows::{Changes, Quiet, Rows};

/// Queues by name: [`QueueRow`].
pub(super) const QUEUES: TableDefinition<&str, &[u8]> = TableDefinition::new("queues");
/// Items by index: see `record`.
pub(super) const ITEMS: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("items");
/// Ready items in the order of delivery: see [`rank`].
pub(super) const READY: TableDefinition<(u32, u8, u64), ()> = TableDefinition::new("ready");
/// Live items by tag, in the order of delivery.
pub(super) const TAGS: TableDefinition<(u32, &str, u8, u64), ()> = TableDefinition::new("tags");
/// Items that were delivered at least once, and dead ones: [`StateRow`].
pub(super) const STATES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("states");
/// Dead items: [`DeadRow`].
pub(super) const DEAD: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("dead");
/// Partial results.
pub(super) const PARTIALS: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("partials");
/// Idempotency keys: [`KeyRow`].
pub(super) const KEYS: TableDefinition<(u32, &str), &[u8]> = TableDefinition::new("keys");
/// Idempotency keys by the time of their put, in milliseconds since 1970.
pub(super) const KEY_TIMES: TableDefinition<(u32, u64, &str), ()> = TableDefinition::new("key_times");
/// The [`Mark`] of the log, in one row.
const MARK: TableDefinition<(), (u64, u64)> = TableDefinition::new("mark");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueRow {
    pub(super) number: u32,
    /// The highest index that the queue ever had.
    pub(super) last: u64,
    pub(super) ended: bool,
    pub(super) ended_at_once: bool,
}

/// The state of an item. An item without a row is ready and was not delivered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateRow {
    /// The number of the last delivery.
    pub(super) turn: u32,
    /// The deliveries that count.
    pub(super) count: u32,
    pub(super) kind: StateKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StateKind {
    Ready,
    Leased,
    Delayed,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeadRow {
    pub(super) reason: Reason,
    pub(super) at_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyRow {
    pub(super) index: u64,
    pub(super) digest: [u8; 32],
    pub(super) at_ms: u64,
}

/// The numbers of the tables in records of the log.
mod number {
    pub(super) const QUEUES: u8 = 0;
    pub(super) const ITEMS: u8 = 1;
    pub(super) const READY: u8 = 2;
    pub(super) const TAGS: u8 = 3;
    pub(super) const STATES: u8 = 4;
    pub(super) const DEAD: u8 = 5;
    pub(super) const PARTIALS: u8 = 6;
    pub(super) const KEYS: u8 = 7;
    pub(super) const KEY_TIMES: u8 = 8;
}

/// The memory for changes that is kept from batch to batch.
const KEPT: usize = 1 << 20;

/// All tables, open in one transaction.
pub(super) struct Tables<'t> {
    pub(super) queues: Rows<'t, &'static str, &'static [u8]>,
    pub(super) items: Rows<'t, (u32, u64), &'static [u8]>,
    pub(super) ready: Rows<'t, (u32, u8, u64), ()>,
    pub(super) tags: Rows<'t, (u32, &'static str, u8, u64), ()>,
    pub(super) states: Rows<'t, (u32, u64), &'static [u8]>,
    pub(super) dead: Rows<'t, (u32, u64), &'static [u8]>,
    pub(super) partials: Rows<'t, (u32, u64), &'static [u8]>,
    pub(super) keys: Rows<'t, (u32, &'static str), &'static [u8]>,
    pub(super) key_times: Rows<'t, (u32, u64, &'static str), ()>,
    /// The changes of all tables that are not in the log yet.
    changes: Changes,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and makes those that are missing.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let changes = Changes::default();
        Ok(Self {
            queues: Rows::new(number::QUEUES, transaction.open_table(QUEUES)?, &changes),
            items: Rows::new(number::ITEMS, transaction.open_table(ITEMS)?, &changes),
            ready: Rows::new(number::READY, transaction.open_table(READY)?, &changes),
            tags: Rows::new(number::TAGS, transaction.open_table(TAGS)?, &changes),
            states: Rows::new(number::STATES, transaction.open_table(STATES)?, &changes),
            dead: Rows::new(number::DEAD, transaction.open_table(DEAD)?, &changes),
            partials: Rows::new(number::PARTIALS, transaction.open_table(PARTIALS)?, &changes),
            keys: Rows::new(number::KEYS, transaction.open_table(KEYS)?, &changes),
            key_times: Rows::new(number::KEY_TIMES, transaction.open_table(KEY_TIMES)?, &changes),
            changes,
        })
    }

    /// The changes that were made since they were last taken.
    pub(super) fn take_changes(&self) -> Vec<u8> {
        self.changes.take()
    }

    /// Uses the memory of changes for the next ones.
    pub(super) fn keep_memory(&self, mut changes: Vec<u8>) {
        changes.clear();
        changes.shrink_to(KEPT);
        self.changes.replace(changes);
    }

    /// Makes the changes of a record of the log.
    pub(super) fn repeat(&mut self, mut record: &[u8]) -> Result<(), redb::Error> {
        while !record.is_empty() {
            let unreadable = || redb::Error::Corrupted("a record of the log cannot be read".into());
            let (change, rest) = Change::first(record).ok_or_else(unreadable)?;
            match change.table {
                number::QUEUES => self.queues.repeat(&change)?,
                number::ITEMS => self.items.repeat(&change)?,
                number::READY => self.ready.repeat(&change)?,
                number::TAGS => self.tags.repeat(&change)?,
                number::STATES => self.states.repeat(&change)?,
                number::DEAD => self.dead.repeat(&change)?,
                number::PARTIALS => self.partials.repeat(&change)?,
                number::KEYS => self.keys.repeat(&change)?,
                number::KEY_TIMES => self.key_times.repeat(&change)?,
                _ => return Err(unreadable()),
            }
            record = rest;
        }
        Ok(())
    }
}

/// The last record of the log that the database has; `None` in a new database.
pub(super) fn read_mark(transaction: &WriteTransaction) -> Result<Option<Mark>, redb::Error> {
    let table = Quiet::new(transaction.open_table(MARK)?);
    Ok(table.get(())?.map(|row| row.value()).map(|(log, number)| Mark { log, number }))
}

/// Notes which records of the log the database has, with the commit of this transaction.
pub(super) fn write_mark(transaction: &WriteTransaction, mark: Mark) -> Result<(), redb::Error> {
    let mut table = Quiet::new(transaction.open_table(MARK)?);
    table.insert((), (mark.log, mark.number))?;
    Ok(())
}

/// The part of a key that puts the highest priority first.
pub(super) const fn rank(priority: u8) -> u8 {
    u8::MAX - priority
}

/// The priority of a [`rank`].
pub(super) const fn priority(rank: u8) -> u8 {
    u8::MAX - rank
}

/// A tag as the key of [`TAGS`]. No name has a NUL.
pub(super) fn tag(name: &str, value: &str) -> String {
    format!("{name}\0{value}")
}

/// The bytes of a row.
pub(super) fn row<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_stdvec(row).expect("a row is plain data")
}

/// Reads a row.
///
/// # Errors
/// [`redb::StorageError::Corrupted`] for bytes that are no such row.
pub(super) fn read_row<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, redb::Error> {
    postcard::from_bytes(bytes).map_err(|error| redb::Error::Corrupted(format!("a row cannot be read: {error}")))
}

/// Priorities in the order of delivery.
pub(super) type ByPriority = std::collections::BTreeMap<Reverse<u8>, u64>;
