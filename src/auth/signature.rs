//! The signature of the official EAS SDKs.
//!
//! `base64(HMAC-SHA1(token, "POST\n{Content-MD5}\n{Content-Type}\n{Date}\n{target}"))`, over the header texts and the
//! target as sent. The method in the text is always `POST`. `Content-MD5` is hexadecimal; one SDK drops its leading
//! zeros. `Date` is local time labelled as GMT in two SDKs, so it is signed but does not tell the time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, header};
use sha1::Sha1;

use crate::config::Token;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The length of an HMAC-SHA1, in bytes and in base64.
const LENGTH: usize = 20;
const LENGTH_AS_TEXT: usize = 28;

/// The signing key of a token: the key schedule of HMAC, which is the same for every request.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha1>);

/// A well-formed signature.
pub(super) struct Signature([u8; LENGTH]);

impl Key {
    pub(super) fn of(token: &Token) -> Self {
        let key = Hmac::new_from_slice(token.reveal().as_bytes());
        Self(key.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    /// True if this key makes `signature` for the request. Compares in constant time.
    pub(super) fn made(&self, signature: &Signature, headers: &HeaderMap, target: &[u8]) -> bool {
        let mut mac = self.0.clone();
        let text_of = |name: HeaderName| headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
        for part in [b"POST".as_slice(), text_of(CONTENT_MD5), text_of(header::CONTENT_TYPE), text_of(header::DATE)] {
            mac.update(part);
            mac.update(b"\n");
        }
        mac.update(target);
        mac.verify_slice(&signature.0).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Signature {
    /// Parses 20 bytes in padded base64 (RFC 4648 §4).
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != LENGTH_AS_TEXT {
            return None;
        }
        // The decoder requires room for the longest output that a text of this length can have.
        let mut bytes = [0; LENGTH + 1];
        let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
        bytes[..length].try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The first vector was captured from the Python SDK; the others follow the quirks of the Java SDK.
    const GOLDEN: [(&str, &str, &str); 4] = [
        ("5d41402abc4b2a76b9719d911017c592", "/api/predict/echo", "98ZXWMZr3a7S6FTWB4jut+xabjQ="),
        ("0ff85a33ee8c8aa4f59a843d5199909f", "/api/predict/echo", "tKzwaI7YyUh0n1rHfA61SX5U1Mk="),
        ("ff85a33ee8c8aa4f59a843d5199909f", "/api/predict/echo", "guYICpwPS2AJO3WI2sp8t3kH49o="),
        ("5d41402abc4b2a76b9719d911017c592", "/api/predict/echo/v1?uid=a+b", "xoLZxWM9UPtyEDBnbKZjObqs11E="),
    ];

    fn verify_with(md5: &str, date: &str, target: &str, signature: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_MD5, HeaderValue::from_str(md5).unwrap());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::DATE, HeaderValue::from_str(date).unwrap());
        let key = Key::of(&Token::parse("tok").unwrap());
        Signature::parse(signature.as_bytes())
            .is_some_and(|signature| key.made(&signature, &headers, target.as_bytes()))
    }

    const DATE: &str = "Mon, 23 Nov 2026 07:21:57 GMT";

    #[test]
    fn golden_vectors() {
        for (md5, target, signature) in GOLDEN {
            assert!(verify_with(md5, DATE, target, signature), "{md5} {target}");
        }
    }

    #[test]
    fn every_signed_part_counts() {
        let (md5, target, signature) = GOLDEN[0];
        assert!(!verify_with(&md5.replace('5', "6"), DATE, target, signature));
        assert!(!verify_with(md5, "Mon, 23 Nov 2026 07:21:58 GMT", target, signature));
        assert!(!verify_with(md5, DATE, "/api/predict/echo?x", signature));
        for bad in ["", "98ZXWMZr3a7S6FTWB4jut+xabjQ", "98ZXWMZr3a7S6FTWB4jut+xabjR=", "not base64!", "AAAA"] {
            assert!(!verify_with(md5, DATE, target, bad), "{bad:?}");
        }
    }
}
