//! Percent-decoding of queries and forms into names and values.

use crate::quoted::Quoted;

/// A part of a query that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not percent-encoded UTF-8; accepted are + for a space, and % with two hexadecimal digits for a byte",
    Quoted(.0)
)]
pub(super) struct Undecodable(String);

/// Decodes a query or a form into pairs of name and value, in their order. A part without `=` has an empty value.
///
/// # Errors
/// Has the first part with an incomplete escape, or with escapes that are not UTF-8.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Undecodable> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        decode(name).zip(decode(value)).ok_or_else(|| Undecodable(part.to_owned()))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_in_their_order() {
        for (text, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("a=1&b=2", vec![("a", "1"), ("b", "2")]),
            ("b=2&a=1&b=3", vec![("b", "2"), ("a", "1"), ("b", "3")]),
            ("a", vec![("a", "")]),
            ("a=", vec![("a", "")]),
            ("=v", vec![("", "v")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a+b=c+d", vec![("a b", "c d")]),
            ("a%2Bb=c%20d", vec![("a+b", "c d")]),
            ("%61=%3d%3D%26", vec![("a", "==&")]),
            ("_indexes_=1%2C2", vec![("_indexes_", "1,2")]),
            ("t=%E4%BD%A0%e5%a5%bd", vec![("t", "你好")]),
            ("t=%2500", vec![("t", "%00")]),
            ("t=%00", vec![("t", "\0")]),
            ("t=é", vec![("t", "é")]),
        ] {
            let decoded = pairs(text).unwrap();
            let decoded: Vec<_> = decoded.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(decoded, expected, "{text}");
        }
    }

    #[test]
    fn a_part_that_is_not_encoded_is_named() {
        for part in ["a=%", "a=%2", "a=%zz", "a=%2g", "a=%ff", "a=%c3", "%f=1", "a=%+1", "a=%ED%A0%80", "a=%é"] {
            let refused = pairs(&format!("x=1&{part}&y=2")).unwrap_err();
            assert_eq!(refused, Undecodable(part.to_owned()));
        }
        assert_eq!(
            pairs("a=%zz").unwrap_err().to_string(),
            "\"a=%zz\" is not percent-encoded UTF-8; accepted are + for a space, and % with two hexadecimal digits for \
             a byte"
        );
    }
}
