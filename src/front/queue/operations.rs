//! The operations on a queue whose requests have no body.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::answer::{BYTES, JSON, answer, text};
use super::protocol::attributes::{self, ConsumerLine, Facts};
use super::protocol::duration::as_go;
use super::protocol::frame::{self, Media, Parts};
use super::protocol::operation::{Operation, Sought, Start};
use crate::call::Answer;
use crate::config::ServiceSpec;
use crate::queue::{
    Bounds, Consumer, Holder, Item, Outcome, Progress, QueueError, QueueName, Queues, Selection, Tags, Whereabouts,
};
use crate::refusal::Refusal;

/// A queue, and the consumer that asks for something.
pub(super) struct Desk {
    pub(super) spec: Arc<ServiceSpec>,
    pub(super) queues: Queues,
    pub(super) queue: QueueName,
    pub(super) consumer: Consumer,
}

impl Desk {
    /// Carries out an operation whose request has no body.
    pub(super) async fn simple(&self, media: Media, operation: Operation) -> Result<Answer, Refusal> {
        let Self { queue, consumer, .. } = self;
        let store = &self.queues.store;
        Ok(match operation {
            Operation::Get { index, length, timeout, auto_delete, raw, tags } => {
                let (from, newest_first) = match index {
                    Start::From(index) => (index, false),
                    Start::Newest => (0, true),
                };
                let selection = Selection { from, most: length, tags, newest_first, wait: false };
                let items = self.get(selection, timeout, auto_delete).await?;
                got(&items, media, raw)
            }
            Operation::Attributes => {
                let attributes = self.attributes().await?;
                answer(StatusCode::OK, media.content_type(), frame::attributes(media, attributes).into())
            }
            Operation::Count { priority, tags } => text(store.count(queue, priority, tags).await?.to_string()),
            Operation::Search { item } => {
                let found = self.search(item).await?;
                answer(StatusCode::OK, JSON, Bytes::from(found.to_string()).into())
            }
            Operation::Commit { indexes } => {
                self.settle(indexes, &Outcome::Done { result: None }).await?;
                text("OK")
            }
            Operation::Extend { indexes } => {
                let held = |index: &u64| self.queues.consumers.extend(queue, consumer, *index);
                match indexes.iter().find(|index| !held(index)) {
                    Some(index) => return Err(QueueError::LeaseLost { index: *index }.into()),
                    None => text("OK"),
                }
            }
            Operation::Delete { indexes } => {
                store.delete(queue, indexes).await?;
                text("OK")
            }
            Operation::Truncate { before } => {
                store.truncate(queue, before).await?;
                text("OK")
            }
            Operation::End { force } => {
                store.end(queue, force).await?;
                text("OK")
            }
            Operation::Put { .. } | Operation::Watch { .. } | Operation::NegativeCommit { .. } => {
                return Err(Refusal::Internal { cause: "the operation has a body or a stream".into() });
            }
        })
    }

    /// Finds an item, and describes its state.
    async fn search(&self, item: Sought) -> Result<serde_json::Value, Refusal> {
        let (store, queue) = (&self.queues.store, &self.queue);
        let tagged = matches!(item, Sought::Tagged(_));
        let index = match item {
            Sought::Index(index) => index,
            Sought::Tagged(tags) => {
                let first = Selection { most: 1, tags, ..Selection::default() };
                let first = store.read(queue, first).await?;
                first.first().ok_or(Refusal::ItemNotFound { index: None })?.index
            }
        };
        let whereabouts = store.find(queue, index).await?.ok_or(Refusal::ItemNotFound { index: Some(index) })?;
        let mut found = found(&whereabouts, self.queues.runs.progress(queue, index).as_ref());
        if tagged {
            found["Index"] = index.into();
        }
        Ok(found)
    }

    /// Gets items, and waits for the first one until the time is over.
    async fn get(&self, selection: Selection, timeout: Duration, auto_delete: bool) -> Result<Vec<Item>, Refusal> {
        let (store, queue) = (&self.queues.store, &self.queue);
        let until = Instant::now() + timeout;
        if auto_delete {
            let selection = Selection { wait: !timeout.is_zero(), ..selection };
            if timeout.is_zero() {
                return Ok(store.pop(queue, selection).await?);
            }
            return match self.within(until, store.pop(queue, selection)).await {
                Some(Err(QueueError::Ended)) | None => Ok(Vec::new()),
                Some(items) => Ok(items?),
            };
        }
        let mut arrivals = store.arrivals(queue).ok_or_else(|| QueueError::NoQueue(queue.to_string()))?;
        loop {
            arrivals.mark_unchanged();
            let items = store.read(queue, selection.clone()).await?;
            let is_over = !items.is_empty() || timeout.is_zero();
            if is_over || self.within(until, arrivals.changed()).await.is_none() {
                return Ok(items);
            }
        }
    }

