//! The tables of the database. The first part of most keys is the number of a queue.

use std::cmp::Reverse;

use redb::{Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::super::Reason;

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

/// All tables, open in one transaction.
pub(super) struct Tables<'t> {
    pub(super) queues: Table<'t, &'static str, &'static [u8]>,
    pub(super) items: Table<'t, (u32, u64), &'static [u8]>,
    pub(super) ready: Table<'t, (u32, u8, u64), ()>,
    pub(super) tags: Table<'t, (u32, &'static str, u8, u64), ()>,
    pub(super) states: Table<'t, (u32, u64), &'static [u8]>,
    pub(super) dead: Table<'t, (u32, u64), &'static [u8]>,
    pub(super) partials: Table<'t, (u32, u64), &'static [u8]>,
    pub(super) keys: Table<'t, (u32, &'static str), &'static [u8]>,
    pub(super) key_times: Table<'t, (u32, u64, &'static str), ()>,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and makes those that are missing.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            queues: transaction.open_table(QUEUES)?,
            items: transaction.open_table(ITEMS)?,
            ready: transaction.open_table(READY)?,
            tags: transaction.open_table(TAGS)?,
            states: transaction.open_table(STATES)?,
            dead: transaction.open_table(DEAD)?,
            partials: transaction.open_table(PARTIALS)?,
            keys: transaction.open_table(KEYS)?,
            key_times: transaction.open_table(KEY_TIMES)?,
        })
    }
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
