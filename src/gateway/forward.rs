//! Forwards one request to an upstream, and to a second one if that is safe.
//!
//! A request is sent again, once at most, in two cases: no byte of it has left; or the first upstream's queue was full
//! (450), another upstream can be used, and the body is here whole. Any other request may have been worked on, so only
//! its caller can repeat it.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::response::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Body;

use super::cluster::Cluster;
use super::failure::Failure;
use super::headers::{self, Origin};
use super::outgoing::{Outgoing, Upload};
use super::relay::Relay;
use super::upstream::Upstream;
use crate::call::RequestId;
use crate::header;
use crate::incoming::{Broken, Incoming};

/// The status of an upstream whose queue is full.
const QUEUE_FULL: u16 = 450;

/// A request as it arrived, for an upstream.
pub struct Inbound<'a> {
    pub method: Method,
    /// The target as sent, because a signature covers these bytes.
    pub target: PathAndQuery,
    pub headers: HeaderMap,
    /// The body. It is taken once an upstream has been found.
    pub body: &'a mut Option<Incoming>,
    pub peer: IpAddr,
    pub request_id: RequestId,
}

/// An upstream's answer. Its body is still to come.
pub struct Outbound {
    pub parts: Parts,
    pub relay: Relay,
}

/// The progress of a request, for its account. It is kept even if the request is given up.
#[derive(Default)]
pub struct ForwardProgress {
    /// The upstream to which it was sent last.
    pub upstream: Option<Arc<Upstream>>,
    pub retries: u8,
    /// The time at which it was ready to be sent, with the part of its body that had arrived.
    pub opened: Option<Instant>,
    /// The time at which it got a connection.
    pub connected: Option<Instant>,
    /// The size of its body, if the body was whole.
    whole: usize,
    upload: Option<Arc<Upload>>,
}

impl ForwardProgress {
    /// Returns the number of bytes of the request's body that were passed on.
    pub fn bytes_in(&self) -> usize {
        self.upload.as_ref().map_or(self.whole, |upload| usize::try_from(upload.bytes()).unwrap_or(usize::MAX))
    }

    /// True if the client has more of its request to send, as far as is known.
    pub fn is_unfinished(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.has_ended())
    }
}

/// An attempt that failed.
struct Attempt {
    failure: Failure,
    /// No byte has left, so the request may be sent elsewhere.
    is_unsent: bool,
    /// The connection had been used before, and was closed while it was idle.
    was_reused: bool,
    request: Option<Request<Outgoing>>,
}

pub(super) async fn forward(
    cluster: &Cluster,
    inbound: Inbound<'_>,
    via: &str,
    progress: &mut ForwardProgress,
) -> Result<Outbound, Failure> {
    let Inbound { method, target, mut headers, body, peer, request_id } = inbound;
    let first = cluster.pick(None, Instant::now()).ok_or(Failure::NoHealthyUpstream)?;
    let expects_leave = headers::expects_leave(&mut headers);
    headers::outbound(&mut headers, &Origin { peer, request_id, via })?;
    headers::ensure_host(&mut headers, first.address());
    let body = body.take().ok_or(Failure::Request(Broken::CutOff))?;
    let request = outgoing(method, target, headers, body, expects_leave, progress).await?;
    let now = Instant::now();
    progress.opened = Some(now);

    let can_retry = cluster.has_another(first, now);
    let kept = if can_retry { again(&request) } else { None };
    let Attempt { failure, is_unsent, was_reused, request } =
        match attempt(cluster, first, request, now, progress).await {
            Ok(answer) if answer.parts.status.as_u16() == QUEUE_FULL => {
                let Some((kept, second)) = kept.zip(cluster.pick(Some(first), now)) else { return Ok(answer) };
                first.retried();
                progress.retries = 1;
                let other = attempt(cluster, second, kept, Instant::now(), progress).await;
                // If the second upstream does not answer, the full queue of the first is the answer.
                return Ok(other.unwrap_or(answer));
            }
            Ok(answer) => return Ok(answer),
            Err(attempt) => attempt,
        };
    let second = cluster.pick(Some(first), now).or_else(|| was_reused.then_some(first));
    let (Some(second), Some(request), true) = (second, request.or(kept), is_unsent) else { return Err(failure) };
    first.retried();
    progress.retries = 1;
    let answer = attempt(cluster, second, request, Instant::now(), progress).await;
    answer.map_err(|attempt| attempt.failure.after_a_retry())
}

