//! Durable queues. An *item* is put into a queue, leased to a consumer, and removed when the consumer has finished it.
//!
//! [`QueueStore`] is the trait. `local` implements it with a database in the data directory, and `memory` with plain
//! collections in memory; `memory` is the reference that the tests of `suite` compare every other implementation with.
//! Nothing here knows services, processors or HTTP.
//!
//! An item is in one of four states:
//!
//! ```text
//!            put                take                 settle(Done)
//!   ·  ─────────────►  ready  ─────────►  leased  ─────────────────►  removed
//!                        ▲                  │ │
//!                        │   after a pause  │ │ its last delivery has failed
//!                        └──── delayed ◄────┘ └───────────────────►  dead
//! ```
//!
//! **Order.** Ready items are delivered by priority, the highest first, and by index within a priority.
//!
//! **At least once.** A delivery is counted on disk before a consumer sees the item. So a crash of the host costs a
//! delivery, and an item that crashes its consumer every time becomes dead and is not delivered for ever.
//!
//! **Fencing.** Each delivery of an item has a number of its own, its [`Lease`]. A consumer whose lease has ended
//! cannot settle the item any more, even if it holds the same item again under a later lease.

mod clock;
mod consumers;
mod error;
mod item;
mod lease;
mod local;
#[cfg(any(test, debug_assertions))]
pub mod memory;
mod name;
mod runs;
mod status;
#[cfg(test)]
mod suite;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

use crate::telemetry::Times;

pub use self::clock::Clock;
pub use self::consumers::{Attendance, ConsumerState, ConsumerStatus, Consumers, Held, Seat};
pub use self::error::QueueError;
pub use self::item::{Item, NewItem, Tags};
pub use self::lease::{Consumer, Delivery, Holder, Lease, Outcome, Reason, Settled, Want};
pub use self::local::LocalQueues;
pub use self::name::QueueName;
pub use self::runs::{Progress, Reported, Run, Running, Runs};
pub use self::status::{Counts, DeadItem, Status, Whereabouts};

/// The pause after the first failed delivery of an item. It doubles with each further one.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failed delivery.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The time for which an idempotency key is remembered.
pub const KEY_KEPT: Duration = Duration::from_secs(24 * 3600);
/// The size of the data with which a read, a delivery or a removal of several items ends before its bound in items. The
/// caller gets at least one item, and asks again for more. Otherwise one request could take all memory.
pub const MOST_BYTES: usize = 64 << 20;
/// The highest priority. The lowest, and the default, is 0.
pub const HIGHEST_PRIORITY: u8 = 100;

/// The pause after this many failed deliveries of an item.
pub(crate) fn pause_after(deliveries: u32) -> Duration {
    let doublings = deliveries.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// A future of a queue: boxed, so that the trait can be used as `dyn`.
pub type QueueFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, QueueError>> + Send + 'a>>;

/// Waits for the answer to a question, if there is one.
pub(crate) async fn answered<T>(question: &mut Option<QueueFuture<'_, T>>) -> Result<T, QueueError> {
    match question {
        Some(question) => question.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most items, dead ones included. A put beyond it is refused.
    pub length: u64,
    /// Most bytes of an item's data.
    pub payload: usize,
    /// Most deliveries of an item, at least 1. After the last one that failed, the item is dead.
    pub deliveries: u32,
    /// The age at which an item is dropped, counted from its put by the wall clock; `None` for never.
    pub retention: Option<Duration>,
}

/// An idempotency key. A put with a key that was used within [`KEY_KEPT`] is a repetition of the earlier put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    /// The digest of the request. A put with the same key and another digest is refused.
    pub digest: [u8; 32],
}

/// The result of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub index: u64,
    /// True if an earlier put with the same key has put the item.
    pub repeated: bool,
}

/// The queues of a host, and their consumers.
#[derive(Clone)]
pub struct Queues {
    pub store: Arc<dyn QueueStore>,
    pub consumers: Arc<Consumers>,
    pub runs: Arc<Runs>,
    /// The times for writing changes to the disk.
    pub commits: Arc<Times>,
    ending: Arc<watch::Sender<bool>>,
}

impl Queues {
    pub fn new(store: Arc<dyn QueueStore>, commits: Arc<Times>) -> Self {
        let ending = Arc::new(watch::Sender::new(false));
        Self { store, consumers: Arc::default(), runs: Arc::default(), commits, ending }
    }

    /// Ends the waits for items, because the host ends.
    pub fn end_waits(&self) {
        self.ending.send_replace(true);
    }

    /// Ready once the host ends.
    pub async fn ended(&self) {
        // The sender is in this value, so it is not gone.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }
}

impl From<&crate::config::Queue> for Bounds {
    fn from(settings: &crate::config::Queue) -> Self {
        Self {
            length: settings.length,
            payload: settings.max_payload_bytes,
            deliveries: settings.max_delivery,
            retention: settings.retention,
        }
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A choice of items to read or to count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The lowest index.
    pub from: u64,
    pub most: usize,
    /// Tags that an item must have.
    pub tags: Tags,
    /// Begin with the newest item.
    pub newest_first: bool,
    /// Wait until there is at least one item.
    pub wait: bool,
}

/// Queues on stable storage.
///
/// **Durability.** Once a method that changes something returns, the change survives a power failure. If its future is
/// dropped, the change is made completely or not at all.
///
/// **Queues.** Every method that returns a future, except [`QueueStore::open`], fails with [`QueueError::NoQueue`] for
/// a queue that is not open.
///
/// **Failures.** [`QueueError::Unavailable`] says that the storage has failed and it is not known whether the change
/// was made. All leases have ended then. The store opens its storage again by itself.
pub trait QueueStore: Send + Sync {
    /// Makes a queue with these bounds, or sets the bounds of an existing one. Items beyond new bounds stay.
    fn open<'a>(&'a self, queue: &'a QueueName, bounds: Bounds) -> QueueFuture<'a, ()>;

