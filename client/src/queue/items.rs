//! Items, and the parameters of requests for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Unread;
use crate::{Error, Response};

pub(super) const IDEMPOTENCY_KEY: &str = "X-Bulkhead-Idempotency-Key";
const REQUEST_ID: &str = "x-eas-queueservice-request-id";
const REPEATED: &str = "x-bulkhead-repeated";

/// An item to put.
#[derive(Clone, Debug, Default)]
pub struct Item {
    pub(super) data: Bytes,
    tags: Vec<(String, String)>,
    priority: u8,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) key: Option<String>,
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the item in the queue.
    pub index: u64,
    /// The id of the request, which the result of the item has too.
    pub request_id: String,
    /// True if an earlier put with the same idempotency key has put the item.
    pub repeated: bool,
}

/// An item of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The number of the item in its queue.
    pub index: u64,
    /// The tags of the put, and those of the host: `requestId`, and `lastCode` for a result whose status is not 200.
    pub tags: BTreeMap<String, String>,
    /// The body of the put; for a result, the body of the answer.
    pub data: Bytes,
}

/// The state of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// True if a consumer works on the item.
    pub is_pending: bool,
    /// The number of items that are delivered before it.
    pub wait_count: u64,
    /// `ready`, `leased`, `delayed` or `dead`; `None` from EAS, which does not send it.
    pub state: Option<String>,
}

/// The choice of items of a get: by default the first item, which is removed, without a wait.
#[derive(Clone, Debug)]
pub struct Get {
    tags: Vec<(String, String)>,
    index: String,
    length: usize,
    pub(super) timeout: Duration,
    pub(super) keep: bool,
}

/// The settings of a watch: by default all items, of which the consumer holds up to five at once.
#[derive(Clone, Debug)]
pub struct Watch {
    tags: Vec<(String, String)>,
    index: String,
    window: usize,
    auto_commit: bool,
    index_only: bool,
}

impl Item {
    /// Creates an item with this data.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Adds a tag, by which consumers can choose items. The result of the item has the same tags.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the priority, up to 100 [default: 0]. Items of a higher priority are delivered first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the path after the service's name, which the processor gets. It is sent unchanged: percent-encode where
    /// needed. A sink ignores it.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sets a header that the processor gets.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.header("content-type", value)
    }

    /// Sets the idempotency key [default: a random one for each put]. Within 24 hours, a put with the same key and the
    /// same content puts no second item; with other content it is refused.
    #[must_use]
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(super) fn query(&self) -> String {
        let mut query = tagged(&self.tags);
        if self.priority > 0 {
            add(&mut query, "_priority_", &self.priority.to_string());
        }
        query
    }
}

impl Receipt {
    pub(super) fn of(response: &Response) -> Result<Self, Error> {
        let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
        let index = std::str::from_utf8(&response.body).ok().and_then(|text| text.trim().parse().ok());
        let malformed = || response.unreadable(Unread::Malformed("it is not the index of an item".to_owned()));
        Ok(Self {
            index: index.ok_or_else(malformed)?,
            request_id: header(REQUEST_ID).unwrap_or_default().to_owned(),
            repeated: header(REPEATED).is_some(),
        })
    }
}

impl Entry {
    /// Returns the id of the request that has put the item.
    pub fn request_id(&self) -> Option<&str> {
        self.tags.get("requestId").map(String::as_str)
    }

    /// Returns the status of a result.
    pub fn status(&self) -> u16 {
        self.tags.get("lastCode").and_then(|code| code.parse().ok()).unwrap_or(200)
    }
}

impl Default for Get {
    fn default() -> Self {
        Self::new()
    }
}

impl Get {
    /// Gets the first item, removes it, and does not wait for one.
    pub fn new() -> Self {
        Self { tags: Vec::new(), index: "0".to_owned(), length: 1, timeout: Duration::ZERO, keep: false }
    }

    /// Gets only items of this request.
    #[must_use]
    pub fn request_id(self, id: &str) -> Self {
        self.tag("requestId", id)
    }

