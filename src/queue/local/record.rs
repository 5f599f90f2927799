//! An item as it lies in the database: a checksum, the length of the head, the head, and the data.
//!
//! The checksum covers the place of the item as well, so an item at another place than its own is damaged.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Item, NewItem, Tags};

/// The bytes of an item have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of the item have changed on disk")]
pub(super) struct Damaged;

/// Everything but the data.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    priority: u8,
    put_at_ms: u64,
    tags: Cow<'a, Tags>,
    target: Cow<'a, str>,
    headers: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
}

const CHECKSUM: usize = 4;
const LENGTH: usize = 4;

fn checksum(queue: u32, index: u64, rest: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&queue.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(rest);
    hasher.finalize().to_le_bytes()
}

/// The record of an item in the queue with this number.
pub(super) fn encode(queue: u32, index: u64, item: &NewItem, put_at_ms: u64) -> Vec<u8> {
    let headers = item.headers.iter().map(|(name, value)| (name.as_str().into(), (&**value).into())).collect();
    let head = Head {
        priority: item.priority,
        put_at_ms,
        tags: Cow::Borrowed(&item.tags),
        target: item.target.as_str().into(),
        headers,
    };
    let mut record = Vec::with_capacity(CHECKSUM + LENGTH + 128 + item.data.len());
    record.extend_from_slice(&[0; CHECKSUM + LENGTH]);
    let mut record = postcard::to_extend(&head, record).expect("a head is plain data");
    let length = u32::try_from(record.len() - CHECKSUM - LENGTH).expect("a head is shorter than a request's");
    record[CHECKSUM..CHECKSUM + LENGTH].copy_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&item.data);
    let sum = checksum(queue, index, &record[CHECKSUM..]);
    record[..CHECKSUM].copy_from_slice(&sum);
    record
}

/// The facts of an item without its data.
pub(super) struct Facts {
    pub(super) priority: u8,
    pub(super) put_at_ms: u64,
    pub(super) tags: Tags,
}

/// Compares the checksum of a record, and splits it into head and data.
fn checked(queue: u32, index: u64, record: &[u8]) -> Result<(Head<'_>, &[u8]), Damaged> {
    let (sum, rest) = record.split_at_checked(CHECKSUM).ok_or(Damaged)?;
    if sum != checksum(queue, index, rest) {
        return Err(Damaged);
    }
    let (length, rest) = rest.split_first_chunk::<LENGTH>().ok_or(Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Damaged)?;
    let (head, data) = rest.split_at_checked(length).ok_or(Damaged)?;
    Ok((postcard::from_bytes(head).map_err(|_| Damaged)?, data))
}

/// Reads the facts of an item. Its data is compared with the checksum and not copied.
pub(super) fn facts(queue: u32, index: u64, record: &[u8]) -> Result<Facts, Damaged> {
    let (head, _) = checked(queue, index, record)?;
    Ok(Facts { priority: head.priority, put_at_ms: head.put_at_ms, tags: head.tags.into_owned() })
}

/// Reads a record.
pub(super) fn decode(queue: u32, index: u64, record: &[u8]) -> Result<Item, Damaged> {
    let (head, data) = checked(queue, index, record)?;
    let header = |(name, value): (Cow<'_, str>, Cow<'_, [u8]>)| (name.into_owned(), Bytes::copy_from_slice(&value));
    Ok(Item {
        index,
        priority: head.priority,
        tags: head.tags.into_owned(),
        target: head.target.into_owned(),
        headers: head.headers.into_iter().map(header).collect(),
        data: Bytes::copy_from_slice(data),
        put_at_ms: head.put_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> NewItem {
        NewItem {
            priority: 3,
            tags: [("requestId", "r-1"), ("t", "v")].into_iter().collect(),
            target: "/sub/path?x=1".into(),
            headers: vec![("content-type".into(), Bytes::from_static(b"text/plain"))],
            data: Bytes::from_static(b"\0\xffdata"),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (new, record) = (item(), encode(7, 9, &item(), 1_234));
        let read = decode(7, 9, &record).unwrap();
        assert_eq!((read.index, read.priority, read.put_at_ms), (9, 3, 1_234));
        assert_eq!((read.tags, read.target, read.headers, read.data), (new.tags, new.target, new.headers, new.data));
        let empty = decode(1, 1, &encode(1, 1, &NewItem::default(), 0)).unwrap();
        assert_eq!((empty.data.len(), empty.headers.len()), (0, 0));
    }

    #[test]
    fn every_flipped_bit_is_found_and_so_is_a_wrong_place() {
        let record = encode(7, 9, &item(), 1_234);
        for bit in 0..record.len() * 8 {
            let mut changed = record.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(7, 9, &changed), Err(Damaged), "bit {bit}");
        }
        assert_eq!(decode(8, 9, &record), Err(Damaged));
        assert_eq!(decode(7, 10, &record), Err(Damaged));
        for length in 0..record.len() {
            assert_eq!(decode(7, 9, &record[..length]), Err(Damaged), "{length} bytes");
        }
    }
}
