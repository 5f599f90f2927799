//! The body of a refusal: a problem of RFC 9457, with `code` and `request_id`. If the request took too long or never
//! began, it also has the time spent in each stage.
//!
//! It is serialised straight to bytes, because a full host refuses more requests than it answers.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::About;
use crate::api::{Problem, SpentMs};
use crate::outcome::Times;
use crate::refusal::{Refusal, title};

/// More bytes than the usual problem has, so that the buffer does not grow.
const ROOM: usize = 1 << 10;

pub(in crate::front) fn body(refusal: &Refusal, detail: &str, about: &About) -> Bytes {
    let row = refusal.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_of_time = row.status == 408 || matches!(refusal, Refusal::QueueFull { .. });
    let Times { receive, queue, run, .. } = about.times;
    let stack = match refusal {
        Refusal::ProcessorException { stack, .. } if about.expose.is_some_and(|expose| expose.stack) => stack.as_str(),
        _ => "",
    };
    let problem = Problem {
        request_id: Some(about.request_id.as_str().into()),
        hint: refusal.hint().map(Into::into),
        spent_ms: is_of_time.then(|| SpentMs { receive: ms(receive), queue: ms(queue), run: ms(run) }),
        stack: (!stack.is_empty()).then(|| stack.lines().map(Into::into).collect()),
        ..Problem::new(row.status, title(status), row.code, detail)
    };
    // Text and numbers can always be written as JSON.
    let mut body = Vec::with_capacity(ROOM);
    let _ = serde_json::to_writer(&mut body, &problem);
    body.into()
}

/// Converts to milliseconds, rounded to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
