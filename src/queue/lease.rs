//! Deliveries: the wish for items, the lease of an item, and the end of a lease.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Item, NewItem, QueueName, Tags};

/// The name of a consumer: `group.user` for a client of the queue protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consumer(Arc<str>);

/// The number of a delivery of one item. No two deliveries of an item have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(pub u32);

/// The way in which a request names the consumer of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// By the number of the delivery.
    Lease(Lease),
    /// By name. Clients of the queue protocol know only the index of an item, not the number of its delivery.
    Consumer(Consumer),
}

/// The wish of a consumer for items.
#[derive(Clone, Debug)]
pub struct Want {
    pub consumer: Consumer,
    /// Most items.
    pub most: usize,
    /// The lowest index.
    pub from: u64,
    /// Tags that an item must have.
    pub tags: Tags,
    /// The time for which the items are leased. A consumer that works longer renews its leases.
    pub hold: Duration,
    /// A queue in which room is kept for one result of each item. While it has none, nothing is delivered.
    pub room_in: Option<QueueName>,
    /// Wait until there is at least one item.
    pub wait: bool,
}

/// An item that is leased to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub item: Item,
    pub lease: Lease,
    /// The number of deliveries that count against the bound, this one included.
    pub count: u32,
    /// The partial result that an earlier delivery has kept.
    pub partial: Option<Bytes>,
}

/// The way in which a delivery ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The item is finished and removed. `result` is put into another queue in the same transaction, into the room that
    /// [`Want::room_in`] has kept.
    Done { result: Option<Box<(QueueName, NewItem)>> },
    /// The delivery has failed. The item is delivered again after a pause, or is dead after its last delivery.
    Failed(Reason),
    /// The consumer gives the item back unused. It is ready again at once, and the delivery does not count.
    Returned,
}

/// The reason for a failed delivery: a code such as `408` or `LeaseExpired`, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub text: String,
}

/// The state of an item after the end of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Removed,
    Ready,
    /// Ready again after this time.
    Delayed(Duration),
    Dead,
}

impl Consumer {
    /// The group of the host's own consumers, which no client may name.
    pub const GROUP_OF_THE_HOST: &str = "bulkhead";

    /// The workers of a service.
    pub fn processor() -> Self {
        Self::new(format!("{}.processor", Self::GROUP_OF_THE_HOST))
    }

    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reason {
    /// The code of a delivery whose lease was not renewed.
    pub const LEASE_EXPIRED: &str = "LeaseExpired";
    /// The code of a delivery that was under way when the host ended.
    pub const HOST_ENDED: &str = "HostEnded";
    /// The code of an item that is older than the queue keeps items.
    pub const EXPIRED: &str = "Expired";
    /// The code of an item whose bytes on disk have changed.
    pub const DAMAGED: &str = "Damaged";

    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}
