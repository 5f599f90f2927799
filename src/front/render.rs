//! Turns an outcome into the response that is sent.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value, json};

use super::exchange::Times;
use super::refusal::{Connection, Refusal, title};
use super::relayed::{Content, Relayed};
use crate::call::{Answer, RequestId};
use crate::config::Expose;
use crate::policy::Limited;
use crate::telemetry::push_ms;

pub(super) type Reply = Response<Content>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const FUEL: HeaderName = HeaderName::from_static("x-bulkhead-fuel");
const NOSNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
const SANDBOXED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("content-security-policy"), HeaderValue::from_static("sandbox"));
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// A test holds it against [`Coding::ALL`](crate::coding::Coding::ALL).
const ACCEPTED_CODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd, deflate, lz4, snappy");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// What EAS serves where a processor names no type.
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What every reply of a service says about its request, as the service allows.
pub(super) struct About {
    pub(super) request_id: RequestId,
    pub(super) times: Times,
    pub(super) fuel: Option<u64>,
    pub(super) expose: Option<Expose>,
}

pub(super) fn answer(answer: Answer, about: &About) -> Reply {
    let bodiless =
        matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodiless { Bytes::new() } else { answer.body };
    let mut reply = Response::new(Content::Whole(body));
    *reply.status_mut() = answer.status;
    set_reason(&mut reply);
    let headers = reply.headers_mut();
    *headers = answer.headers;
    let content_type = answer.content_type.unwrap_or(DEFAULT_TYPE);
    // A browser must not run what a processor wrote with the rights of this origin.
    if can_hold_script(&content_type) {
        headers.insert(SANDBOXED.0, SANDBOXED.1);
    }
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    tell_about(headers, about);
    reply
}

/// An upstream's answer, as it is.
pub(super) fn forwarded(parts: Parts, body: Relayed, about: &About) -> Reply {
    let mut reply = Response::from_parts(parts, Content::Relayed(Box::new(body)));
    tell_about(reply.headers_mut(), about);
    reply
}

pub(super) fn refusal(refusal: &Refusal, about: &About, can_go_on: bool) -> Reply {
    let row = refusal.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body) = match refusal {
        // A processor's own words go out as they are.
        Refusal::ProcessorStatus { message, .. } => (TEXT, Bytes::from(message.clone())),
        _ => (PROBLEM, Bytes::from(problem(refusal, about).to_string())),
    };
    let mut reply = Response::new(Content::Whole(body));
    *reply.status_mut() = status;
    set_reason(&mut reply);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    match refusal {
        Refusal::Unauthorized(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::MethodNotAllowed { allow } => {
            if let Ok(allow) = HeaderValue::from_str(allow) {
                headers.insert(ALLOW, allow);
            }
        }
        // RFC 9110 §15.5.16: what would be taken.
        Refusal::CodingUnknown { .. } | Refusal::TooManyCodings { .. } => {
            headers.insert(ACCEPT_ENCODING, ACCEPTED_CODINGS);
        }
        Refusal::RateLimited(Limited { retry_after, .. }) | Refusal::TooManyFailures { retry_after } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_millis().div_ceil(1000).max(1) as u64));
        }
        Refusal::NotReady => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    if row.connection == Connection::Close || !can_go_on {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    tell_about(headers, about);
    reply
}

/// RFC 9457, with `code`, `request_id`, and for what took too long or never began, what the time went on.
fn problem(refusal: &Refusal, about: &About) -> Value {
    let row = refusal.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut problem = Map::new();
    problem.insert("type".into(), "about:blank".into());
    problem.insert("title".into(), title(status).into());
    problem.insert("status".into(), row.status.into());
    problem.insert("detail".into(), refusal.detail().into_owned().into());
    problem.insert("code".into(), row.code.into());
    problem.insert("request_id".into(), about.request_id.as_str().into());
    if let Some(hint) = refusal.hint() {
        problem.insert("hint".into(), hint.into());
    }
    if matches!(refusal, Refusal::DeadlineExceeded { .. } | Refusal::SlowHead | Refusal::QueueFull { .. }) {
        let Times { receive, queue, run, .. } = about.times;
        let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        problem.insert("spent_ms".into(), json!({"receive": ms(receive), "queue": ms(queue), "run": ms(run)}));
    }
    if let Refusal::ProcessorException { stack, .. } = refusal
        && !stack.is_empty()
        && about.expose.is_some_and(|expose| expose.stack)
    {
        problem.insert("stack".into(), stack.lines().collect());
    }
    Value::Object(problem)
}

fn tell_about(headers: &mut HeaderMap, about: &About) {
    if let Ok(id) = HeaderValue::from_str(about.request_id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    let Some(expose) = about.expose else { return };
    if expose.timing {
        let Times { receive, queue, run, .. } = about.times;
        let mut text = String::with_capacity(64);
        for (stage, time) in [("receive;dur=", receive), (", queue;dur=", queue), (", run;dur=", run)] {
            text.push_str(stage);
            push_ms(&mut text, time);
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(SERVER_TIMING, value);
        }
    }
    if let (true, Some(fuel)) = (expose.fuel, about.fuel) {
        headers.insert(FUEL, HeaderValue::from(fuel));
    }
}

/// Names the statuses that no standard names; a client shows the phrase to people.
fn set_reason(reply: &mut Reply) {
    let status = reply.status();
    if status.canonical_reason().is_none() {
        reply.extensions_mut().insert(ReasonPhrase::from_static(title(status).as_bytes()));
    }
}

fn can_hold_script(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    [b"text/html".as_slice(), b"text/xml", b"application/x", b"image/svg"]
        .iter()
        .any(|kind| bytes.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::Coding;

    #[test]
    fn what_is_accepted_is_what_can_be_decoded() {
        assert_eq!(ACCEPTED_CODINGS, Coding::ALL.map(Coding::name).join(", "));
    }
}
