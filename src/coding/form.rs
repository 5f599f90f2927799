//! Recognises the actual form of a body that cannot be decoded, for the error message.
//!
//! Snappy and LZ4 each have several incompatible container formats under one name, and senders mix up codings.

use super::decode::LZ4_MOST;
use super::{Coding, Effort, Fault};

/// 0x184D2204 in little endian, from the description of the LZ4 frame format.
pub(super) const LZ4_FRAME: &[u8] = b"\x04\x22\x4d\x18";

/// Magic numbers, the name of each form, and the coding that accepts it.
const MARKS: [(&[u8], &str, Option<Coding>); 10] = [
    (b"\x1f\x8b", "gzip", Some(Coding::Gzip)),
    (b"\x28\xb5\x2f\xfd", "a zstd frame", Some(Coding::Zstd)),
    (LZ4_FRAME, "an LZ4 frame", Some(Coding::Lz4)),
    (b"\x02\x21\x4c\x18", "a legacy LZ4 frame", None),
    (b"LZ4Block", "a stream of lz4-java's LZ4BlockOutputStream", None),
    (b"\xff\x06\0\0sNaPpY", "framed Snappy", None),
    (b"\x82SNAPPY\0", "a stream of snappy-java's SnappyOutputStream (xerial)", None),
    (b"BZh", "bzip2", None),
    (b"\xfd7zXZ\0", "xz", None),
    (b"PK\x03\x04", "a zip archive", None),
];

/// Most bytes of a body that are checked for text.
const GLANCE: usize = 64;

/// Adds two facts to a fault: the form that the body actually has, if it is recognised, and the form that is accepted.
///
/// Recognising the form counts against the `effort` of the decoding.
pub(super) fn explain(fault: Fault, coding: Coding, coded: &[u8], limit: usize, effort: &Effort<'_>) -> Fault {
    let (at, why) = match fault {
        Fault::Corrupt { at, why } => (at, Some(why)),
        // Raw Snappy and raw LZ4 have no magic number, so the first bytes of another form may look like a large size.
        Fault::TooLarge if matches!(coding, Coding::Snappy | Coding::Lz4) => (None, None),
        other => return other,
    };
    let accepted = accepted(coding);
    let mistaken_for =
        |found: &str| Fault::Corrupt { at: None, why: format!("it looks like {found}; accepted is {accepted}") };
    let cannot_tell = |why: Option<String>| match why {
        Some(why) => Fault::Corrupt { at, why: format!("{why}; accepted is {accepted}") },
        None => Fault::TooLarge,
    };
    match (mark(coded), why) {
        (Some((_, Some(own))), Some(why)) if own == coding => Fault::Corrupt { at, why },
        (Some((_, Some(own))), None) if own == coding => Fault::TooLarge,
        (Some((found, _)), _) => mistaken_for(found),
        (None, why) if coding == Coding::Lz4 => match has_size_before_it(coded, limit, effort) {
            Ok(true) => mistaken_for("an LZ4 block with its size before it"),
            Ok(false) if is_text(coded) => mistaken_for("text that is not compressed"),
            Ok(false) => cannot_tell(why),
            Err(stopped) => stopped,
        },
        (None, _) if is_text(coded) => mistaken_for("text that is not compressed"),
        (None, why) => cannot_tell(why),
    }
}

/// Returns the accepted forms of a coding.
const fn accepted(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => "gzip (RFC 1952)",
        Coding::Deflate => "zlib (RFC 1950), or deflate without a header (RFC 1951)",
        Coding::Zstd => "zstd frames (RFC 8878)",
        Coding::Snappy => "raw Snappy: a length and one block, without framing",
        Coding::Lz4 => "LZ4 frames, or one LZ4 block without a size before it",
    }
}

fn mark(coded: &[u8]) -> Option<(&'static str, Option<Coding>)> {
    let marked = MARKS.iter().find(|(mark, ..)| coded.starts_with(mark)).map(|(_, name, coding)| (*name, *coding));
    // Other first bytes are valid in zlib too, but rare, and text may begin with them.
    marked
        .or_else(|| (coded.first() == Some(&0x78) && has_zlib_header(coded)).then_some(("zlib", Some(Coding::Deflate))))
}

