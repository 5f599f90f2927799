//! One try: sends a request on a connection and reads the whole answer before the deadline.

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::error::{Error, Fault, Refused, Unread};
use crate::pool::{Connection, Lost, Pool};
use crate::request::Response;

/// Sends `request` to `address` and reads the whole answer, whatever its status.
pub(crate) async fn exchange(
    pool: &Pool,
    address: &Address,
    mut request: Request<Full<Bytes>>,
    deadline: Instant,
    max_bytes: usize,
) -> Result<Response, Error> {
    let failed = |fault, cause: &dyn std::fmt::Display| Error::transport(fault, &address.name(), cause);
    loop {
        let mut lent = pool.lend(address, deadline).await?;
        match timeout_at(deadline, lent.send(request)).await {
            Ok(Ok(response)) => {
                let response = read(response, deadline, max_bytes).await?;
                lent.give_back().await;
                return Ok(response);
            }
            // The server has closed an idle connection, as it may. Nothing was sent, so another connection is tried.
            Ok(Err(Lost::Unsent(unsent, _))) if lent.is_used => request = *unsent,
            Ok(Err(Lost::Unsent(_, error))) => return Err(failed(Fault::ConnectionFailed, &told(&error))),
            Ok(Err(Lost::Sent(error))) if error.is_parse() => return Err(failed(Fault::Senseless, &told(&error))),
            Ok(Err(Lost::Sent(error))) => return Err(failed(Fault::BrokenOff, &told(&error))),
            Err(elapsed) => return Err(failed(Fault::ReadTimeout, &elapsed)),
        }
    }
}

/// Sends `request` to `address` on a connection of its own. Returns the connection and the body of the answer if its
/// status is 200; any other answer is read and is an error.
pub(crate) async fn begin(
    pool: &Pool,
    address: &Address,
    request: Request<Full<Bytes>>,
    deadline: Instant,
    max_bytes: usize,
) -> Result<(Connection, Incoming), Error> {
    let failed = |fault, cause: &dyn std::fmt::Display| Error::transport(fault, &address.name(), cause);
    let mut connection = pool.dedicate(address, deadline).await?;
    match timeout_at(deadline, connection.send(request)).await {
        Ok(Ok(response)) if response.status() == http::StatusCode::OK => Ok((connection, response.into_body())),
        Ok(Ok(response)) => {
            let response = read(response, deadline, max_bytes).await?;
            Err(Error::Refused(Box::new(Refused::from_response(response))))
        }
        Ok(Err(Lost::Unsent(_, error))) => Err(failed(Fault::ConnectionFailed, &told(&error))),
        Ok(Err(Lost::Sent(error))) if error.is_parse() => Err(failed(Fault::Senseless, &told(&error))),
        Ok(Err(Lost::Sent(error))) => Err(failed(Fault::BrokenOff, &told(&error))),
        Err(elapsed) => Err(failed(Fault::ReadTimeout, &elapsed)),
    }
}

async fn read(response: http::Response<Incoming>, deadline: Instant, limit: usize) -> Result<Response, Error> {
    let (head, mut incoming) = response.into_parts();
    let mut response = Response { status: head.status.as_u16(), headers: head.headers, body: Bytes::new() };
    // The announced length is only compared. It reserves no memory.
    if incoming.size_hint().lower() > limit as u64 {
        return Err(response.unreadable(Unread::TooLarge { limit }));
    }
    let mut body = BytesMut::new();
    loop {
        match timeout_at(deadline, incoming.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if data.len() > limit - body.len() {
                    return Err(response.unreadable(Unread::TooLarge { limit }));
                }
                body.extend_from_slice(&data);
            }
            Ok(Some(Err(error))) => return Err(response.unreadable(Unread::BrokenOff(told(&error)))),
            Ok(None) => break,
            Err(_) => return Err(response.unreadable(Unread::Timeout)),
        }
    }
    response.body = body.freeze();
    Ok(response)
}

/// Returns the error with its causes. The message of hyper's error alone says little.
fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
