//! Items, and their tags.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names and values that a put gives an item, by which consumers can choose items. Ordered by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

/// An item to put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewItem {
    /// Items of a higher priority are delivered first.
    pub priority: u8,
    pub tags: Tags,
    /// The path and query after the service's name, as a processor gets them.
    pub target: String,
    /// The headers that a processor gets.
    pub headers: Vec<(String, Bytes)>,
    pub data: Bytes,
}

/// An item of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The number of the item in its queue.
    pub index: u64,
    pub priority: u8,
    pub tags: Tags,
    pub target: String,
    pub headers: Vec<(String, Bytes)>,
    pub data: Bytes,
    /// The time of the put, in milliseconds since 1970.
    pub put_at_ms: u64,
}

impl Tags {
    /// The tag that has the id of the request which put the item. A result has the same id as its item.
    pub const REQUEST_ID: &str = "requestId";
    /// The tag of a result whose status was not 200: the status.
    pub const LAST_CODE: &str = "lastCode";
    /// The tag of a result of a refusal: its code.
    pub const LAST_ERROR: &str = "lastError";

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn request_id(&self) -> Option<&str> {
        self.get(Self::REQUEST_ID)
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// True if these tags contain all of `wanted`.
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted.iter().all(|(name, value)| self.get(name) == Some(value))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(tags: I) -> Self {
        Self(tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