    /// Ends a queue that is to be removed: nothing goes in or out any more. [`QueueStore::open`] undoes it, as does the
    /// end of the host.
    ///
    /// # Errors
    /// [`QueueError::NotEmpty`] if there are items, unless `with_items` is true.
    fn close<'a>(&'a self, queue: &'a QueueName, with_items: bool) -> QueueFuture<'a, ()>;

    /// Removes a queue with everything in it. If the future is dropped, a part of the items may be removed.
    fn remove<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, ()>;

    /// Adds an item at the end. It has the index after the highest that the queue ever had; the first is 1.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::TooLarge`], [`QueueError::Ended`]; [`QueueError::KeyReused`] for a known key
    /// with another digest; [`QueueError::StorageFull`] if the disk has no room. Nothing is stored then.
    fn put<'a>(&'a self, queue: &'a QueueName, item: NewItem, key: Option<Key>) -> QueueFuture<'a, Receipt>;

    /// Leases up to `want.most` ready items to a consumer, but ends at [`MOST_BYTES`]. If the future is dropped, it waits no longer, and items that
    /// it has leased and not yet returned are ready again.
    ///
    /// # Errors
    /// [`QueueError::Ended`] if the queue has ended and nothing is left in it that could be delivered.
    fn take<'a>(&'a self, queue: &'a QueueName, want: Want) -> QueueFuture<'a, Vec<Delivery>>;

    /// Extends leases to `hold` from now. Returns the indexes whose leases had ended already.
    fn renew<'a>(
        &'a self,
        queue: &'a QueueName,
        leases: Vec<(u64, Holder)>,
        hold: Duration,
    ) -> QueueFuture<'a, Vec<u64>>;

    /// Ends a delivery.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] if `holder` does not hold the item (any more). Nothing is changed then.
    fn settle<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        outcome: Outcome,
    ) -> QueueFuture<'a, Settled>;

    /// Keeps a partial result with an item until the item is settled as done. The next delivery of the item has it.
    ///
    /// # Errors
    /// As [`QueueStore::settle`]; [`QueueError::TooLarge`] beyond the bound of a payload, and
    /// [`QueueError::StorageFull`] if the disk has no room.
    fn keep_partial<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        partial: Bytes,
    ) -> QueueFuture<'a, ()>;

    /// Reads live items (ready, leased and delayed ones) in the order of their indexes, up to [`MOST_BYTES`], without a lease.
    /// Does not wait.
    fn read<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>>;

    /// Takes ready items in the order of delivery, or of their indexes from the newest down, up to [`MOST_BYTES`],
    /// and removes them. If the future is dropped, the items stay.
    fn pop<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>>;

    /// Removes items with these indexes in any state but dead, and ends their leases. Returns those that were there.
    fn delete<'a>(&'a self, queue: &'a QueueName, indexes: Vec<u64>) -> QueueFuture<'a, Vec<u64>>;

    /// Removes all live items with indexes below `before`, and ends their leases. Returns their number. If the future is
    /// dropped, a part may be removed; this holds for [`QueueStore::requeue`] and [`QueueStore::purge`] too.
    fn truncate<'a>(&'a self, queue: &'a QueueName, before: u64) -> QueueFuture<'a, u64>;

    /// Ends a queue: it takes no more puts. Consumers get what is left; with `at_once` they get no more.
    fn end<'a>(&'a self, queue: &'a QueueName, at_once: bool) -> QueueFuture<'a, ()>;

    /// Finds an item; `None` if it is not in the queue (any more).
    fn find<'a>(&'a self, queue: &'a QueueName, index: u64) -> QueueFuture<'a, Option<Whereabouts>>;

    /// Counts live items: of this priority if one is given, and with these tags.
    fn count<'a>(&'a self, queue: &'a QueueName, priority: Option<u8>, tags: Tags) -> QueueFuture<'a, u64>;

    /// The state of a queue.
    fn status<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, Status>;

    /// Lists dead items in the order of their indexes, from `from` on.
    fn dead<'a>(&'a self, queue: &'a QueueName, from: u64, most: usize) -> QueueFuture<'a, Vec<DeadItem>>;

    /// Makes dead items ready again, with a count of deliveries that begins anew: those with these indexes, or all.
    /// Returns their number.
    fn requeue<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64>;

    /// Removes dead items: those with these indexes, or all. Returns their number.
    fn purge<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64>;

    /// The state of a queue after the last commit, at once; `None` if the queue is not open. `first` may be 0.
    fn glance(&self, queue: &QueueName) -> Option<Status>;

    /// True if the queue had no room for a further item after the last commit. Answers at once.
    fn is_full(&self, queue: &QueueName) -> bool;

    /// A value that changes when items become ready in the queue. A caller that waits for items reads again after each
    /// change. `None` if the queue is not open.
    fn arrivals(&self, queue: &QueueName) -> Option<watch::Receiver<u64>>;
}
