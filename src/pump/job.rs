//! The item of a queue, for the call that works on it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::call::{Job, Keeping};
use crate::queue::{Holder, Lease, QueueError, QueueName, QueueStore, Run};

/// One delivery of an item.
pub(super) struct Delivered {
    pub(super) store: Arc<dyn QueueStore>,
    pub(super) queue: QueueName,
    pub(super) index: u64,
    pub(super) lease: Lease,
    /// The number of the delivery.
    pub(super) count: u32,
    /// The partial result of an earlier delivery.
    pub(super) partial: Option<Bytes>,
    pub(super) run: Arc<Run>,
}

impl Job for Delivered {
    fn report(&self, fraction: f64, note: String) {
        self.run.report(fraction, &note);
    }

    fn keep_partial(&self, partial: Bytes) -> Keeping<'_> {
        Box::pin(async move {
            let length = partial.len();
            let kept = self.store.keep_partial(&self.queue, self.index, Holder::Lease(self.lease), partial).await;
            kept.map_err(|why| self.sentence(&why, length))
        })
    }

    fn partial(&self) -> Option<Bytes> {
        self.partial.clone()
    }

    fn delivery(&self) -> u32 {
        self.count
    }
}

impl Delivered {
    /// The sentence for the guest about a partial result of this length that was not kept.
    fn sentence(&self, why: &QueueError, length: usize) -> String {
        match why {
            QueueError::TooLarge { limit } => {
                format!("the partial result has {length} bytes, and may have {limit} (queue.max_payload_bytes)")
            }
            QueueError::LeaseLost { .. } | QueueError::NoQueue(_) => {
                "the item is no longer this call's: it was removed, or delivered again".to_owned()
            }
            QueueError::StorageFull => "the disk of the queues is full".to_owned(),
            other => {
                let (queue, index, error) = (self.queue.as_str(), self.index, other.to_string());
                tracing::warn!(queue, index, error, "a partial result could not be kept");
                "the storage of the queues has failed".to_owned()
            }
        }
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivery {} of item {} of {}", self.count, self.index, self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::memory::MemoryQueues;
    use crate::queue::{Bounds, Clock, Consumer, NewItem, Outcome, Queues, Tags, Want};

    #[tokio::test]
    async fn a_partial_result_is_kept_for_the_next_delivery_while_the_lease_lasts() {
        let queues = Queues::new(Arc::new(MemoryQueues::new(Clock::system())), Arc::default());
        let queue = QueueName::input("s");
        let bounds = Bounds { length: 10, payload: 8, deliveries: 3, retention: None };
        queues.store.open(&queue, bounds).await.unwrap();
        queues.store.put(&queue, NewItem::default(), None).await.unwrap();
        let taken = async || {
            let want = Want {
                consumer: Consumer::new("c"),
                most: 1,
                from: 0,
                tags: Tags::default(),
                hold: std::time::Duration::from_secs(60),
                room_in: None,
                wait: true,
            };
            let delivery = queues.store.take(&queue, want).await.unwrap().remove(0);
            let index = delivery.item.index;
            let running = queues.runs.begin(&queue, index, &delivery.item.tags);
            Delivered {
                store: Arc::clone(&queues.store),
                queue: queue.clone(),
                index,
                lease: delivery.lease,
                count: delivery.count,
                partial: delivery.partial,
                run: Arc::clone(running.run()),
            }
        };
        let first = taken().await;
        assert_eq!((first.partial(), first.delivery()), (None, 1));
        assert_eq!(first.keep_partial(Bytes::from_static(b"half")).await, Ok(()));
        assert_eq!(
            first.keep_partial(Bytes::from_static(b"too large")).await,
            Err("the partial result has 9 bytes, and may have 8 (queue.max_payload_bytes)".to_owned())
        );
        queues.store.settle(&queue, 1, Holder::Lease(first.lease), Outcome::Returned).await.unwrap();
        let second = taken().await;
        assert_eq!((second.partial(), second.delivery()), (Some(Bytes::from_static(b"half")), 1));
        let lost = first.keep_partial(Bytes::new()).await.unwrap_err();
        assert_eq!(lost, "the item is no longer this call's: it was removed, or delivered again");
        assert_eq!(second.keep_partial(Bytes::new()).await, Ok(()));
    }
}
