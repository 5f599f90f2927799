//! The encoding that a client accepts.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use crate::header::weight;

const PROTOBUF: &str = "application/vnd.google.protobuf";
const JSON: &str = "application/json";

/// An encoding of items and attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Protobuf,
    Json,
}

impl Media {
    /// Chooses Protocol Buffers if a client names it in `Accept`, with any weight but 0, and JSON otherwise. A client
    /// that accepts neither gets JSON as well.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let mut ranges = headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        if ranges.any(is_protobuf) { Self::Protobuf } else { Self::Json }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => JSON,
        })
    }
}

/// True for a media range that is the type of Protocol Buffers. A malformed weight is ignored.
fn is_protobuf(range: &[u8]) -> bool {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(PROTOBUF.as_bytes()));
    let is_excluded = parts.any(|parameter| match parameter {
        [b'q' | b'Q', b'=', text @ ..] => weight(text) == Some(0),
        _ => false,
    });
    is_named && !is_excluded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str]) -> Media {
        let headers = values.iter().fold(HeaderMap::new(), |mut headers, value| {
            headers.append(ACCEPT, value.parse().unwrap());
            headers
        });
        Media::accepted(&headers)
    }

    #[test]
    fn protocol_buffers_are_chosen_if_they_are_named() {
        for values in [
            &["application/vnd.google.protobuf"][..],
            &["Application/VND.google.protobuf"],
            &["application/json, application/vnd.google.protobuf"],
            &["application/json;q=1,application/vnd.google.protobuf;q=0.1"],
            &["*/*", "application/vnd.google.protobuf"],
            &["  application/vnd.google.protobuf ; charset=utf-8 ; q=0.001 ,"],
            &["application/vnd.google.protobuf;q=x"],
        ] {
            assert_eq!(accepted(values), Media::Protobuf, "{values:?}");
        }
    }

    #[test]
    fn everything_else_gets_json() {
        for values in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["application/json"],
            &["application/x-flatbuffers"],
            &["text/html", "application/xhtml+xml;q=0.9"],
            &["application/x-protobuf"],
            &["application/vnd.google.protobuf2"],
            &["application/vnd.google.protobuf;q=0"],
            &["application/vnd.google.protobuf ; Q=0.000, */*"],
            &["text/plain;x=application/vnd.google.protobuf"],
        ] {
            assert_eq!(accepted(values), Media::Json, "{values:?}");
        }
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_bytes(b"\xff\xfe").unwrap())]);
        assert_eq!(Media::accepted(&headers), Media::Json);
    }

    #[test]
    fn content_types_are_those_of_the_protocol() {
        assert_eq!(Media::Protobuf.content_type(), "application/vnd.google.protobuf");
        assert_eq!(Media::Json.content_type(), "application/json");
    }
}
