//! `/metrics`, in the format that a scraper asks for: the text format of Prometheus, or OpenMetrics.
//!
//! OpenMetrics is sent only if `Accept` names it. Without `Accept`, with a wildcard, or with an unknown type the text
//! format is sent, so that a scraper always gets metrics.

use http::header::{ACCEPT, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Reply;
use super::api::text_reply;
use super::problem::Problem;
use super::scrapes::Scrapes;
use crate::header;
use crate::telemetry::{HostNumbers, MetricsFormat, Seen, UpstreamSeen, exposition};

pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A draft version that some scrapers still ask for. The text written here is valid in both versions.
const OPENMETRICS_DRAFT: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8";

/// Answers a scraper that sent `headers`, with the numbers that `look` finds.
pub(super) async fn reply(
    headers: &HeaderMap,
    scrapes: &Scrapes,
    look: impl FnOnce() -> (Vec<Seen>, Vec<UpstreamSeen>, HostNumbers),
) -> Result<Reply, Problem> {
    let content_type = negotiate(headers);
    let format = if content_type == TEXT { MetricsFormat::Text } else { MetricsFormat::OpenMetrics };
    let render = || {
        let (services, upstreams, host) = look();
        exposition(services, upstreams, host, format)
    };
    let text = scrapes.share(format, render).await.map_err(|error| Problem::internal(&error))?;
    let mut reply = text_reply(StatusCode::OK, HeaderValue::from_static(content_type), text);
    reply.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(reply)
}

/// The content type with the highest weight that `Accept` gives (RFC 9110 §12.5.1). Of several with the same weight, the
/// one that is named most exactly counts, then the first.
fn negotiate(headers: &HeaderMap) -> &'static str {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).filter_map(Range::parse);
    let mut best: Option<Range> = None;
    for range in ranges {
        if best.as_ref().is_none_or(|best| range.rank() > best.rank()) {
            best = Some(range);
        }
    }
    best.map_or(TEXT, |range| range.content_type)
}

/// An item of `Accept` that matches one of the formats.
struct Range {
    content_type: &'static str,
    /// The weight in thousandths.
    weight: u16,
    /// 2 for a type that is named, 1 and 0 for wildcards.
    exactness: u8,
}

impl Range {
    /// `None` for an item that matches no format, and for one with weight 0.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let (mut version, mut weight) = (None, 1000);
        for parameter in parts {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("version") => version = Some(value),
                name if name.eq_ignore_ascii_case("q") => weight = header::weight(value.as_bytes())?,
                // The character set is always UTF-8, and no name needs escaping.
                _ => {}
            }
        }
        let (content_type, exactness) = match (media_type.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => (OPENMETRICS, 2),
            ("application/openmetrics-text", Some("0.0.1")) => (OPENMETRICS_DRAFT, 2),
            ("text/plain", None | Some("0.0.4")) => (TEXT, 2),
            ("text/*", _) => (TEXT, 1),
            ("*/*", _) => (TEXT, 0),
            _ => return None,
        };
        (weight > 0).then_some(Self { content_type, weight, exactness })
    }

    fn rank(&self) -> (u16, u8) {
        (self.weight, self.exactness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &[&'static str]) -> &'static str {
        let values = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value)));
        negotiate(&values.collect())
    }

    #[test]
    fn openmetrics_is_for_whoever_names_it_and_text_for_everybody_else() {
        // The values that Prometheus 2.0, 2.45 and 3.0 send.
        let before_openmetrics = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let with_openmetrics = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
             q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let with_escaping = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (&[][..], TEXT),
            (&["*/*"], TEXT),
            (&["text/plain; version=0.0.4"], TEXT),
            (&["text/plain"], TEXT),
            (&["text/*"], TEXT),
            (&["application/json"], TEXT),
            (&["application/*"], TEXT),
            (&["text/html, */*;q=0.8"], TEXT),
            (&[before_openmetrics], TEXT),
            (&[with_openmetrics], OPENMETRICS),
            (&[with_escaping], OPENMETRICS),
            (&["application/openmetrics-text"], OPENMETRICS),
            (&["Application/OpenMetrics-Text; Version=\"1.0.0\""], OPENMETRICS),
            (&["application/openmetrics-text; version=0.0.1"], OPENMETRICS_DRAFT),
            (&["application/openmetrics-text; version=2.0.0"], TEXT),
            (&["application/openmetrics-text;q=0.5, text/plain;q=0.9"], TEXT),
            (&["application/openmetrics-text;q=0.9, text/plain;q=0.5"], OPENMETRICS),
            (&["text/plain;q=0.5", "application/openmetrics-text"], OPENMETRICS),
            (&["application/openmetrics-text;q=0, */*;q=0.1"], TEXT),
            (&["application/openmetrics-text;q=0"], TEXT),
            (&["*/*, application/openmetrics-text"], OPENMETRICS),
            (&["application/openmetrics-text, text/plain"], OPENMETRICS),
            (&["text/plain, application/openmetrics-text"], TEXT),
            (&["application/openmetrics-text;q=high, text/plain;q=0.1"], TEXT),
        ] {
            assert_eq!(negotiated(accept), expected, "{accept:?}");
        }
    }
}
