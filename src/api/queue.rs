//! The queues of an asynchronous service: their state, their dead letters, and the changes of their items.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Word, is_false};

/// The state of the two queues of an asynchronous service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatus {
    /// The name of the service.
    #[serde(default)]
    pub name: String,
    /// The queue that callers put items into.
    pub input: QueueState,
    /// The queue that has the results.
    pub sink: QueueState,
}

/// The state of a queue at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueState {
    /// The number of live items: ready, leased and delayed ones.
    pub length: u64,
    /// Ready items by priority, the highest first. Priorities without items are left out.
    pub ready: Vec<ReadyItems>,
    /// Items that a consumer works on.
    pub leased: u64,
    /// Items that are ready again after a pause, because a delivery of them has failed.
    pub delayed: u64,
    /// Items that are not delivered any more. They count against `limits.length`.
    pub dead: u64,
    /// The lowest index of a live item; 0 if there is none.
    pub first: u64,
    /// The highest index that the queue ever had; 0 if it had none.
    pub last: u64,
    /// The age of the live item with the lowest index, in seconds; 0 if there is none.
    pub oldest_age_s: u64,
    /// True if the queue takes no more items.
    pub ended: bool,
    pub limits: QueueLimits,
    /// The consumers that are connected, and those that left within the last minute. The workers of the service are one.
    pub consumers: Vec<QueueConsumer>,
}

/// The ready items of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyItems {
    pub priority: u8,
    pub items: u64,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueLimits {
    /// Most items, dead ones included (`queue.length`).
    pub length: u64,
    /// Most bytes of an item (`queue.max_payload_bytes`).
    pub payload: u64,
}

/// A consumer of a queue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QueueConsumer {
    /// The group and the user, with a point between them.
    pub id: String,
    /// The index of the last item that it got; 0 if it got none.
    #[serde(default)]
    pub index: u64,
    /// The number of items that it holds.
    #[serde(default)]
    pub pending: u64,
    /// Most items that it may hold.
    #[serde(default)]
    pub window: u64,
    #[serde(default)]
    pub status: Word<ConsumerState>,
    /// The time since it last got or finished an item, in seconds.
    #[serde(default)]
    pub idle_s: u64,
}

/// The state of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerState {
    Running,
    /// It left a short time ago.
    Leaving,
    /// It left with items that it had not committed.
    Exit,
    /// It left and had committed all its items.
    Complete,
}

/// A page of dead letters, ordered by index.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetters {
    pub dead: Vec<DeadLetter>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// An item that is not delivered any more, without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The number of the item in its queue.
    pub index: u64,
    pub request_id: Option<String>,
    /// The tags, `requestId` included.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub priority: u8,
    /// The size of the data.
    #[serde(default)]
    pub bytes: u64,
    /// The time of the put, RFC 3339, UTC.
    #[serde(default)]
    pub put_at: String,
    /// The time at which the item became dead, RFC 3339, UTC.
    #[serde(default)]
    pub died_at: String,
    /// The deliveries that have failed.
    #[serde(default)]
    pub deliveries: u32,
    pub reason: DeadReason,
}

/// The reason why the last delivery of an item failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadReason {
    /// The code for programs, such as `408`, `LeaseExpired`, `HostEnded`, or the one of a negative commit.
    pub code: String,
    #[serde(default)]
    pub text: String,
}

/// A choice of dead letters: either `indexes` or `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadChoice {
    /// The indexes of the dead letters. Those that are not dead are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexes: Option<Vec<u64>>,
    /// True for all of them.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(!skip_serializing_if)]
    pub all: bool,
}

/// The number of dead letters that are ready again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requeued {
    pub requeued: u64,
}

/// The number of dead letters that were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    pub purged: u64,
}

/// The item to cancel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// The request id that the put has answered.
    pub request_id: String,
}

/// The item that was cancelled.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CancelledItem {
    pub cancelled: Word<CancelledIn>,
    pub index: u64,
}

/// The state in which an item was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelledIn {
    /// The processor worked on it and is stopped. The sink gets a result with the tag `lastCode` `499`.
    Running,
    /// It waited, or an external consumer had it. It is removed, without a result.
    Waiting,
}

impl AsRef<str> for ConsumerState {
    fn as_ref(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Exit => "exit",
            Self::Complete => "complete",
        }
    }
}

impl AsRef<str> for CancelledIn {
    fn as_ref(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}