    /// Gets only items with this tag.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gets only items with this index or a higher one.
    #[must_use]
    pub fn from(mut self, index: u64) -> Self {
        self.index = index.to_string();
        self
    }

    /// Gets the newest items.
    #[must_use]
    pub fn newest(mut self) -> Self {
        "-1".clone_into(&mut self.index);
        self
    }

    /// Sets the largest number of items, up to 1000.
    #[must_use]
    pub fn length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    /// Waits up to this long for the first item, at most 10 minutes. This time is added to the timeout of each try.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Leaves the items in the queue.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    pub(super) fn query(&self) -> String {
        let mut query = tagged(&self.tags);
        add(&mut query, "_index_", &self.index);
        add(&mut query, "_length_", &self.length.to_string());
        add(&mut query, "_timeout_", &format!("{}ms", self.timeout.as_millis()));
        add(&mut query, "_auto_delete_", if self.keep { "false" } else { "true" });
        add(&mut query, "_raw_", "false");
        query
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Watches all items; the consumer commits each.
    pub fn new() -> Self {
        Self { tags: Vec::new(), index: "0".to_owned(), window: 5, auto_commit: false, index_only: false }
    }

    /// Gets only items with this tag.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gets only items with this index or a higher one.
    #[must_use]
    pub fn from(mut self, index: u64) -> Self {
        self.index = index.to_string();
        self
    }

    /// Gets only items that are put after the watch has begun.
    #[must_use]
    pub fn newest(mut self) -> Self {
        "-1".clone_into(&mut self.index);
        self
    }

    /// Sets the largest number of items that are delivered and not yet committed, up to 1000 [default: 5].
    #[must_use]
    pub fn window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// Has the host commit each item when it was sent. An item that is lost on the way is lost for good.
    #[must_use]
    pub fn auto_commit(mut self) -> Self {
        self.auto_commit = true;
        self
    }

    /// Gets items without their data.
    #[must_use]
    pub fn index_only(mut self) -> Self {
        self.index_only = true;
        self
    }

    pub(super) fn query(&self) -> String {
        let mut query = tagged(&self.tags);
        add(&mut query, "_watch_", "true");
        add(&mut query, "_index_", &self.index);
        add(&mut query, "_window_", &self.window.to_string());
        for (name, set) in [("_auto_commit_", self.auto_commit), ("_index_only_", self.index_only)] {
            add(&mut query, name, if set { "true" } else { "false" });
        }
        query
    }
}

fn tagged(tags: &[(String, String)]) -> String {
    let mut query = String::new();
    for (name, value) in tags {
        add(&mut query, name, value);
    }
    query
}

/// Adds a name and a value to a query or a form.
pub(super) fn add(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    encode(query, name);
    query.push('=');
    encode(query, value);
}

fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            // Writing to a string does not fail.
            other => drop(write!(into, "%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_protocol() {
        let item = Item::new("x").tag("a b", "c&d").priority(7);
        assert_eq!(item.query(), "a%20b=c%26d&_priority_=7");
        assert_eq!(
            Get::new().request_id("r").from(5).length(9).timeout(Duration::from_secs(2)).keep().query(),
            "requestId=r&_index_=5&_length_=9&_timeout_=2000ms&_auto_delete_=false&_raw_=false"
        );
        assert_eq!(
            Watch::new().newest().window(3).auto_commit().query(),
            "_watch_=true&_index_=-1&_window_=3&_auto_commit_=true&_index_only_=false"
        );
    }

    #[test]
    fn a_result_has_the_status_of_its_tag() {
        let mut entry = Entry::default();
        assert_eq!((entry.status(), entry.request_id()), (200, None));
        entry.tags = [("requestId".to_owned(), "r".to_owned()), ("lastCode".to_owned(), "499".to_owned())].into();
        assert_eq!((entry.status(), entry.request_id()), (499, Some("r")));
    }
}
