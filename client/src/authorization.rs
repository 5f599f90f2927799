//! Authentication of calls.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use sha1::Sha1;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The token of a service and the form in which it is sent. It has no `Debug`, because it holds the secret.
#[derive(Clone, Default)]
pub(crate) enum Authorization {
    #[default]
    None,
    /// The token signs requests and is not sent.
    Signed(String),
    /// `<token>` or `Bearer <token>`, valid as a header value and marked as sensitive.
    Shown(HeaderValue),
}

impl Authorization {
    pub(crate) fn shown(scheme: &str, token: &str) -> Result<Self, String> {
        let mut value = HeaderValue::from_str(&format!("{scheme}{token}"))
            .map_err(|_| "the token has characters that a header cannot have".to_owned())?;
        value.set_sensitive(true);
        Ok(Self::Shown(value))
    }

    /// Adds the authentication to the headers of a request that is otherwise complete, `Content-Type` included.
    ///
    /// `target` is the request target as it will be sent, with its query.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, body: &[u8], target: &str, now: SystemTime) {
        match self {
            Self::None => {}
            Self::Shown(value) => {
                headers.insert(AUTHORIZATION, value.clone());
            }
            Self::Signed(token) => sign(token, headers, body, target, now),
        }
    }
}

/// Signs as the official SDKs do: `EAS base64(HMAC-SHA1(token, "POST\n{MD5}\n{Content-Type}\n{Date}\n{target}"))`,
/// with every method. The MD5 of the body is in hexadecimal digits, unlike in RFC 1864.
fn sign(token: &str, headers: &mut HeaderMap, body: &[u8], target: &str, now: SystemTime) {
    let md5: String = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let date = httpdate::fmt_http_date(now);
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    for part in [b"POST", md5.as_bytes(), content_type, date.as_bytes()] {
        mac.update(part);
        mac.update(b"\n");
    }
    mac.update(target.as_bytes());
    let signature = format!("EAS {}", STANDARD.encode(mac.finalize().into_bytes()));
    for (name, text) in [(CONTENT_MD5, md5), (DATE, date), (AUTHORIZATION, signature)] {
        let Ok(value) = HeaderValue::try_from(text) else {
            unreachable!("digits, a date and base64 are visible ASCII")
        };
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Mon, 23 Nov 2026 07:21:57 GMT
    fn then() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_418_517)
    }

    fn signed(body: &[u8], target: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        Authorization::Signed("tok".to_owned()).apply(&mut headers, body, target, then());
        headers
    }

    /// The first vector was captured from the official Python SDK.
    #[test]
    fn golden_vectors() {
        for (body, target, md5, signature) in [
            ("hello", "/api/predict/echo", "5d41402abc4b2a76b9719d911017c592", "EAS 98ZXWMZr3a7S6FTWB4jut+xabjQ="),
            ("body-0", "/api/predict/echo", "0ff85a33ee8c8aa4f59a843d5199909f", "EAS tKzwaI7YyUh0n1rHfA61SX5U1Mk="),
            (
                "hello",
                "/api/predict/echo/v1?uid=a+b",
                "5d41402abc4b2a76b9719d911017c592",
                "EAS xoLZxWM9UPtyEDBnbKZjObqs11E=",
            ),
        ] {
            let headers = signed(body.as_bytes(), target);
            assert_eq!(headers[DATE], "Mon, 23 Nov 2026 07:21:57 GMT");
            assert_eq!(
                (&headers[CONTENT_MD5], &headers[AUTHORIZATION]),
                (&HeaderValue::from_str(md5).unwrap(), &HeaderValue::from_str(signature).unwrap())
            );
        }
    }

    #[test]
    fn tokens_are_shown_or_not() {
        let mut headers = HeaderMap::new();
        Authorization::None.apply(&mut headers, b"", "/", then());
        assert!(headers.is_empty());
        for (scheme, value) in [("", "tok"), ("Bearer ", "Bearer tok")] {
            Authorization::shown(scheme, "tok").unwrap().apply(&mut headers, b"", "/", then());
            assert_eq!(headers[AUTHORIZATION], value);
            assert!(headers[AUTHORIZATION].is_sensitive() && headers.len() == 1);
        }
        assert!(Authorization::shown("", "a\nb").is_err());
    }
}
