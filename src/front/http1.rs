//! One connection of HTTP/1: reads a head, has its request answered, writes the answer, and begins again.
//!
//! - Heads are gathered and judged here ([`head`]). One that is refused, or not complete in time, takes the one
//!   road through the line like any other request, and so is counted, logged and answered with a body.
//! - While an answer is being computed the connection keeps reading: what comes early is kept for later, and when the
//!   client leaves, the line is dropped where it stands.
//! - After an answer that leaves input unread, the connection is closed for writing first and the input is read away, so
//!   that a reset does not overtake the answer (RFC 9112 §9.6).
//!
//! Why not hyper's server: a request is read once and judged by one reader, its task is woken once instead of three times,
//! and nothing has to be smuggled past it.

mod framing;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hang_up;
mod head;
mod intake;
mod outlet;
mod request_line;
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
pub(crate) use self::service::{Outgoing, Service};
use super::arrival::{Arrival, Ends};
use super::head::HeadFault;
use super::listen::drain::{Drain, FIRST_REQUEST};
use super::listen::linger::Lingering;
use crate::incoming::Incoming;
use crate::limit::poll_limit;

/// How long a connection may take and rest.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its last: 408.
    pub head: Duration,
    /// Before the first byte of a connection: it is closed without a word.
    pub silent: Duration,
    /// Before the first byte of a further request: likewise.
    pub idle: Duration,
    /// Without a byte taken by a client that is being answered: the connection is cut.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(5),
            // Whoever connects has something to say; a connection that has been of use gets more.
            silent: Duration::from_secs(10),
            // A gateway in front rests its connections for 30 s; ours must outlast them, or it would use dead ones.
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
        }
    }
}

impl Patience {
    /// The idle time that answers promise in `Keep-Alive`, in seconds: one second less than the real limit, so that a
    /// client closes first and sends no request into a connection that is being closed. `None` if that leaves no whole
    /// second: some clients read 0 as "for ever".
    fn promised(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.idle.saturating_sub(Duration::from_secs(1)).as_secs())
    }
}

/// Most empty lines before a request (RFC 9112 §2.2). Some clients send an empty line after a body, beyond its length.
const MAX_EMPTY_LINES: usize = 64;
const TOO_MANY_EMPTY_LINES: HeadFault = HeadFault::Malformed("more than 64 empty lines stand before the request line");

pub(crate) struct Connection<'a, S> {
    service: &'a S,
    lingering: &'a Lingering,
    ends: Ends,
    patience: Patience,
    /// How many requests may still come.
    requests_left: u64,
    /// Once it has begun, the request that has begun is the last, and where none has, the connection ends.
    drain: Drain,
    intake: Shared,
    outlet: Outlet,
    /// One timer for the head's and the idle limit. It may go off early; the limits are computed when it does.
    timer: Pin<Box<Sleep>>,
    /// When the connection is closed if nothing more comes.
    idle_until: Instant,
    /// Time that the drain waits for a request to begin.
    drain_patience: Duration,
    /// A head was refused: nothing that came with it is read any more.
    has_refused: bool,
}

/// How a connection ends.
enum End {
    /// There is nobody to say anything to any more.
    Gone,
    /// All has been said.
    Done,
    /// In the middle of an answer whose end would look like the connection's.
    Reset,
}

impl<'a, S: Service> Connection<'a, S> {
    /// `early` are bytes that were read from the socket before.
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

    /// Serves until either side has had enough.
    pub(crate) async fn serve(mut self) {
        match self.answer_all().await {
            End::Gone => {}
            End::Done => self.farewell().await,
            End::Reset => self.outlet.reset(),
        }
    }

    async fn answer_all(&mut self) -> End {
        while let Some((at, head)) = self.next_head().await {
            self.requests_left = self.requests_left.saturating_sub(1);
            let (arrival, mut terms) = self.arrival(at, head);
            let service = self.service;
            let answering = pin!(service.answer(arrival, self.intake.rules()));
            let Some(Ok(reply)) = unless_left(answering, &self.intake).await else { return End::Gone };
            terms.keep_alive &= !self.is_last();
            if !S::REPLIES_EARLY {
                terms.keep_alive &= self.intake.lock().is_between_requests();
            }
            let keep_alive = match self.outlet.send(reply, terms, &self.intake).await {
                Ok(keep_alive) => keep_alive,
                Err(Unsent::Cut { reset: true }) => return End::Reset,
                Err(Unsent::Gone | Unsent::Cut { reset: false }) => return End::Gone,
            };
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

    /// Gathers a head, or finds that what came is none; and the moment of its first byte. `None` when no more comes.
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
                // What is in the socket is about to be told of, and then is a request that has begun.
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

    /// The request of a head, whatever there is to be said of it.
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
                let terms = Terms { is_head: method == Method::HEAD, is_old, keep_alive };
                (Arrival { method, uri, headers, body, fault: None, at, ends }, terms)
            }
            Err(fault) => {
                self.has_refused = true;
                let method = if is_head { Method::HEAD } else { Method::GET };
                let (uri, headers, body) = (Uri::default(), HeaderMap::new(), Incoming::empty());
                let terms = Terms { is_head, is_old: false, keep_alive: false };
                (Arrival { method, uri, headers, body, fault: Some(fault), at, ends }, terms)
            }
        }
    }

    /// Closes the sending side. Unread input is read away until the client closes or a bound is reached.
    async fn farewell(mut self) {
        if self.outlet.close().await.is_err() {
            return;
        }
        let has_unread = self.intake.lock().end() || self.has_refused;
        if has_unread {
            let accepted = self.intake.rules().accepted_bytes();
            let reading = self.lingering.read_away(self.outlet.stream(), accepted, &self.drain);
            // Boxed, so that connections which end in another way do not reserve the memory for it.
            Box::pin(reading).await;
        }
    }
}

/// What comes of `work`, unless the client leaves before.
async fn unless_left<F: Future>(mut work: Pin<&mut F>, intake: &Shared) -> Option<F::Output> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => intake.poll_hang_up(cx).map(|()| None),
    })
    .await
}