    /// Waits until this time at most; `None` if it is over, or the host ends.
    async fn within<T>(&self, until: Instant, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = wait => Some(done),
            () = tokio::time::sleep_until(until.into()) => None,
            () = self.queues.ended() => None,
        }
    }

    /// Ends deliveries to a consumer. All that can be ended are, even if another one cannot.
    pub(super) async fn settle(&self, indexes: Vec<u64>, outcome: &Outcome) -> Result<(), Refusal> {
        let Self { queues: Queues { store, consumers, .. }, queue, consumer, .. } = self;
        let settled = indexes.iter().map(|index| async {
            // The consumer may have another connection meanwhile, so the delivery is named by its number if it is known.
            let lease = consumers.lease_of(queue, consumer, *index);
            let holder = lease.map_or_else(|| Holder::Consumer(consumer.clone()), Holder::Lease);
            let settled = store.settle(queue, *index, holder, outcome.clone()).await;
            consumers.finished(queue, consumer, *index);
            settled
        });
        let refused = join_all(settled).await.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |why| Err(why.into()))
    }

    async fn attributes(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let queue = &self.queue;
        let status = self.queues.store.status(queue).await?;
        let consumers: Vec<ConsumerLine> = self.queues.consumers.list(queue).into_iter().map(line).collect();
        let settings = self.spec.queue().ok_or_else(|| QueueError::NoQueue(queue.to_string()))?;
        let bounds = Bounds::from(settings);
        let now_ms = crate::queue::unix_ms();
        let (name, status, bounds) = (queue, &status, &bounds);
        Ok(attributes::of(Facts { name, status, bounds, backend: "local", consumers: &consumers, now_ms }))
    }
}

fn line(consumer: crate::queue::ConsumerStatus) -> ConsumerLine {
    let status = consumer.state();
    let crate::queue::ConsumerStatus { id, index, pending, window, auto_commit, idle, left: _ } = consumer;
    let (slots, pending) = (window.saturating_sub(pending), pending as u64);
    ConsumerLine { id, index, pending, status, idle, window, slots, auto_commit }
}

/// The answer to a search. The first two members are those of EAS.
fn found(whereabouts: &Whereabouts, progress: Option<&Progress>) -> serde_json::Value {
    match whereabouts {
        Whereabouts::Ready { ahead } => json!({"IsPending": false, "WaitCount": ahead, "State": "ready"}),
        Whereabouts::Leased { consumer, count } => {
            let mut found = json!({
                "IsPending": true, "WaitCount": 0, "State": "leased", "Consumer": consumer, "Delivery": count,
            });
            if let Some(Progress { fraction, note, at }) = progress {
                let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
                found["Progress"] = json!({"Fraction": fraction, "Note": &**note, "AgeMs": age_ms});
            }
            found
        }
        Whereabouts::Delayed { remaining } => json!({
            "IsPending": false, "WaitCount": 0, "State": "delayed", "RetryIn": as_go(*remaining),
        }),
        Whereabouts::Dead => json!({"IsPending": false, "WaitCount": 0, "State": "dead"}),
    }
}

/// The answer to a get. A client that asks for JSON learns from 204 that there is nothing; in Protobuf an empty list
/// says so, because clients of EAS in Java repeat a request that is answered with 204.
fn got(items: &[Item], media: Media, raw: bool) -> Answer {
    match (items, media) {
        ([item], _) if raw => {
            let name = http::header::CONTENT_TYPE;
            let named = item.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name.as_str()));
            let content_type = named.and_then(|(_, value)| HeaderValue::from_bytes(value).ok());
            let mut answer = answer(StatusCode::OK, content_type.unwrap_or(BYTES), item.data.clone().into());
            for (name, value) in item.tags.iter().filter(|(name, _)| [Tags::REQUEST_ID, Tags::LAST_CODE].contains(name))
            {
                let name = HeaderName::from_bytes(format!("X-Eas-Queueservice-Tag-{name}").as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    answer.headers.insert(name, value);
                }
            }
            answer
        }
        ([], Media::Json) => answer(StatusCode::NO_CONTENT, JSON, Bytes::new().into()),
        ([], _) if raw => answer(StatusCode::NO_CONTENT, BYTES, Bytes::new().into()),
        _ => answer(StatusCode::OK, media.content_type(), frame::list(media, items, Parts::All).into()),
    }
}