/// True if the input begins with a zlib header: the method is 8, and the two bytes are a multiple of 31 (RFC 1950
/// §2.2).
pub(super) fn has_zlib_header(coded: &[u8]) -> bool {
    matches!(coded, [method, flags, ..] if method & 15 == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// True if a block follows a size, as Python's `lz4.block` and `lz4_flex`'s `compress_prepend_size` write it
/// (little-endian), or Hadoop (big-endian).
fn has_size_before_it(coded: &[u8], limit: usize, effort: &Effort<'_>) -> Result<bool, Fault> {
    let Some((size, block)) = coded.split_first_chunk::<4>() else { return Ok(false) };
    for size in [u32::from_le_bytes(*size), u32::from_be_bytes(*size)] {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size == 0 || size > limit || size > block.len().saturating_mul(LZ4_MOST) {
            continue;
        }
        effort.spend(size)?;
        if lz4_flex::block::decompress_into(block, &mut vec![0; size]).is_ok_and(|made| made == size) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_text(coded: &[u8]) -> bool {
    let glance = &coded[..coded.len().min(GLANCE)];
    let is_printed = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    !glance.is_empty() && glance.iter().all(is_printed)
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    const TEXT: &[u8] = b"{\"pixels\": [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]}";

    fn told(coding: Coding, coded: &[u8]) -> String {
        match decode(coding, coded, 1 << 20, &Effort::brief(usize::MAX)) {
            Err(Fault::Corrupt { why, .. }) => why,
            other => panic!("{coding:?} makes {other:?} of {coded:?}"),
        }
    }

    /// Puts one block into chunks of the framing format.
    fn framed_snappy(plain: &[u8]) -> Vec<u8> {
        let block = encode(Coding::Snappy, plain).unwrap();
        let length = u32::try_from(block.len() + 4).unwrap().to_le_bytes();
        [b"\xff\x06\0\0sNaPpY\0", &length[..3], &[1, 2, 3, 4], &block].concat()
    }

    fn xerial_snappy(plain: &[u8]) -> Vec<u8> {
        let block = encode(Coding::Snappy, plain).unwrap();
        let length = u32::try_from(block.len()).unwrap().to_be_bytes();
        [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", &length[..], &block].concat()
    }

    #[test]
    fn another_form_is_named_with_the_one_that_is_accepted() {
        for (coded, found) in [
            (framed_snappy(TEXT), "framed Snappy"),
            (xerial_snappy(TEXT), "a stream of snappy-java's SnappyOutputStream (xerial)"),
            (TEXT.to_vec(), "text that is not compressed"),
            (encode(Coding::Gzip, TEXT).unwrap(), "gzip"),
        ] {
            let raw = "raw Snappy: a length and one block, without framing";
            assert_eq!(told(Coding::Snappy, &coded), format!("it looks like {found}; accepted is {raw}"));
        }
        for mine in Coding::ALL {
            for (coding, found) in [
                (Coding::Gzip, "gzip"),
                (Coding::Deflate, "zlib"),
                (Coding::Zstd, "a zstd frame"),
                (Coding::Lz4, "an LZ4 frame"),
            ] {
                if coding != mine {
                    let told = told(mine, &encode(coding, TEXT).unwrap());
                    assert_eq!(told, format!("it looks like {found}; accepted is {}", accepted(mine)), "{mine:?}");
                }
            }
            let told = told(mine, TEXT);
            assert_eq!(told, format!("it looks like text that is not compressed; accepted is {}", accepted(mine)));
        }
    }

    /// Python's `lz4.block.compress` writes the size before the block unless it is told not to.
    #[test]
    fn a_size_before_an_lz4_block_is_seen_in_either_byte_order() {
        for plain in [TEXT.to_vec(), TEXT.repeat(500), vec![0; 70_000]] {
            let block = lz4_flex::block::compress(&plain);
            let size = u32::try_from(plain.len()).unwrap();
            for size in [size.to_le_bytes(), size.to_be_bytes()] {
                let told = told(Coding::Lz4, &[&size[..], &block].concat());
                let accepted = "LZ4 frames, or one LZ4 block without a size before it";
                assert_eq!(told, format!("it looks like an LZ4 block with its size before it; accepted is {accepted}"));
            }
        }
    }

    #[test]
    fn a_body_of_the_right_form_is_told_its_own_fault() {
        let cut = encode(Coding::Gzip, TEXT).unwrap();
        assert_eq!(told(Coding::Gzip, &cut[..cut.len() - 1]), "it is truncated");
        let noise = [0x9c, 0x01, 0xfe, 0x80, 0x00, 0x77];
        assert!(told(Coding::Gzip, &noise).ends_with("; accepted is gzip (RFC 1952)"));
        // Without a recognised form, a large size is still too large.
        let bomb = encode(Coding::Snappy, &vec![0; 2 << 20]).unwrap();
        assert_eq!(decode(Coding::Snappy, &bomb, 1 << 20, &Effort::brief(usize::MAX)), Err(Fault::TooLarge));
        let xerial = xerial_snappy(TEXT);
        let small = decode(Coding::Snappy, &xerial, 1000, &Effort::brief(usize::MAX));
        assert!(matches!(small, Err(Fault::Corrupt { .. })), "its first bytes are no size: {small:?}");
    }
}