/// Makes the request for the upstream, with the framing that its body needs.
async fn outgoing(
    method: Method,
    target: PathAndQuery,
    mut headers: HeaderMap,
    body: Incoming,
    expects_leave: bool,
    progress: &mut ForwardProgress,
) -> Result<Request<Outgoing>, Failure> {
    let mut on_leave = None;
    let body = if expects_leave && !body.is_end_stream() {
        let (body, grant) = Outgoing::with_leave(body);
        on_leave = Some(grant);
        body
    } else {
        Outgoing::open(body).await?
    };
    progress.upload = body.upload();
    match (&body, body.length()) {
        (Outgoing::Whole(whole), _) => {
            header::remove(&mut headers, |name| *name == EXPECT);
            progress.whole = whole.len();
            // hyper does not know which methods have a body even if it is empty (RFC 9110 §8.6).
            if whole.is_empty() && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        // hyper would send a body of unknown length only with some methods.
        (Outgoing::Streamed(_), None) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        (Outgoing::Streamed(_), Some(_)) => {}
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    if let Some(grant) = on_leave {
        hyper::ext::on_informational(&mut request, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                grant();
            }
        });
    }
    Ok(request)
}

/// Copies the request, if its body can be copied.
fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

async fn attempt(
    cluster: &Cluster,
    upstream: &Arc<Upstream>,
    request: Request<Outgoing>,
    now: Instant,
    progress: &mut ForwardProgress,
) -> Result<Outbound, Attempt> {
    progress.upstream = Some(Arc::clone(upstream));
    let method = request.method().clone();
    let patience = cluster.patience();
    let mut lease = match upstream.lease(now, now + patience.answer).await {
        Ok(lease) => lease,
        Err(failure) => {
            cluster.failed(upstream, failure, Instant::now());
            return Err(Attempt { failure, is_unsent: true, was_reused: false, request: Some(request) });
        }
    };
    progress.connected = Some(Instant::now());
    let was_reused = lease.is_reused;
    let response = match lease.link().send(request, patience, now).await {
        Ok(response) => response,
        Err(unanswered) => {
            let (failure, is_unsent) = (unanswered.failure, unanswered.is_unsent);
            // A connection that was closed while it was idle says nothing about the upstream.
            if !(was_reused && is_unsent) {
                cluster.failed(upstream, failure, Instant::now());
            }
            return Err(Attempt { failure, is_unsent, was_reused, request: unanswered.request });
        }
    };
    let (mut parts, incoming) = response.into_parts();
    let now = Instant::now();
    // True if the upstream reads no more of the request.
    let is_last = progress.is_unfinished() && (headers::closes(&parts) || !lease.link().takes_more());
    if let Err(failure) = headers::inbound(&mut parts, &method) {
        cluster.failed(upstream, failure, now);
        return Err(Attempt { failure, is_unsent: false, was_reused, request: None });
    }
    // After a 408 no more of the request is expected from the client (RFC 9110 §15.5.9).
    if is_last || parts.status == StatusCode::REQUEST_TIMEOUT {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    cluster.answered(upstream, parts.status, now);
    let mut upload = progress.upload.clone().filter(|upload| !upload.has_ended());
    let mut coming = Some((incoming, lease));
    let relay = poll_fn(|cx| {
        let (incoming, lease) = coming.take().expect("this is polled once");
        Poll::Ready(Relay::new(incoming, lease, upload.take(), patience.idle, now, cx))
    });
    Ok(Outbound { parts, relay: relay.await })
}
