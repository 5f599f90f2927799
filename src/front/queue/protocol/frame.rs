//! Items and attributes as bytes, in Protocol Buffers or in JSON.
//!
//! The data of an item is copied once, into the bytes that are sent.

mod json;
mod media;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use self::json::JsonFrame;
pub(crate) use self::media::Media;
use crate::queue::Item;

/// An item. Its tags are ordered, so equal items have equal bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DataFrameProto {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: Bytes,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DataFrameListProto {
    /// The items. Their field is called `index` in the protocol.
    #[prost(message, repeated, tag = "1")]
    pub(crate) index: Vec<DataFrameProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributesProto {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// The parts of items that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    All,
    /// Everything but the data.
    IndexOnly,
}

/// Encodes one item.
pub(crate) fn item(media: Media, item: &Item, parts: Parts) -> Bytes {
    match media {
        Media::Protobuf => proto(item, parts).encode_to_vec().into(),
        Media::Json => json::bytes(&JsonFrame { item, parts }, json::length(item, parts)),
    }
}

/// Encodes a list of items, which may be empty.
pub(crate) fn list(media: Media, items: &[Item], parts: Parts) -> Bytes {
    match media {
        Media::Protobuf => {
            DataFrameListProto { index: items.iter().map(|item| proto(item, parts)).collect() }.encode_to_vec().into()
        }
        Media::Json => {
            let frames: Vec<_> = items.iter().map(|item| JsonFrame { item, parts }).collect();
            json::bytes(&frames, items.iter().map(|item| json::length(item, parts)).sum())
        }
    }
}

/// Encodes the attributes of a queue.
pub(crate) fn attributes(media: Media, attributes: BTreeMap<String, String>) -> Bytes {
    match media {
        Media::Protobuf => AttributesProto { attributes }.encode_to_vec().into(),
        Media::Json => json::bytes(&attributes, 0),
    }
}

/// Encodes one item for a watch without WebSocket: the length in four bytes, the highest first, and the item in
/// Protocol Buffers. The bounds of queues keep items far below 4 GiB.
pub(crate) fn prefixed(item: &Item, parts: Parts) -> Bytes {
    let frame = proto(item, parts);
    let length = frame.encoded_len();
    let prefix = u32::try_from(length).expect("an item is smaller than 4 GiB").to_be_bytes();
    let mut bytes = Vec::with_capacity(prefix.len() + length);
    bytes.extend_from_slice(&prefix);
    frame.encode_raw(&mut bytes);
    bytes.into()
}

fn proto(item: &Item, parts: Parts) -> DataFrameProto {
    DataFrameProto {
        index: item.index,
        tags: item.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        data: match parts {
            Parts::All => item.data.clone(),
            Parts::IndexOnly => Bytes::new(),
        },
        message: String::new(),
    }
}
