//! Items in JSON: `{"index":7,"message":"","tags":{"k":"v"},"data":"aGVsbG8="}`.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::Parts;
use crate::queue::{Item, Tags};

/// Most bytes of the names, the index and the marks around them, in an item without tags and data.
const FIXED: usize = 80;

/// An item whose data is encoded while it is written.
pub(super) struct JsonFrame<'i> {
    pub(super) item: &'i Item,
    pub(super) parts: Parts,
}

impl Serialize for JsonFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut frame = serializer.serialize_map(Some(4))?;
        frame.serialize_entry("index", &self.item.index)?;
        frame.serialize_entry("message", "")?;
        frame.serialize_entry("tags", &JsonTags(&self.item.tags))?;
        frame.serialize_entry("data", &Base64(sent(self.item, self.parts)))?;
        frame.end()
    }
}

struct JsonTags<'i>(&'i Tags);

impl Serialize for JsonTags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

struct Base64<'i>(&'i [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// About the length of an item, so that its bytes are allocated once.
pub(super) fn length(item: &Item, parts: Parts) -> usize {
    let tags: usize = item.tags.iter().map(|(name, value)| name.len() + value.len() + r#""":"","#.len()).sum();
    FIXED + tags + sent(item, parts).len().div_ceil(3) * 4
}

pub(super) fn bytes(value: &impl Serialize, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length);
    serde_json::to_writer(&mut bytes, value).expect("strings, numbers and maps of strings are JSON");
    bytes.into()
}

fn sent(item: &Item, parts: Parts) -> &[u8] {
    match parts {
        Parts::All => &item.data,
        Parts::IndexOnly => &[],
    }
}
