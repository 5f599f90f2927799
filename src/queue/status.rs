//! Facts about a queue and its items.

use std::time::Duration;

use super::{Item, Reason};

/// The state of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Ready items by priority, the highest first. Priorities without items are left out.
    pub ready: Vec<(u8, u64)>,
    pub leased: u64,
    pub delayed: u64,
    pub dead: u64,
    /// The lowest index of a live item; 0 if there is none.
    pub first: u64,
    /// The highest index that the queue ever had; 0 if it had none.
    pub last: u64,
    /// The time of the put of the item `first`, in milliseconds since 1970; 0 if there is none.
    pub oldest_put_ms: u64,
    /// True if the queue takes no more puts.
    pub ended: bool,
    pub counts: Counts,
}

/// Numbers of events since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that were put; a repetition does not count.
    pub put: u64,
    pub delivered: u64,
    /// Deliveries of items that had been delivered before.
    pub redelivered: u64,
    /// Items that a consumer finished, or took out without a lease.
    pub finished: u64,
    pub died: u64,
    /// Items that were removed because of their age.
    pub expired: u64,
}

/// The state of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// This many ready items are delivered before it.
    Ready {
        ahead: u64,
    },
    /// A consumer works on it.
    Leased {
        consumer: String,
        count: u32,
    },
    /// Ready again after this time.
    Delayed {
        remaining: Duration,
    },
    Dead,
}

/// An item that is not delivered any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadItem {
    pub item: Item,
    pub reason: Reason,
    /// The deliveries that it had.
    pub deliveries: u32,
    /// The time at which it became dead, in milliseconds since 1970.
    pub died_at_ms: u64,
}

impl Status {
    /// The number of live items: ready, leased and delayed ones.
    pub fn live(&self) -> u64 {
        self.waiting() + self.leased
    }

    /// The number of items that wait for a consumer: ready and delayed ones.
    pub fn waiting(&self) -> u64 {
        self.ready.iter().map(|(_, count)| count).sum::<u64>() + self.delayed
    }
}
