//! What a refused caller is told: a problem of RFC 9457, with `code`, `request_id`, and for what took too long or never
//! began, what the time went on.
//!
//! Written straight to text: a host that is full refuses more than it answers.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Serialize, Serializer};

use super::About;
use crate::outcome::Times;
use crate::problem::ErrorMember;
use crate::refusal::{Refusal, title};

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent_ms: Option<SpentMs>,
    /// The guest's frames, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<Vec<&'a str>>,
    error: ErrorMember<'a>,
}

#[derive(Serialize)]
struct SpentMs {
    #[serde(serialize_with = "ms")]
    receive: Duration,
    #[serde(serialize_with = "ms")]
    queue: Duration,
    #[serde(serialize_with = "ms")]
    run: Duration,
}

/// To the microsecond.
fn ms<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

pub(in crate::front) fn body(refusal: &Refusal, about: &About) -> Bytes {
    let row = refusal.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_of_time = row.status == 408 || matches!(refusal, Refusal::QueueFull { .. });
    let Times { receive, queue, run, .. } = about.times;
    let stack = match refusal {
        Refusal::ProcessorException { stack, .. } if about.expose.is_some_and(|expose| expose.stack) => stack.as_str(),
        _ => "",
    };
    let detail = refusal.detail();
    let problem = Problem {
        r#type: "about:blank",
        title: title(status),
        status: row.status,
        detail: &detail,
        code: row.code,
        request_id: about.request_id.as_str(),
        hint: refusal.hint(),
        spent_ms: is_of_time.then_some(SpentMs { receive, queue, run }),
        stack: (!stack.is_empty()).then(|| stack.lines().collect()),
        error: ErrorMember::new(row.status, row.code, &detail),
    };
    // Text and numbers always become JSON.
    serde_json::to_vec(&problem).unwrap_or_default().into()
}
