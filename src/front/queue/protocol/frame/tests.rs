//! Encodings, compared with bytes that are written by hand after the description of the protocol.

use serde_json::{Value, json};

use super::*;
use crate::queue::Tags;

fn an_item(index: u64, tags: &[(&str, &str)], data: &'static [u8]) -> Item {
    Item {
        index,
        priority: 1,
        tags: tags.iter().copied().collect(),
        target: "/sub/path".to_owned(),
        headers: vec![("h".to_owned(), Bytes::from_static(b"v"))],
        data: Bytes::from_static(data),
        put_at_ms: 1_700_000_000_000,
    }
}

/// A field with a length before it. The lengths in these tests need one byte.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

fn entry(number: u8, name: &str, value: &str) -> Vec<u8> {
    field(number, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

/// `DataFrameProto` with index 300, which is the varint `ac 02`.
fn frame_300(data: &[u8]) -> Vec<u8> {
    let tags = [entry(2, "a", "1"), entry(2, "requestId", "r-7")].concat();
    let data = if data.is_empty() { vec![] } else { field(3, data) };
    [vec![0x08, 0xac, 0x02], tags, data].concat()
}

const TAGS: &[(&str, &str)] = &[("requestId", "r-7"), ("a", "1")];

#[test]
fn an_item_has_the_fields_of_the_protocol() {
    let given = an_item(300, TAGS, b"\0\xffdata");
    assert_eq!(item(Media::Protobuf, &given, Parts::All), frame_300(b"\0\xffdata"));
    assert_eq!(item(Media::Protobuf, &given, Parts::IndexOnly), frame_300(b""));
    // The largest index takes ten bytes.
    let last = item(Media::Protobuf, &an_item(u64::MAX, &[], b""), Parts::All);
    assert_eq!(last, &b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..]);
}

#[test]
fn a_list_has_an_item_after_the_other() {
    let items = [an_item(300, TAGS, b"x"), an_item(1, &[], b"")];
    let expected = [field(1, &frame_300(b"x")), field(1, &[0x08, 0x01])].concat();
    assert_eq!(list(Media::Protobuf, &items, Parts::All), expected);
    let expected = [field(1, &frame_300(b"")), field(1, &[0x08, 0x01])].concat();
    assert_eq!(list(Media::Protobuf, &items, Parts::IndexOnly), expected);
    assert_eq!(list(Media::Protobuf, &[], Parts::All), Bytes::new());
    assert_eq!(list(Media::Json, &[], Parts::All), "[]");
}

#[test]
fn json_has_the_members_of_the_go_client() {
    let given = an_item(7, &[("k", "a\"b\u{1}é")], b"\xfb\xff\xbehello");
    let text = item(Media::Json, &given, Parts::All);
    // The standard alphabet with padding: `+` and `/` occur.
    assert_eq!(text, r#"{"index":7,"message":"","tags":{"k":"a\"b\u0001é"},"data":"+/++aGVsbG8="}"#);
    let short = item(Media::Json, &given, Parts::IndexOnly);
    assert_eq!(short, r#"{"index":7,"message":"","tags":{"k":"a\"b\u0001é"},"data":""}"#);
    let items = list(Media::Json, &[given, an_item(u64::MAX, &[], b"")], Parts::IndexOnly);
    let expected = json!([
        {"index": 7, "message": "", "tags": {"k": "a\"b\u{1}é"}, "data": ""},
        {"index": u64::MAX, "message": "", "tags": {}, "data": ""},
    ]);
    assert_eq!(serde_json::from_slice::<Value>(&items).unwrap(), expected);
}

#[test]
fn attributes_are_a_map_of_strings() {
    let map = || BTreeMap::from([("meta.name".to_owned(), "qin".to_owned()), ("b".to_owned(), "2".to_owned())]);
    let expected = [entry(1, "b", "2"), entry(1, "meta.name", "qin")].concat();
    assert_eq!(attributes(Media::Protobuf, map()), expected);
    assert_eq!(attributes(Media::Json, map()), r#"{"b":"2","meta.name":"qin"}"#);
}

#[test]
fn a_frame_of_a_stream_begins_with_its_length() {
    let given = an_item(300, TAGS, b"\0\xffdata");
    let frame = frame_300(b"\0\xffdata");
    assert_eq!(prefixed(&given, Parts::All), [&[0, 0, 0, frame.len() as u8], &frame[..]].concat());
    // 70 000 is 0x11170. The item has six bytes before its data: the index takes two, the number of the field one, and
    // the length three.
    let large = Item { data: vec![9; 70_000 - 6].into(), ..an_item(1, &[], b"") };
    let bytes = prefixed(&large, Parts::All);
    assert_eq!(bytes[..4], [0x00, 0x01, 0x11, 0x70]);
    assert_eq!(bytes.len(), 4 + 70_000);
    assert_eq!(prefixed(&large, Parts::IndexOnly), &[0, 0, 0, 2, 0x08, 0x01][..]);
}

#[test]
fn bytes_of_clients_are_read_back() {
    let given = an_item(300, TAGS, b"data");
    let frame = DataFrameProto::decode(item(Media::Protobuf, &given, Parts::All)).unwrap();
    let tags: Tags = frame.tags.into_iter().collect();
    assert_eq!((frame.index, &tags, &frame.data, frame.message.as_str()), (300, &given.tags, &given.data, ""));
    // A message, and the fields in another order.
    let bytes = [field(4, b"gone"), field(3, b"d"), vec![0x08, 0x05]].concat();
    let frame = DataFrameProto::decode(&bytes[..]).unwrap();
    assert_eq!((frame.index, &frame.data[..], frame.message.as_str()), (5, &b"d"[..], "gone"));
}

#[test]
fn json_is_written_into_one_allocation() {
    for data in [&b""[..], b"x", b"0123456789"] {
        for index in [1, u64::MAX] {
            let given = an_item(index, TAGS, data);
            let text = item(Media::Json, &given, Parts::All);
            assert!(text.len() <= json::length(&given, Parts::All), "{text:?}");
        }
    }
}
