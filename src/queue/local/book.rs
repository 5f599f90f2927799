//! The part of a queue's state that is kept in memory. All of it is made again from the tables when the database is
//! opened.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::super::{Bounds, Consumer, Counts, Holder, Lease, QueueName, Status};
use super::tables::{ByPriority, QueueRow};
use super::waiters::Waiters;

/// One queue.
pub(super) struct Book {
    pub(super) row: QueueRow,
    /// `None` until the queue is opened: it is in the database, but no service uses it yet.
    pub(super) bounds: Option<Bounds>,
    /// True if the queue is to be removed.
    pub(super) closed: bool,
    /// Ready items by priority.
    pub(super) ready: Ready,
    /// Live items by priority.
    pub(super) live: ByPriority,
    pub(super) leases: BTreeMap<u64, Held>,
    pub(super) delayed: BTreeMap<u64, Pause>,
    /// The ends of leases and pauses.
    pub(super) timers: BTreeSet<(Instant, u64)>,
    pub(super) dead: u64,
    /// Results that consumers of other queues will put here.
    pub(super) kept_room: u64,
    pub(super) waiters: Waiters,
    /// Queues whose consumers wait for room here.
    pub(super) wait_for_room: BTreeSet<QueueName>,
    pub(super) counts: Counts,
    /// The live item with the lowest index as it was last seen, and the time of its put in milliseconds since 1970.
    pub(super) oldest: Option<(u64, u64)>,
    /// The item with the lowest index, dead ones included, and the time of its put; `None` if it is not known.
    pub(super) head: Option<(u64, u64)>,
    /// True if an operation of the batch has looked at the queue, so that its published state may be old.
    pub(super) touched: bool,
}

/// A lease.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) turn: u32,
    pub(super) count: u32,
    pub(super) priority: u8,
    pub(super) consumer: Consumer,
    pub(super) until: Instant,
    /// The queue in which room is kept for the result.
    pub(super) room_in: Option<QueueName>,
}

/// The pause of an item after a failed delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) priority: u8,
    pub(super) until: Instant,
}

/// The numbers of ready items. Numbers for blocks of indexes make it quick to count the items ahead of another.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) counts: ByPriority,
    /// Numbers of items for each block of 256 indexes, and for each block of 65,536.
    narrow: BTreeMap<(Reverse<u8>, u64), u32>,
    wide: BTreeMap<(Reverse<u8>, u64), u32>,
}

/// The sizes of the blocks, in bits of the index.
const NARROW: u32 = 8;
const WIDE: u32 = 16;

impl Ready {
    pub(super) fn add(&mut self, priority: u8, index: u64) {
        let priority = Reverse(priority);
        *self.counts.entry(priority).or_default() += 1;
        *self.narrow.entry((priority, index >> NARROW)).or_default() += 1;
        *self.wide.entry((priority, index >> WIDE)).or_default() += 1;
    }

    pub(super) fn remove(&mut self, priority: u8, index: u64) {
        let priority = Reverse(priority);
        take_one(&mut self.counts, priority);
        take_one(&mut self.narrow, (priority, index >> NARROW));
        take_one(&mut self.wide, (priority, index >> WIDE));
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Counts the ready items that are delivered before this one, except those of the same priority in its block of 256
    /// indexes. Returns the count and the first index of that block; the caller counts the rest from there on.
    pub(super) fn ahead(&self, priority: u8, index: u64) -> (u64, u64) {
        let higher: u64 = self.counts.range(..Reverse(priority)).map(|(_, count)| count).sum();
        let priority = Reverse(priority);
        let sum = |blocks: &BTreeMap<(Reverse<u8>, u64), u32>, from: u64, to: u64| -> u64 {
            blocks.range((priority, from)..(priority, to)).map(|(_, count)| u64::from(*count)).sum()
        };
        let wide = sum(&self.wide, 0, index >> WIDE);
        let narrow = sum(&self.narrow, (index >> WIDE) << (WIDE - NARROW), index >> NARROW);
        (higher + wide + narrow, (index >> NARROW) << NARROW)
    }
}

/// Subtracts one from a count, and removes a count of 0.
pub(super) fn take_one<K: Ord, N: Copy + From<u8> + PartialEq + std::ops::SubAssign>(
    counts: &mut BTreeMap<K, N>,
    key: K,
) {
    if let std::collections::btree_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= N::from(1);
        if *entry.get() == N::from(0) {
            entry.remove();
        }
    }
}

