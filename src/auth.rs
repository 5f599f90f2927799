//! Authentication of callers: the three forms of `Authorization` that EAS clients use.
//!
//! `Authorization: <token>` (curl), `Authorization: Bearer <token>` (clients of other services), and
//! `Authorization: EAS <signature>` (the official SDKs, see [`signature`]). Secrets are compared in constant time.

mod attempts;
mod signature;
mod tokens;
mod unencoded;

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

pub use self::attempts::{Attempts, Denied, TooManyFailures, origin};
use self::signature::Signature;
pub use self::tokens::Tokens;
use self::unencoded::unencoded;
use crate::config::Token;

/// A caller whose authorization has been checked. Only [`authenticate`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Caller(Proof);

/// The proof that a caller has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// None was given, and none was needed.
    Nothing,
    Token,
    Signature,
}

impl Caller {
    /// True if the service is open to all.
    pub fn is_anybody(self) -> bool {
        self.0 == Proof::Nothing
    }

    pub fn has_signed(self) -> bool {
        self.0 == Proof::Signature
    }
}

/// The reason why a caller is refused. It says nothing about the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthorized {
    Missing,
    /// More than one `Authorization` header: it is not defined which one counts.
    Ambiguous,
    Malformed,
    MalformedSignature,
    WrongToken,
    WrongSignature,
}

impl std::fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no Authorization header; send `Authorization: <token>`",
            Self::Ambiguous => "there is more than one Authorization header",
            Self::Malformed => "the Authorization header is neither a token nor `Bearer <token>` nor `EAS <signature>`",
            Self::MalformedSignature => "the signature is not 20 bytes in base64; send `EAS <base64 of HMAC-SHA1>`",
            Self::WrongToken => "the token is not this service's",
            Self::WrongSignature => "the signature does not match the request and this service's token",
        })
    }
}

/// Checks a request's `Authorization` against the service's tokens. A service without tokens is open to all.
///
/// `target` is the request target as sent, undecoded, with its query. SDKs sign it, or the text that it was encoded
/// from: see [`unencoded`].
///
/// # Errors
/// The reason why the caller is refused.
pub fn authenticate(tokens: Option<&Tokens>, headers: &HeaderMap, target: &str) -> Result<Caller, Unauthorized> {
    let Some(tokens) = tokens else { return Ok(Caller(Proof::Nothing)) };
    let value = authorization(headers)?;
    if let Some(text) = strip_scheme(value, b"EAS") {
        let signature = Signature::parse(text).ok_or(Unauthorized::MalformedSignature)?;
        let is_of = |target: &[u8]| tokens.has_signed(|key| key.made(&signature, headers, target));
        return match is_of(target.as_bytes()) || unencoded(target).is_some_and(|text| is_of(&text)) {
            true => Ok(Caller(Proof::Signature)),
            false => Err(Unauthorized::WrongSignature),
        };
    }
    let candidate = strip_scheme(value, b"Bearer").unwrap_or(value);
    if candidate.is_empty() || !candidate.iter().all(u8::is_ascii_graphic) {
        return Err(Unauthorized::Malformed);
    }
    if tokens.accept(candidate) { Ok(Caller(Proof::Token)) } else { Err(Unauthorized::WrongToken) }
}

/// Returns the token of `Authorization: Bearer <token>`, the only form for operators.
///
/// # Errors
/// The reason why the operator is refused.
pub fn bearer_token(headers: &HeaderMap) -> Result<&[u8], Unauthorized> {
    strip_scheme(authorization(headers)?, b"Bearer").ok_or(Unauthorized::Malformed)
}

fn authorization(headers: &HeaderMap) -> Result<&[u8], Unauthorized> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let value = given.next().ok_or(Unauthorized::Missing)?;
    if given.next().is_some() { Err(Unauthorized::Ambiguous) } else { Ok(value.as_bytes()) }
}

/// Compares in a time that depends only on the lengths.
pub fn is_token(token: &Token, candidate: &[u8]) -> bool {
    token.reveal().as_bytes().ct_eq(candidate).into()
}

/// Returns the text after `scheme` and spaces. Schemes are compared without regard to case (RFC 9110 §11.1).
fn strip_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    head.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Operators' and callers' tokens were once read by different rules.
    #[test]
    fn an_operators_token_is_read_as_a_callers_is() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer_token(&headers).map(<[u8]>::to_vec)
        };
        for right in ["Bearer secret", "bearer secret", "BEARER  secret"] {
            assert_eq!(read(&[right]), Ok(b"secret".to_vec()), "{right}");
        }
        assert_eq!(read(&[]), Err(Unauthorized::Missing));
        assert_eq!(read(&["Bearer secret", "Bearer secret"]), Err(Unauthorized::Ambiguous));
        for malformed in ["secret", "Bearersecret", "EAS secret"] {
            assert_eq!(read(&[malformed]), Err(Unauthorized::Malformed), "{malformed}");
        }
    }

    fn check(values: &[&str]) -> Result<(), Unauthorized> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let token = |text| Token::parse(text).unwrap();
        authenticate(Some(&Tokens::new(token("secret"), Some(token("former")))), &headers, "/").map(|_| ())
    }

    #[test]
    fn raw_and_bearer_tokens() {
        for right in ["secret", "Bearer secret", "bearer secret", "BEARER  secret", "former", "Bearer former"] {
            assert_eq!(check(&[right]), Ok(()), "{right}");
        }
        for wrong in ["secre", "secret1", "Secret", "Bearer Secret", "Bearersecret"] {
            assert_eq!(check(&[wrong]), Err(Unauthorized::WrongToken), "{wrong}");
        }
        for malformed in ["", "Bearer ", "Basic c2VjcmV0", "secret secret"] {
            assert_eq!(check(&[malformed]), Err(Unauthorized::Malformed), "{malformed}");
        }
        assert_eq!(check(&[]), Err(Unauthorized::Missing));
        assert_eq!(check(&["secret", "secret"]), Err(Unauthorized::Ambiguous));
        assert_eq!(check(&["EAS secret"]), Err(Unauthorized::MalformedSignature));
        assert_eq!(check(&["EAS 98ZXWMZr3a7S6FTWB4jut+xabjQ="]), Err(Unauthorized::WrongSignature));
    }

    #[test]
    fn a_service_without_a_token_is_open() {
        assert!(authenticate(None, &HeaderMap::new(), "/").is_ok());
    }
}
