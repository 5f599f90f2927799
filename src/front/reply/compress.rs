//! Compresses answers in a coding that the client accepts, as `Accept-Encoding` says.
//!
//! Only answers that gain are compressed: bodies over a kilobyte whose type is some kind of text. An answer whose form
//! the processor has set itself stays unchanged.

use std::time::Instant;

use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, ETAG, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::call::{Answer, Body};
use crate::coding::{Coding, encode};
use crate::front::body::offload::Offload;
use crate::header;

/// Bodies up to this size are not compressed: the headers would outweigh the gain.
const LEAST: usize = 1 << 10;
/// Bodies up to this size are compressed on the network thread, in a fraction of a millisecond.
const BRIEF: usize = 32 << 10;
/// Headers with a hash of the body. It would not match the compressed body.
const HASHES: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// The length of the plain body. Without this header the Java SDK's `setDecompressor(LZ4)` does not decompress.
const LZ4_LENGTH: HeaderName = HeaderName::from_static("x-lz4-original-length");

/// The form of answer that the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) enum Wanted {
    /// Compression is off for the service, so there is nothing to negotiate.
    Nothing,
    /// The plain form. Another client might get another form, so the answer needs `Vary`.
    Plain,
    Coded(Coding),
}

impl Wanted {
    /// Negotiates for HEAD as for GET: the answer to HEAD has the headers of the compressed form, its length included,
    /// and no body (RFC 9110 §9.3.2).
    pub(in crate::front) fn of(headers: &HeaderMap, service_compresses: bool) -> Self {
        if !service_compresses {
            return Self::Nothing;
        }
        negotiate(headers).map_or(Self::Plain, Self::Coded)
    }
}

/// Compresses the answer as negotiated, if that is finished by `deadline` and makes the body shorter. A stream stays
/// plain, because it is sent as it arrives.
pub(in crate::front) async fn compress(answer: &mut Answer, wanted: Wanted, deadline: Instant, offload: &Offload) {
    if wanted == Wanted::Nothing || !gains(answer) {
        return;
    }
    let Some(plain) = answer.body.whole().cloned() else { return };
    vary(&mut answer.headers);
    let Wanted::Coded(coding) = wanted else { return };
    let length = plain.len();
    let coded = match plain.len() {
        0..=BRIEF => encode(coding, &plain),
        _ => Box::pin(offload.run(deadline, move |_| encode(coding, &plain))).await.flatten(),
    };
    let Some(coded) = coded.filter(|coded| coded.len() < length) else { return };
    let headers = &mut answer.headers;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    if coding == Coding::Lz4 {
        headers.insert(LZ4_LENGTH, length.into());
    }
    header::remove(headers, |name| *name == ACCEPT_RANGES);
    weaken(headers);
    answer.body = Body::Whole(coded.into());
}

/// True if compression is useful and allowed.
fn gains(answer: &Answer) -> bool {
    let Answer { status, content_type, headers, body } = answer;
    body.whole().is_some_and(|bytes| bytes.len() > LEAST)
        && !matches!(
            *status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
        // An answer without a type is sent as text/html.
        && content_type.as_ref().is_none_or(|value| is_text(value.as_bytes()))
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !HASHES.iter().any(|hash| headers.contains_key(hash))
        && !lists(headers, &CACHE_CONTROL, b"no-transform")
}

/// True for text, JSON, XML and formats like them.
fn is_text(content_type: &[u8]) -> bool {
    const TYPES: [&[u8]; 8] = [
        b"application/json",
        b"application/x-ndjson",
        b"application/xml",
        b"application/javascript",
        b"application/yaml",
        b"application/protobuf",
        b"application/x-protobuf",
        b"application/vnd.google.protobuf",
    ];
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    let name = content_type[..end].trim_ascii().to_ascii_lowercase();
    let is_like = |suffix: &[u8]| name.ends_with(suffix);
    // Events are not compressed, however many come at once: clients read them as they come.
    name.starts_with(b"text/") && name != b"text/event-stream"
        || TYPES.contains(&&*name)
        || is_like(b"+json")
        || is_like(b"+xml")
}

/// Adds `Vary`, so that caches keep the forms apart (RFC 9110 §12.5.5).
fn vary(headers: &mut HeaderMap) {
    if !lists(headers, &VARY, b"accept-encoding") && !lists(headers, &VARY, b"*") {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes `ETag` weak: a strong validator belongs to one form alone (RFC 9110 §8.8.3.3).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    let mut words = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(word))
}

/// Returns the coding with the highest weight in `Accept-Encoding`; among equals, the first in [`Coding::ALL`]. `None`
/// for no coding (RFC 9110 §12.5.3).
///
/// A client without the header gets no coding. A client that refuses every form, even the plain one, gets the plain
/// one: it is more useful than no answer.
fn negotiate(headers: &HeaderMap) -> Option<Coding> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let items = || {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).filter_map(item)
    };
    let weight_of =
        |is_named: &dyn Fn(&[u8]) -> bool| items().find(|(name, _)| is_named(name)).map(|(_, weight)| weight);
    let of_others = weight_of(&|name| name == b"*");
    let mut best: Option<(Coding, u16)> = None;
    for coding in Coding::ALL {
        // `*` stands for gzip alone, because every client knows it.
        let by_default = of_others.filter(|_| coding == Coding::Gzip);
        let weight = weight_of(&|name| Coding::named(name) == Some(coding)).or(by_default).unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((coding, weight));
        }
    }
    let plain = weight_of(&|name| name.eq_ignore_ascii_case(b"identity")).unwrap_or(0);
    best.filter(|(_, weight)| *weight >= plain).map(|(coding, _)| coding)
}

