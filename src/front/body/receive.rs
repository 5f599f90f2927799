//! Receives a whole body, within its limits of size and time.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::incoming::Incoming;
use crate::refusal::{Reached, Refusal};

/// Most bytes of a refused request's body that are read and discarded so that its connection can be used again.
const MAX_DISCARD: u64 = 64 << 10;
const DISCARD_TIME: Duration = Duration::from_millis(20);
/// The first capacity for a body of unknown length.
const FIRST_ROOM: usize = 16 << 10;

/// Parses a declared length, which may have any number of digits (RFC 9112 §6.2). A value that does not fit into `u64`
/// becomes `u64::MAX`, which is over every limit.
pub(in crate::front) fn content_length(value: &[u8]) -> Option<u64> {
    let add = |length: u64, digit: &u8| {
        digit.is_ascii_digit().then(|| length.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, add) }
}

/// Refuses a body whose declared length is over the limit, before any of it is read.
pub(in crate::front) fn check_declared(headers: &HeaderMap, limit: usize) -> Result<(), Refusal> {
    match headers.get(CONTENT_LENGTH).and_then(|value| content_length(value.as_bytes())) {
        Some(length) if length > limit as u64 => Err(Refusal::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}

pub(in crate::front) async fn receive(
    body: Incoming,
    limit: usize,
    deadline: Instant,
    keepalive: Duration,
) -> Result<Bytes, Refusal> {
    let arriving = match body {
        // Most bodies arrive together with their head.
        Incoming::Whole(whole) if whole.len() <= limit => return Ok(whole),
        Incoming::Whole(_) => return Err(Refusal::BodyTooLarge { limit }),
        arriving @ Incoming::Arriving(_) => arriving,
    };
    // Boxed, so that the future of a request whose body has arrived reserves no memory for this wait.
    match Box::pin(tokio::time::timeout_at(deadline.into(), collect(arriving, limit))).await {
        Ok(received) => received,
        Err(_) => Err(Refusal::DeadlineExceeded { limit: keepalive, reached: Reached::Body }),
    }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let expected = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut whole = BytesMut::with_capacity(expected.unwrap_or(FIRST_ROOM).min(limit));
    loop {
        let has_more = append(&mut body, &mut whole, limit).await?;
        if whole.len() > limit {
            return Err(Refusal::BodyTooLarge { limit });
        }
        if !has_more {
            return Ok(whole.freeze());
        }
    }
}

/// Appends the next bytes; false at the end. Bytes that are announced and exceed the limit are not waited for: a chunk
/// states its length first.
async fn append(body: &mut Incoming, whole: &mut BytesMut, limit: usize) -> Result<bool, Refusal> {
    let Incoming::Arriving(arriving) = body else { return Ok(body.append(whole).await?) };
    let appended = poll_fn(|cx| match arriving.as_mut().poll_append(cx, whole) {
        Poll::Pending if arriving.size_hint().lower() > limit.saturating_sub(whole.len()) as u64 => Poll::Ready(None),
        appended => appended.map(Some),
    });
    Ok(appended.await.ok_or(Refusal::BodyTooLarge { limit })??)
}

/// Reads and discards the body of a refused request if that is quick; true if the connection can be used again.
pub(in crate::front) async fn discard(mut body: Incoming, expects_continue: bool) -> bool {
    if let Incoming::Whole(whole) = &body {
        return whole.is_empty() || !expects_continue;
    }
    // A client that waits for `100 Continue` has sent no body, and reading would send it `100 Continue`.
    if expects_continue || body.size_hint().lower() > MAX_DISCARD {
        return false;
    }
    // Boxed, because few requests need the memory of this future.
    let read_away = Box::pin(async move {
        let mut left = MAX_DISCARD;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(rest) = left.checked_sub(length) else { return false };
            left = rest;
        }
        true
    });
    tokio::time::timeout(DISCARD_TIME, read_away).await.unwrap_or(false)
}