impl Held {
    fn is_held_by(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Lease(Lease(turn)) => *turn == self.turn,
            Holder::Consumer(name) => *name == self.consumer,
        }
    }
}

impl Book {
    pub(super) fn new(row: QueueRow) -> Self {
        Self {
            row,
            bounds: None,
            closed: false,
            ready: Ready::default(),
            live: ByPriority::new(),
            leases: BTreeMap::new(),
            delayed: BTreeMap::new(),
            timers: BTreeSet::new(),
            dead: 0,
            kept_room: 0,
            waiters: Waiters::default(),
            wait_for_room: BTreeSet::new(),
            counts: Counts::default(),
            oldest: None,
            head: None,
            touched: false,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.row.number
    }

    /// The number of live items.
    pub(super) fn live(&self) -> u64 {
        self.ready.total() + self.leases.len() as u64 + self.delayed.len() as u64
    }

    /// The number of items that the queue has room for.
    pub(super) fn room(&self) -> u64 {
        let length = self.bounds.map_or(0, |bounds| bounds.length);
        length.saturating_sub(self.live() + self.dead + self.kept_room)
    }

    /// The state, without the index of the first item.
    pub(super) fn status(&self) -> Status {
        Status {
            ready: self.ready.counts.iter().map(|(Reverse(priority), count)| (*priority, *count)).collect(),
            leased: self.leases.len() as u64,
            delayed: self.delayed.len() as u64,
            dead: self.dead,
            first: 0,
            last: self.row.last,
            oldest_put_ms: self.oldest.map_or(0, |(_, put_at_ms)| put_at_ms),
            ended: self.row.ended,
            counts: self.counts,
        }
    }

    /// True if consumers get nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.closed || self.row.ended_at_once || self.row.ended && self.live() == 0
    }

    /// The lease of an item, if this consumer has it.
    pub(super) fn held_by(&mut self, index: u64, holder: &Holder) -> Option<&mut Held> {
        self.leases.get_mut(&index).filter(|held| held.is_held_by(holder))
    }

    pub(super) fn lease(&mut self, index: u64, held: Held) {
        self.timers.insert((held.until, index));
        self.leases.insert(index, held);
    }

    /// Ends a lease.
    pub(super) fn release(&mut self, index: u64) -> Option<Held> {
        let held = self.leases.remove(&index)?;
        self.timers.remove(&(held.until, index));
        Some(held)
    }

    pub(super) fn delay(&mut self, index: u64, pause: Pause) {
        self.timers.insert((pause.until, index));
        self.delayed.insert(index, pause);
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self, index: u64) -> Option<Pause> {
        let pause = self.delayed.remove(&index)?;
        self.timers.remove(&(pause.until, index));
        Some(pause)
    }

    pub(super) fn is_ready(&self, index: u64) -> bool {
        !self.leases.contains_key(&index) && !self.delayed.contains_key(&index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_ahead_are_counted_by_ranges() {
        let mut ready = Ready::default();
        let indexes: Vec<u64> = (1..200_000).step_by(7).collect();
        indexes.iter().for_each(|index| ready.add(0, *index));
        ready.add(5, 150_000);
        for index in [1, 8, 255, 256, 257, 65_535, 65_536, 65_537, 131_072, 199_999] {
            let (ahead, from) = ready.ahead(0, index);
            let rest = indexes.iter().filter(|other| (from..index).contains(other)).count() as u64;
            let right = 1 + indexes.iter().filter(|other| **other < index).count() as u64;
            assert_eq!(ahead + rest, right, "index {index}");
            assert!(index - from < 256);
        }
        assert_eq!(ready.ahead(5, 150_000).0, 0);
        indexes.iter().for_each(|index| ready.remove(0, *index));
        ready.remove(5, 150_000);
        assert_eq!((ready.total(), ready.narrow.len(), ready.wide.len()), (0, 0, 0), "nothing is left");
    }
}
