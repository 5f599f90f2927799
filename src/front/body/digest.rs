//! `Content-MD5`: checks a body against the hash that its sender states.
//!
//! EAS's SDKs write the hash in hexadecimal and sign the header's text. The Java SDK drops leading zeros, because it
//! prints a number. If it is configured to compress, it also signs the hash of the body's Snappy form, and then sends
//! the body plain. Snappy encoders may produce different bytes for the same input, so such a hash does not show whether
//! the body was changed. All other clients write base64 (RFC 1864), and hash the body that they send.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use md5::{Digest, Md5};

use crate::coding::snappy;
use crate::hex::hex;
use crate::refusal::Refusal;

pub(in crate::front) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

const LENGTH: usize = 16;
const HEX_LENGTH: usize = 2 * LENGTH;
const BASE64_LENGTH: usize = 24;

/// The hash that the sender states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) struct Claim {
    hash: [u8; LENGTH],
    /// True if it was sent in hexadecimal, as the SDKs do.
    is_hexadecimal: bool,
}

/// The content that the hash was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) enum Hashed {
    /// The body as it was sent.
    Body,
    /// The form that our Snappy encoder makes of the body. The body itself was sent plain.
    ItsSnappy,
    /// Something else: most likely the form that another Snappy encoder makes of the body.
    Unknown,
}

impl Claim {
    /// Reads the header; `None` without one.
    pub(in crate::front) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all(CONTENT_MD5).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Refusal::BadBody("there is more than one Content-MD5 header".into()));
        }
        Self::parse(value.as_bytes()).map(Some).ok_or_else(|| {
            let expected = "Content-MD5 is not an MD5 hash; expected 16 bytes in base64 or up to 32 hexadecimal digits";
            Refusal::BadBody(expected.into())
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.len() == BASE64_LENGTH && text.ends_with(b"==") {
            let mut bytes = [0; LENGTH + 2];
            let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
            let hash = bytes[..length].try_into().ok()?;
            return Some(Self { hash, is_hexadecimal: false });
        }
        if text.is_empty() || text.len() > HEX_LENGTH {
            return None;
        }
        let mut hash = [0; LENGTH];
        // From the end, because leading zeros may be missing.
        for (place, digit) in text.iter().rev().enumerate() {
            let value = char::from(*digit).to_digit(16)? as u8;
            hash[LENGTH - 1 - place / 2] |= value << (4 * (place % 2));
        }
        Some(Self { hash, is_hexadecimal: true })
    }

    /// Checks a body as it was received. The hash of another form, which was not sent, is accepted only if the hash is
    /// signed.
    pub(in crate::front) fn check(self, body: &[u8], is_signed: bool) -> Result<Hashed, Refusal> {
        let found = md5(body);
        if found == self.hash {
            return Ok(Hashed::Body);
        }
        if is_signed && self.is_hexadecimal {
            let is_ours = snappy(body).is_some_and(|compressed| md5(&compressed) == self.hash);
            return Ok(if is_ours { Hashed::ItsSnappy } else { Hashed::Unknown });
        }
        Err(Refusal::BadBody(
            format!(
                "the body's MD5 is {}, but Content-MD5 says {}: the body was changed in transit",
                hex(&found),
                hex(&self.hash)
            )
            .into(),
        ))
    }
}

fn md5(bytes: &[u8]) -> [u8; LENGTH] {
    Md5::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const HELLO: &str = "5d41402abc4b2a76b9719d911017c592";

    fn check(claim: &str, body: &[u8], is_signed: bool) -> Option<Hashed> {
        Claim::parse(claim.as_bytes()).unwrap().check(body, is_signed).ok()
    }

    #[test]
    fn hexadecimal_base64_and_missing_zeros_are_the_same_claim() {
        for claim in [HELLO, &HELLO.to_uppercase(), "XUFAKrxLKna5cZ2REBfFkg=="] {
            assert_eq!(check(claim, b"hello", false), Some(Hashed::Body), "{claim}");
            assert_eq!(check(claim, b"hellp", false), None, "{claim}");
        }
        // The hash of this body as the Java SDK writes it, and as the others do.
        for claim in ["ff85a33ee8c8aa4f59a843d5199909f", "0ff85a33ee8c8aa4f59a843d5199909f"] {
            assert_eq!(check(claim, b"body-0", false), Some(Hashed::Body), "{claim}");
        }
    }

    #[test]
    fn what_is_no_hash_is_no_claim() {
        let long = format!("{HELLO}0");
        for text in
            ["", "5d41402abc4b2a76b9719d911017c59g", &long, "XUFAKrxLKna5cZ2REBfFkg=", "XUFAKrxLKna5cZ2REBfF!g==", "-1"]
        {
            assert_eq!(Claim::parse(text.as_bytes()), None, "{text:?}");
        }
        let mut headers = HeaderMap::new();
        assert!(matches!(Claim::of(&headers), Ok(None)));
        for _ in 0..2 {
            headers.append(CONTENT_MD5, HeaderValue::from_static(HELLO));
        }
        assert!(matches!(Claim::of(&headers), Err(Refusal::BadBody(_))));
    }

    #[test]
    fn a_signed_hash_in_hexadecimal_may_be_that_of_another_form() {
        let body = b"hello hello hello hello hello";
        let claim = hex(&md5(&snappy(body).unwrap()));
        assert_eq!(check(&claim, body, true), Some(Hashed::ItsSnappy));
        assert_eq!(check(&claim, body, false), None);
        assert_eq!(check(HELLO, body, true), Some(Hashed::Unknown), "another encoder's");
        assert_eq!(check("XUFAKrxLKna5cZ2REBfFkg==", body, true), None, "no SDK writes base64");
    }
}
