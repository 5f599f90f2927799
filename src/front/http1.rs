//! An HTTP/1 connection: reads a head, has its request answered, writes the answer, and starts again.
//!
//! - Heads are read and checked here ([`head`]). A head that is refused, or not complete in time, goes through the
//!   handler like any other request, so it is counted, logged and answered with a body.
//! - While an answer is computed, the connection keeps reading. Early input is kept for later. If the client disconnects,
//!   the handler is dropped.
//! - After an answer that leaves input unread, the connection is closed for writing first and the input is discarded, so
//!   that a reset does not overtake the answer (RFC 9112 §9.6).
//!
//! The reasons for not using hyper's server: a head is parsed once, by one parser; a request wakes its task once
//! instead of three times; and the connection's state is directly available.

mod framing;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hang_up;
mod head;
mod intake;
mod outlet;
mod request_line;
mod sender;
mod service;

use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Uri};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use self::head::{Head, Scan, Scanner};
use self::intake::Shared;
use self::outlet::{Outlet, Terms, Unsent};
pub(crate) use self::service::{Outgoing, Service, Upgrade, Upgraded};
use super::arrival::{Arrival, Ends};
use super::head::{HeadFault, takes_trailers};
use super::listen::drain::{Drain, FIRST_REQUEST};
use super::listen::linger::Lingering;
use crate::incoming::Incoming;
use crate::limit::poll_limit;

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its last. The answer is 408.
    pub head: Duration,
    /// Before the first byte of a connection. It is closed without an answer.
    pub silent: Duration,
    /// Before the first byte of a further request. The connection is closed without an answer.
    pub idle: Duration,
    /// While the client accepts no byte of an answer. The connection is cut.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(5),
            // A client connects to send something. A connection that has served a request gets more time.
            silent: Duration::from_secs(10),
            // A gateway in front keeps idle connections for 30 s. This must be longer, or the gateway would use closed
            // ones.
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// Returns the idle time that answers promise in `Keep-Alive`, in seconds. It is one second less than the real
    /// limit, so that a client closes first and sends no request into a connection that is being closed. `None` if that
    /// leaves no whole second: some clients read 0 as "for ever".
    fn promised(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.idle.saturating_sub(Duration::from_secs(1)).as_secs())
    }
}

/// Most empty lines before a request (RFC 9112 §2.2). Some clients send an empty line after a body, beyond its length.
const MAX_EMPTY_LINES: usize = 64;
const TOO_MANY_EMPTY_LINES: HeadFault = HeadFault::Malformed("more than 64 empty lines come before the request line");

pub(crate) struct Connection<'a, S> {
    service: &'a S,
    lingering: &'a Lingering,
    ends: Ends,
    patience: Patience,
    /// The number of requests that may still come.
    requests_left: u64,
    /// Once it has begun, the current request is the last. Without a current request, the connection closes.
    drain: Drain,
    intake: Shared,
    outlet: Outlet,
    /// One timer for the head's and the idle limit. It may fire early; the limits are computed when it does.
    timer: Pin<Box<Sleep>>,
    /// The time at which the connection is closed if nothing more arrives.
    idle_until: Instant,
    /// The time that a drain waits for a request to begin.
    drain_patience: Duration,
    /// True if a head was refused. Nothing after it is parsed.
    has_refused: bool,
}

/// The way in which a connection ends.
enum End {
    /// The client has disconnected, or an answer was truncated.
    Gone,
    /// All answers were sent.
    Done,
    /// Another protocol takes over.
    Upgraded(Upgrade),
}

impl<'a, S: Service> Connection<'a, S> {
    /// Creates a connection. `early` are bytes that were read from the socket already.
    pub(crate) fn new(
        service: &'a S,
        lingering: &'a Lingering,
        (stream, early): (TcpStream, &[u8]),
        ends: Ends,
        patience: Patience,
        requests: u64,
        drain: Drain,
    ) -> Self {
        let idle_until = Instant::now() + patience.silent.min(patience.idle);
        let (reading, writing) = stream.into_split();
        Self {
            service,
            lingering,
            ends,
            patience,
            requests_left: requests,
            drain,
            intake: Shared::new(reading, early),
            outlet: Outlet::new(writing, patience.write, patience.promised()),
            timer: Box::pin(tokio::time::sleep_until(idle_until.into())),
            idle_until,
            drain_patience: FIRST_REQUEST,
            has_refused: false,
        }
    }

    /// Serves requests until one side ends the connection.
    pub(crate) async fn serve(mut self) {
        match self.answer_all().await {
            End::Gone => {}
            End::Done => self.farewell().await,
            End::Upgraded(upgrade) => {
                let Self { intake, outlet, .. } = self;
                if let Some((reading, early)) = intake.into_parts()
                    && let Ok(stream) = outlet.into_stream(reading)
                {
                    upgrade(Upgraded { stream, early }).await;
                }
            }
        }
    }

