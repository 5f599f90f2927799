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

use std::future::poll_fn;
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
use super::arrival::{Arrival, Ends};
use super::drain::Drain;
use super::handle::Line;
use super::head::HeadFault;
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

/// Input that is read away after a refusal, in bytes and time.
const MAX_LINGER_BYTES: usize = 256 << 10;
const MAX_LINGER: Duration = Duration::from_secs(1);

pub(super) struct Connection<'a> {
    line: &'a Line,
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

impl<'a> Connection<'a> {
    /// `early` are bytes that were read from the socket before.
    pub(super) fn new(
        line: &'a Line,
        (stream, early): (TcpStream, &[u8]),
        ends: Ends,
        patience: Patience,
        requests: u64,
        drain: Drain,
    ) -> Self {
        let idle_until = Instant::now() + patience.silent.min(patience.idle);
        let (reading, writing) = stream.into_split();
        Self {
            line,
            ends,
            patience,
            requests_left: requests,
            drain,
            intake: Shared::new(reading, early),
            outlet: Outlet::new(writing, patience.write),
            timer: Box::pin(tokio::time::sleep_until(idle_until.into())),
            idle_until,
            has_refused: false,
        }
    }

    /// Serves until either side has had enough.
    pub(super) async fn serve(mut self) {
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
            let line = self.line;
            let handling = pin!(line.handle(arrival));
            let Some(Ok(reply)) = unless_left(handling, &self.intake).await else { return End::Gone };
            terms.keep_alive &= !self.is_last();
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
        }
        End::Done
    }

    fn is_last(&self) -> bool {
        self.requests_left == 0 || self.drain.has_begun()
    }

    /// Gathers a head, or finds that what came is none; and the moment of its first byte. `None` when no more comes.
    async fn next_head(&mut self) -> Option<(Instant, Result<Bytes, HeadFault>)> {
        let (mut scanner, mut first_byte) = (Scanner::default(), None);
        poll_fn(|cx| {
            loop {
                let mut intake = self.intake.lock();
                let ahead = intake.ahead();
                // Some clients end a body with an empty line too many. That begins no request, and so asks for no answer.
                while first_byte.is_none() && ahead.starts_with(b"\r\n") {
                    ahead.advance(2);
                }
                if !ahead.is_empty() {
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
                    return Poll::Ready(Some((began, Err(HeadFault::Slow))));
                }
                let has_rested = self.is_last() || poll_limit(self.timer.as_mut(), cx, self.idle_until).is_ready();
                // What is in the socket is about to be told of, and then is a request that has begun.
                let is_over = has_rested && !intake.has_unread();
                return if is_over { Poll::Ready(None) } else { Poll::Pending };
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

    /// Ends the connection from this side; input that nobody wants is read away until the client closes or has had its
    /// time.
    async fn farewell(mut self) {
        if self.outlet.close().await.is_err() {
            return;
        }
        let has_unread = {
            let mut intake = self.intake.lock();
            self.has_refused || !intake.is_between_requests() || !intake.ahead().is_empty()
        };
        if has_unread {
            let mut left = MAX_LINGER_BYTES;
            let read_away = poll_fn(|cx| self.intake.lock().poll_discard(&mut left, cx));
            let _ = tokio::time::timeout(MAX_LINGER, read_away).await;
        }
    }
}

/// What comes of `work`, unless the client leaves before.
async fn unless_left<F: Future>(mut work: Pin<&mut F>, intake: &Shared) -> Option<F::Output> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => intake.lock().poll_hang_up(cx).map(|()| None),
    })
    .await
}
