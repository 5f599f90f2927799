//! The queues of asynchronous services: the queue protocol of EAS.

mod items;
mod watch;
mod wire;

use http::Method;
use http::header::ACCEPT;
use serde::Deserialize;
use std::collections::BTreeMap;

pub use self::items::{Entry, Get, Item, Receipt, Search, Watch};
pub use self::watch::Entries;
use crate::client::{Body, Terms};
use crate::error::Unread;
use crate::{Client, Error, Request, Response};

const USER: &str = "X-EAS-QueueService-Redis-Uid";
const GROUP: &str = "X-EAS-QueueService-Redis-Gid";
const PROTOBUF: &str = "application/vnd.google.protobuf";
const FORM: &str = "application/x-www-form-urlencoded";

/// One of the two queues of an asynchronous service: the input queue ([`Client::queue`]) or the one with the results
/// ([`Client::sink`]).
///
/// ```no_run
/// use std::time::Duration;
///
/// use bulkhead_client::queue::{Get, Item, Watch};
/// use bulkhead_client::{Client, Error};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let client = Client::builder("http://127.0.0.1:8080", "resize").token("the service's token").build()?;
///     let (queue, sink) = (client.queue(), client.sink());
///
///     // A put, and its result.
///     let put = queue.put(&Item::new("a photo").tag("size", "small").priority(10)).await?;
///     let wait = Duration::from_secs(60);
///     for result in sink.get(&Get::new().request_id(&put.request_id).timeout(wait)).await? {
///         println!("status {}, {} bytes", result.status(), result.data.len());
///     }
///
///     // All further results, as they come.
///     let mut results = sink.watch(&Watch::new().window(10)).await?;
///     while let Some(result) = results.next().await? {
///         println!("{}: {} bytes", result.request_id().unwrap_or_default(), result.data.len());
///         sink.commit(&[result.index]).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Repeats
///
/// The client's [`RetryPolicy`](crate::RetryPolicy) sets the number of retries and their pauses. A request that can be
/// repeated without harm is also repeated after a timeout, a broken connection and a 5xx: a put, whose idempotency key
/// is made once, and everything that only reads or that may be done twice. A get that removes items, and a commit, are
/// repeated only under the conditions of the policy: if an answer is lost, so are the items in it.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    /// The path after the name of the service.
    place: &'static str,
    user: String,
    group: Option<String>,
}

/// The answer to a search.
#[derive(Deserialize)]
struct Found {
    #[serde(rename = "IsPending", default)]
    is_pending: bool,
    #[serde(rename = "WaitCount", default)]
    wait_count: u64,
    #[serde(rename = "State", default)]
    state: Option<String>,
}

impl Client {
    /// Returns the input queue of an asynchronous service.
    pub fn queue(&self) -> Queue {
        Queue::new(self, "")
    }

    /// Returns the queue with the results of an asynchronous service.
    pub fn sink(&self) -> Queue {
        Queue::new(self, "/sink")
    }
}

impl Queue {
    fn new(client: &Client, place: &'static str) -> Self {
        Self { client: client.clone(), place, user: random_id(), group: None }
    }

    /// Sets the name of this consumer [default: a random one]. A consumer that has lost its connection can commit its
    /// items under the same name.
    #[must_use]
    pub fn consumer(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Sets the group of this consumer [default: `eas`].
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Puts an item. When this returns, the item is on the disk of the host.
    ///
    /// # Errors
    /// See [`Error`]. [`Error::Refused`] with the code `queue_full` says that the queue has `queue.length` items,
    /// `body_too_large` that the item is too large, `key_reused` that the idempotency key was used for another item.
    pub async fn put(&self, item: &Item) -> Result<Receipt, Error> {
        let mut request = self.request(Method::POST, &item.query());
        if self.place.is_empty() && !item.path.is_empty() {
            request = request.path(&item.path);
        }
        for (name, value) in &item.headers {
            request = request.header(name, value);
        }
        // The key is made here, so that every try of this put has the same one.
        let key = item.key.clone().unwrap_or_else(random_id);
        request = request.header(items::IDEMPOTENCY_KEY, &key);
        request.body = item.data.clone();
        let response = self.client.call_on(&request, &Terms { body: Body::Compressible, ..Terms::SIMPLE }).await?;
        Receipt::of(&response)
    }

    /// Gets items, and removes them unless [`Get::keep`] is set. The list is empty if there is none in time.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, get: &Get) -> Result<Vec<Entry>, Error> {
        let request = self.request(Method::GET, &get.query()).header(ACCEPT.as_str(), PROTOBUF);
        let terms = Terms { wait: get.timeout, repeatable: get.keep, body: Body::AsItIs };
        let response = self.client.call_on(&request, &terms).await?;
        wire::list(&response.body).map_err(|why| malformed(&response, why))
    }

