//! Receives a body whole, within its bounds of size and time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::refusal::Refusal;
use super::wire::Wire;

/// A refused request's body is read away up to here, so that its connection can go on.
const MAX_DISCARD: u64 = 64 << 10;
const DISCARD_TIME: Duration = Duration::from_millis(20);
/// A body of unknown length begins with this much room.
const FIRST_ROOM: usize = 16 << 10;

/// Refuses a body whose declared length is over the limit; nothing of it has been read then.
pub(super) fn check_declared(headers: &HeaderMap, limit: usize) -> Result<(), Refusal> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > limit as u64 => Err(Refusal::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}

pub(super) async fn receive(
    mut body: Incoming,
    limit: usize,
    deadline: Instant,
    keepalive: Duration,
    wire: &Wire,
) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut receiving = pin!(collect(&mut body, limit, wire));
    // Most bodies are here already, and ask for no timer.
    if let Poll::Ready(received) = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await {
        return received;
    }
    match tokio::time::timeout_at(deadline.into(), receiving).await {
        Ok(received) => received,
        Err(_) => Err(Refusal::DeadlineExceeded { limit: keepalive }),
    }
}

async fn collect(body: &mut Incoming, limit: usize, wire: &Wire) -> Result<Bytes, Refusal> {
    let Some(first) = data(body, wire).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(Refusal::BodyTooLarge { limit });
    }
    // Most bodies come in one piece and are handed on as they are.
    if body.is_end_stream() {
        return Ok(first);
    }
    let expected = body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok());
    let room = expected.map_or(FIRST_ROOM, |rest| rest.saturating_add(first.len()));
    let mut whole = BytesMut::with_capacity(room.min(limit));
    whole.extend_from_slice(&first);
    while let Some(piece) = data(body, wire).await? {
        if whole.len() + piece.len() > limit {
            return Err(Refusal::BodyTooLarge { limit });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next piece; trailers are passed over.
async fn data(body: &mut Incoming, wire: &Wire) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
            Err(_) => return Err(fault(wire)),
        }
    }
    Ok(None)
}

/// What is wrong with a body that hyper gives up. What the guard did not see, hyper found: over-long chunk extensions or
/// trailers.
pub(super) fn fault(wire: &Wire) -> Refusal {
    let malformed = || Refusal::BadRequest("the body is malformed".into());
    wire.body_fault().map_or_else(malformed, Refusal::from)
}

/// Reads the body of a refused request away if that is quickly done; true if the connection can go on.
pub(super) async fn discard(mut body: Incoming, expects_continue: bool) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // A client that waits for leave to send has sent nothing, and asking for a piece would give it leave.
    if expects_continue || body.size_hint().lower() > MAX_DISCARD {
        return false;
    }
    let read_away = async {
        let mut left = MAX_DISCARD;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(rest) = left.checked_sub(length) else { return false };
            left = rest;
        }
        true
    };
    tokio::time::timeout(DISCARD_TIME, read_away).await.unwrap_or(false)
}
