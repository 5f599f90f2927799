//! Items in Protocol Buffers: `DataFrameProto` and `DataFrameListProto` of the queue protocol.

use bytes::{Buf, Bytes};

use super::Entry;

/// A field of a message: its number, and its value.
enum Field {
    Number(u64, u64),
    Bytes(u64, Bytes),
    /// A value of another kind, which no field of the protocol has.
    Other,
}

/// Decodes a list of items.
pub(super) fn list(body: &Bytes) -> Result<Vec<Entry>, String> {
    let (mut body, mut entries) = (body.clone(), Vec::new());
    while body.has_remaining() {
        if let Field::Bytes(1, item) = field(&mut body)? {
            entries.push(entry(item)?);
        }
    }
    Ok(entries)
}

/// Decodes an item. Its data are a part of `body`, without a copy.
pub(super) fn entry(mut body: Bytes) -> Result<Entry, String> {
    let mut entry = Entry::default();
    while body.has_remaining() {
        match field(&mut body)? {
            Field::Number(1, index) => entry.index = index,
            Field::Bytes(2, tag) => entry.tags.extend([pair(tag)?]),
            Field::Bytes(3, data) => entry.data = data,
            _ => {}
        }
    }
    Ok(entry)
}

fn pair(mut body: Bytes) -> Result<(String, String), String> {
    let (mut name, mut value) = (String::new(), String::new());
    while body.has_remaining() {
        match field(&mut body)? {
            Field::Bytes(1, bytes) => name = text(&bytes)?,
            Field::Bytes(2, bytes) => value = text(&bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a tag is not text".to_owned())
}

fn field(body: &mut Bytes) -> Result<Field, String> {
    let key = number(body)?;
    let ends = || "an item ends within a field".to_owned();
    let take = |body: &mut Bytes, length: u64| {
        let length = usize::try_from(length).ok().filter(|length| *length <= body.len()).ok_or_else(ends)?;
        Ok::<_, String>(body.split_to(length))
    };
    Ok(match key & 7 {
        0 => Field::Number(key >> 3, number(body)?),
        1 => take(body, 8).map(|_| Field::Other)?,
        2 => {
            let length = number(body)?;
            Field::Bytes(key >> 3, take(body, length)?)
        }
        5 => take(body, 4).map(|_| Field::Other)?,
        kind => return Err(format!("a field of the kind {kind}")),
    })
}

/// Decodes a number of up to ten bytes, the lowest seven bits first.
fn number(body: &mut Bytes) -> Result<u64, String> {
    let mut number = 0;
    for place in 0..10 {
        if !body.has_remaining() {
            return Err("an item ends within a number".to_owned());
        }
        let byte = body.get_u8();
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number of more than ten bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &[u8] = b"\x08\xac\x02\x12\x06\x0a\x01a\x12\x01b\x12\x03\x0a\x01c\x1a\x02hi\x22\x01m";

    #[test]
    fn items_are_decoded_and_unknown_fields_passed_over() {
        let expected = Entry {
            index: 300,
            tags: [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())].into(),
            data: "hi".into(),
        };
        assert_eq!(entry(Bytes::from_static(ITEM)), Ok(expected.clone()));
        let more = [ITEM, b"\x78\x01\x7912345678\x7d1234"].concat();
        assert_eq!(entry(more.into()), Ok(expected.clone()));
        let two = [&[0x0a, ITEM.len() as u8], ITEM, b"\x0a\x00"].concat();
        assert_eq!(list(&two.into()), Ok(vec![expected, Entry::default()]));
        assert_eq!(list(&Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_no_item_is_an_error() {
        // The last field is a whole one, so an item that is cut between two fields is a valid one.
        for length in [1, 2, 4, 8, 10, 19, ITEM.len() - 1] {
            assert!(entry(Bytes::from_static(&ITEM[..length])).is_err(), "{length}");
        }
        for wrong in [&b"\x0b"[..], b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x12\x03\x0a\x01\xff"] {
            assert!(entry(Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
    }
}
