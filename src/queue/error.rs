//! Errors of queues.

/// The reason why a queue does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("there is no queue {0}")]
    NoQueue(String),
    #[error("the queue has {length} items, which is its limit")]
    Full { length: u64 },
    #[error("the item has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the queue has ended and takes no more items")]
    Ended,
    #[error("item {index} is not leased to this consumer (any more)")]
    LeaseLost { index: u64 },
    #[error("this idempotency key was used for item {index}, with other content")]
    KeyReused { index: u64 },
    #[error("the queue still has {items} items")]
    NotEmpty { items: u64 },
    #[error("the disk is full")]
    StorageFull,
    /// The storage has failed. It is not known whether the change was made.
    #[error("the queues' storage failed: {0}")]
    Unavailable(String),
}