    async fn answer_all(&mut self) -> End {
        while let Some((at, head)) = self.next_head().await {
            self.requests_left = self.requests_left.saturating_sub(1);
            let (arrival, mut terms) = self.arrival(at, head);
            let service = self.service;
            let answering = pin!(service.answer(arrival, self.intake.rules()));
            let Some(Ok(mut reply)) = unless_left(answering, &self.intake).await else { return End::Gone };
            let upgrade = reply.take_upgrade();
            terms.keep_alive &= !self.is_last();
            if !S::REPLIES_EARLY {
                terms.keep_alive &= self.intake.lock().is_between_requests();
            }
            let keep_alive = match self.outlet.send(reply, terms, &self.intake).await {
                Ok(keep_alive) => keep_alive,
                Err(Unsent::Gone | Unsent::Cut) => return End::Gone,
            };
            if let Some(upgrade) = upgrade {
                return End::Upgraded(upgrade);
            }
            let mut intake = self.intake.lock();
            intake.answered();
            if !keep_alive || !intake.is_between_requests() {
                break;
            }
            drop(intake);
            self.idle_until = Instant::now() + self.patience.idle;
            self.drain_patience = Duration::ZERO;
        }
        End::Done
    }

    fn is_last(&self) -> bool {
        self.requests_left == 0 || self.drain.has_begun()
    }

    /// Reads a head and the time of its first byte. The head may be a fault. `None` if no further request comes.
    async fn next_head(&mut self) -> Option<(Instant, Result<Bytes, HeadFault>)> {
        let (mut scanner, mut first_byte, mut empty_lines, mut drained) = (Scanner::default(), None, 0, None);
        poll_fn(|cx| {
            loop {
                let mut intake = self.intake.lock();
                let ahead = intake.ahead();
                // An empty line is not the start of a request and gets no answer. Its line feed may come in a later
                // packet.
                while first_byte.is_none() && ahead.starts_with(b"\r\n") && empty_lines < MAX_EMPTY_LINES {
                    ahead.advance(2);
                    empty_lines += 1;
                }
                if empty_lines == MAX_EMPTY_LINES && ahead.starts_with(b"\r\n") {
                    return Poll::Ready(Some((Instant::now(), Err(TOO_MANY_EMPTY_LINES))));
                }
                let may_be_empty_line = first_byte.is_none() && ahead[..] == *b"\r";
                if !ahead.is_empty() && !may_be_empty_line {
                    let began = *first_byte.get_or_insert_with(Instant::now);
                    match scanner.scan(ahead) {
                        Scan::Complete(len) => return Poll::Ready(Some((began, Ok(ahead.split_to(len).freeze())))),
                        Scan::Refused(fault) => return Poll::Ready(Some((began, Err(fault)))),
                        Scan::Partial => {}
                    }
                }
                match intake.poll_fill(cx) {
                    Poll::Ready(Ok(count)) if count > 0 => continue,
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
                if let Some(began) = first_byte {
                    ready!(poll_limit(self.timer.as_mut(), cx, began + self.patience.head));
                    return Poll::Ready(Some((began, Err(HeadFault::Slow { limit: self.patience.head }))));
                }
                let limit = if self.is_last() {
                    *drained.get_or_insert_with(|| self.idle_until.min(Instant::now() + self.drain_patience))
                } else {
                    self.idle_until
                };
                let has_rested = poll_limit(self.timer.as_mut(), cx, limit).is_ready();
                // Unread bytes in the socket are a request that has begun. The task is about to be woken for them.
                let is_over = has_rested && !intake.has_unread();
                if is_over {
                    intake.ahead().clear();
                    return Poll::Ready(None);
                }
                return Poll::Pending;
            }
        })
        .await
    }

    /// Makes the arrival of a head, or of its fault.
    fn arrival(&mut self, at: Instant, head: Result<Bytes, HeadFault>) -> (Arrival, Terms) {
        let is_head = match &head {
            Ok(head) => head.starts_with(b"HEAD "),
            Err(_) => self.intake.lock().ahead().starts_with(b"HEAD "),
        };
        let ends = self.ends;
        self.intake.rules().reset();
        match head.and_then(|head| Head::read(&head)) {
            Ok(Head { method, uri, headers, body, is_old, keep_alive, expects_leave }) => {
                let body = self.intake.begin(body, expects_leave);
                let (is_head, takes_trailers) = (method == Method::HEAD, takes_trailers(&headers));
                let terms = Terms { is_head, is_old, keep_alive, expects_leave, takes_trailers };
                (Arrival { method, uri, headers, body, fault: None, at, ends }, terms)
            }
            Err(fault) => {
                self.has_refused = true;
                let method = if is_head { Method::HEAD } else { Method::GET };
                let (uri, headers, body) = (Uri::default(), HeaderMap::new(), Incoming::empty());
                let terms = Terms { is_head, ..Terms::default() };
                (Arrival { method, uri, headers, body, fault: Some(fault), at, ends }, terms)
            }
        }
    }

    /// Closes the sending side. Unread input is discarded until the client closes or a limit is reached.
    async fn farewell(mut self) {
        if self.outlet.close().await.is_err() {
            return;
        }
        let has_unread = self.intake.lock().end() || self.has_refused;
        if has_unread {
            let accepted = self.intake.rules().accepted_bytes();
            let reading = self.lingering.read_away(self.outlet.stream(), accepted, &self.drain);
            // Boxed, so that connections which end in another way reserve no memory for this reading.
            Box::pin(reading).await;
        }
    }
}

/// Waits for `work`; `None` if the client disconnects first.
async fn unless_left<F: Future>(mut work: Pin<&mut F>, intake: &Shared) -> Option<F::Output> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => intake.poll_hang_up(cx).map(|()| None),
    })
    .await
}
