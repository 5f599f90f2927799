//! A connection to an upstream.
//!
//! hyper's client needs a task that drives each connection. Here the request on the connection drives it, in the task
//! of the client's own connection. So no other task is woken for a request. Dropping the request closes the connection,
//! which tells the upstream that the answer is no longer needed. Nothing drives an idle connection; it is checked
//! before it is used again.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::failure::{Failure, Reset};
use super::outgoing::{Outgoing, Upload};
use super::tracked::{Progress, Tracked};
use crate::config::Authority;
use crate::limit::poll_limit;
use crate::threads;

/// Most bytes of an answer's head, and of what is read before the client takes it.
const MAX_HEAD: usize = 32 << 10;
const MAX_AHEAD: usize = 128 << 10;
/// The time of a timer before its first limit is set.
const LATER: Duration = Duration::from_secs(60);

pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    driver: Connection<TokioIo<Tracked>, Outgoing>,
    progress: Arc<Progress>,
    /// One timer for all limits. It may fire early; the limits are computed when it does.
    timer: Pin<Box<Sleep>>,
    /// The time at which the connection became idle.
    rests_since: Instant,
    /// The thread whose runtime watches the socket. Each use on another thread wakes that thread.
    pub(super) home: usize,
}

/// A request that got no answer on a connection.
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    /// No byte of it has left.
    pub(super) is_unsent: bool,
    /// The request, if sending it had not begun.
    pub(super) request: Option<Request<Outgoing>>,
}

/// The timeouts of an exchange.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) answer: Duration,
    pub(super) idle: Duration,
}

impl Link {
    pub(super) async fn connect(to: &Authority) -> io::Result<Self> {
        let stream = TcpStream::connect(to.as_str()).await?;
        let _ = stream.set_nodelay(true);
        let progress = Arc::new(Progress::default());
        let io = TokioIo::new(Tracked::new(stream, Arc::clone(&progress)));
        let mut http = Builder::new();
        http.max_header_size(MAX_HEAD).max_buf_size(MAX_AHEAD);
        let (sender, driver) = http.handshake(io).await.map_err(io::Error::other)?;
        let timer = Box::pin(tokio::time::sleep(LATER));
        Ok(Self { sender, driver, progress, timer, rests_since: Instant::now(), home: threads::place() })
    }

    /// True if another request may be sent. A connection on which the upstream has sent something unasked, or that it
    /// has closed, is not used again.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_drive(cx).is_pending() && self.sender.is_ready() && self.takes_more()
    }

    /// True unless a write to the upstream has failed.
    pub(super) fn takes_more(&self) -> bool {
        !self.progress.has_write_failed()
    }

    pub(super) fn rest(&mut self, now: Instant) {
        self.rests_since = now;
    }

    pub(super) fn has_rested(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.rests_since)
    }

    /// Moves bytes; ready at the end of the connection.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.driver).poll(cx).map(|_| ())
    }

    /// Ready once `limit` has passed.
    pub(super) fn poll_limit(&mut self, cx: &mut Context<'_>, limit: Instant) -> Poll<()> {
        poll_limit(self.timer.as_mut(), cx, limit)
    }

    /// Sends a request and waits for the head of its answer. `now` is the current time.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
        patience: Patience,
        now: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut limit = Limit::new(request.body().upload(), patience, now);
        self.progress.begin();
        let Self { sender, driver, timer, progress, .. } = self;
        let mut sending = pin!(sender.try_send_request(request));
        let sent = poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(Ok(sent));
            }
            let ended = Pin::new(&mut *driver).poll(cx);
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(Ok(sent));
            }
            if ended.is_ready() {
                return Poll::Ready(Err(Failure::reset(Reset::ConnectionTermination)));
            }
            limit.poll(cx, timer).map(Err)
        });
        let (failure, request) = match sent.await {
            Ok(Ok(response)) => {
                progress.answered();
                return Ok(response);
            }
            Ok(Err(mut error)) => {
                let request = error.take_message();
                (failure_of(&error.into_error()), request)
            }
            Err(failure) => (failure, None),
        };
        Err(Unanswered { failure, is_unsent: !progress.has_written(), request })
    }
}

/// Returns the failure that hyper's error stands for.
fn failure_of(error: &hyper::Error) -> Failure {
    let is_endless = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    Failure::reset(if error.is_parse() || is_endless { Reset::ProtocolError } else { Reset::ConnectionTermination })
}

/// The limit of the wait for an answer. It counts from the end of the request. The wait ends at once if the rest of the
/// request will not come.
struct Limit {
    patience: Patience,
    /// A body that is still coming, and the number of its bytes at the last check.
    upload: Option<(Arc<Upload>, u64)>,
    at: Instant,
}

impl Limit {
    fn new(upload: Option<Arc<Upload>>, patience: Patience, now: Instant) -> Self {
        let at = now + if upload.is_some() { patience.idle } else { patience.answer };
        Self { patience, upload: upload.map(|upload| (upload, 0)), at }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: &mut Pin<Box<Sleep>>) -> Poll<Failure> {
        let mut waits_for_client = false;
        if let Some((upload, seen)) = &mut self.upload {
            if let Some(broken) = upload.broken() {
                return Poll::Ready(Failure::Request(broken));
            }
            waits_for_client = upload.is_awaited();
            let bytes = upload.bytes();
            if upload.has_ended() {
                self.at = Instant::now() + self.patience.answer;
                self.upload = None;
            } else if bytes != *seen {
                *seen = bytes;
                self.at = Instant::now() + self.patience.idle;
            }
        }
        ready!(poll_limit(timer.as_mut(), cx, self.at));
        Poll::Ready(if waits_for_client { Failure::Stalled } else { Failure::TimedOut })
    }
}