/// Parses a name and its weight in thousandths; `None` if it is malformed.
fn item(text: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let Some(parameter) = parts.next() else { return Some((name, 1000)) };
    let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    Some((name, header::weight(weight)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(values: &[&'static str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        negotiate(&headers)
    }

    #[test]
    fn the_weights_of_a_client_decide_and_then_we_do() {
        for (asked, given) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip, br, zstd", Some(Coding::Gzip)),
            ("gzip;q=0.5, zstd;q=0.501", Some(Coding::Zstd)),
            ("x-GZIP ; q=1.000", Some(Coding::Gzip)),
            ("zlib", Some(Coding::Deflate)),
            ("lz4", Some(Coding::Lz4)),
            ("snappy, lz4;q=0.9", Some(Coding::Snappy)),
            ("*", Some(Coding::Gzip)),
            ("*, gzip;q=0", None),
            ("br, *;q=0.1", Some(Coding::Gzip)),
            ("identity;q=0, *", Some(Coding::Gzip)),
            ("identity", None),
            ("identity, gzip;q=0.9", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.0", None),
            ("*;q=0", None),
            ("identity;q=0", None),
            ("br", None),
            ("", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;level=1", None),
            ("gzip;q=x, deflate", Some(Coding::Deflate)),
        ] {
            assert_eq!(negotiated(&[asked]), given, "{asked:?}");
        }
        assert_eq!(negotiated(&["br", "zstd"]), Some(Coding::Zstd), "values of several lines are one list");
        assert_eq!(negotiated(&[]), None);
    }

    fn answer(content_type: Option<&'static str>, headers: &[(&'static str, &'static str)], size: usize) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer {
            status: StatusCode::OK,
            content_type: content_type.map(HeaderValue::from_static),
            headers: headers.collect(),
            body: Body::Whole(vec![b'x'; size].into()),
        }
    }

    #[test]
    fn only_long_text_that_nobody_has_arranged_otherwise_is_compressed() {
        for content_type in [
            None,
            Some("text/plain"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/problem+json"),
            Some("image/svg+xml"),
        ] {
            assert!(gains(&answer(content_type, &[], LEAST + 1)), "{content_type:?}");
            assert!(!gains(&answer(content_type, &[], LEAST)), "{content_type:?}");
        }
        for content_type in ["application/octet-stream", "image/png", "application/gzip", "x"] {
            assert!(!gains(&answer(Some(content_type), &[], 9000)), "{content_type}");
        }
        for header in [
            ("content-encoding", "br"),
            ("content-encoding", "identity"),
            ("cache-control", "max-age=1, No-Transform"),
            ("content-range", "bytes 0-1/2"),
            ("content-md5", "x"),
        ] {
            assert!(!gains(&answer(None, &[header], 9000)), "{header:?}");
        }
        let partial = Answer { status: StatusCode::PARTIAL_CONTENT, ..answer(None, &[], 9000) };
        assert!(!gains(&partial));
    }

    #[tokio::test]
    async fn the_headers_go_with_the_form() {
        let executor = std::sync::Arc::new(crate::admission::Executor::new(1).unwrap());
        let offload = Offload::new(executor, 1);
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let given = || answer(None, &[("etag", "\"v1\""), ("accept-ranges", "bytes"), ("vary", "origin")], 100_000);
        let formed = async |wanted, deadline| {
            let mut answer = given();
            compress(&mut answer, wanted, deadline, &offload).await;
            answer
        };
        let coded = formed(Wanted::Coded(Coding::Gzip), deadline).await;
        assert_eq!(
            (coded.headers[CONTENT_ENCODING].as_bytes(), coded.headers[ETAG].as_bytes()),
            (&b"gzip"[..], &b"W/\"v1\""[..])
        );
        assert!(coded.body.whole().unwrap().len() < 1000 && !coded.headers.contains_key(ACCEPT_RANGES));
        assert!(lists(&coded.headers, &VARY, b"accept-encoding") && lists(&coded.headers, &VARY, b"origin"));

        let plain = formed(Wanted::Plain, deadline).await;
        assert_eq!((plain.body.whole().unwrap().len(), plain.headers[ETAG].as_bytes()), (100_000, &b"\"v1\""[..]));
        assert!(lists(&plain.headers, &VARY, b"accept-encoding"), "another client would be given another form");
        let nothing = formed(Wanted::Nothing, deadline).await;
        assert_eq!(nothing.headers[VARY], "origin");

        // Too late to compress, but not too late to answer.
        let late = formed(Wanted::Coded(Coding::Gzip), Instant::now()).await;
        assert_eq!((late.body.whole().unwrap().len(), late.headers.get(CONTENT_ENCODING)), (100_000, None));
    }
}