    /// Returns the attributes of the queue, such as `stream.length` and `meta.maxPayloadBytes`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn attributes(&self) -> Result<BTreeMap<String, String>, Error> {
        let response = self.simple(Method::GET, "_attrs_=true").await?;
        serde_json::from_slice(&response.body).map_err(|error| malformed(&response, error.to_string()))
    }

    /// Finds an item; `None` if it is not in the queue any more.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn search(&self, index: u64) -> Result<Option<Search>, Error> {
        let response = match self.simple(Method::GET, &format!("_search_=true&_index_={index}")).await {
            Err(Error::Refused(refused)) if refused.code == "item_not_found" => return Ok(None),
            response => response?,
        };
        let Found { is_pending, wait_count, state } =
            serde_json::from_slice(&response.body).map_err(|error| malformed(&response, error.to_string()))?;
        Ok(Some(Search { is_pending, wait_count, state }))
    }

    /// Commits items of a [watch](Self::watch): they are finished, and removed.
    ///
    /// # Errors
    /// See [`Error`]. [`Error::Refused`] with the code `lease_lost` says that this consumer does not hold one of the
    /// items (any more); the others are committed.
    pub async fn commit(&self, indexes: &[u64]) -> Result<(), Error> {
        self.settle(&format!("_indexes_={}", list(indexes)), String::new()).await
    }

    /// Gives items of a watch back: this consumer cannot finish them. They are delivered again after a pause, or are
    /// dead after their last delivery. `code` is a number or words such as `Shutdown` or `Disk.Full`, of at most 20
    /// characters. With `Shutdown`, the items go to other consumers at once, and the delivery does not count.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn negative_commit(&self, indexes: &[u64], code: &str, reason: &str) -> Result<(), Error> {
        let mut form = String::new();
        items::add(&mut form, "_code_", code);
        items::add(&mut form, "_reason_", reason);
        self.settle(&format!("_indexes_={}&_negative_=true", list(indexes)), form).await
    }

    /// Removes items. It is not an error if one is not in the queue.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, indexes: &[u64]) -> Result<(), Error> {
        self.simple(Method::DELETE, &format!("_indexes_={}", list(indexes))).await.map(drop)
    }

    /// Removes all items with indexes below `before`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn truncate(&self, before: u64) -> Result<(), Error> {
        self.simple(Method::DELETE, &format!("_trunc_=true&_index_={before}")).await.map(drop)
    }

    /// Ends the queue: it takes no more items. Consumers get what is left.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end(&self) -> Result<(), Error> {
        self.simple(Method::POST, "_eos_=true").await.map(drop)
    }

    /// Ends the queue at once: it takes no more items, and consumers get no more.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end_at_once(&self) -> Result<(), Error> {
        self.simple(Method::POST, "_eos_=true&_force_=true").await.map(drop)
    }

    /// Becomes a consumer of the queue: its items come as they are ready, until the returned value is dropped. A watch
    /// has a connection of its own, beside those of [`max_connections`](crate::ClientBuilder::max_connections).
    ///
    /// # Errors
    /// See [`Error`]. The request is made once; there are no retries.
    pub async fn watch(&self, watch: &Watch) -> Result<Entries, Error> {
        let request = self.request(Method::GET, &watch.query());
        let (connection, response) = self.client.stream(&request).await?;
        Ok(Entries::new(connection, response))
    }

    /// Ends deliveries. A repetition would find no delivery to end.
    async fn settle(&self, query: &str, form: String) -> Result<(), Error> {
        let mut request = self.request(Method::PUT, query);
        if !form.is_empty() {
            request = request.content_type(FORM);
        }
        request.body = form.into();
        self.client.call_on(&request, &Terms { repeatable: false, ..Terms::SIMPLE }).await.map(drop)
    }

    /// Sends a request without a body that can be repeated.
    async fn simple(&self, method: Method, query: &str) -> Result<Response, Error> {
        self.client.call_on(&self.request(method, query), &Terms::SIMPLE).await
    }

    fn request(&self, method: Method, query: &str) -> Request {
        let request = Request::new("").method(method).path(self.place).query(query).header(USER, &self.user);
        match &self.group {
            Some(group) => request.header(GROUP, group),
            None => request,
        }
    }
}

fn malformed(response: &Response, why: String) -> Error {
    response.unreadable(Unread::Malformed(why))
}

fn list(indexes: &[u64]) -> String {
    indexes.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// A name that nobody else has.
fn random_id() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}
