//! Stands between the socket and hyper and hands over one whole, judged request at a time.
//!
//! - Heads are gathered and judged here ([`super::head`]). One that is refused, or not complete in time, is replaced by
//!   a small well-formed request, and the verdict travels beside it: so every refusal takes the one road through the
//!   handler, is counted, logged and has a body.
//! - Bodies pass through; the guard only follows where they end, and stops where their chunks are malformed.
//! - While an answer is being computed the guard keeps reading: what comes early is kept for later, and the end of the
//!   stream is passed on at once, which makes hyper drop the handler. hyper alone would not look if a byte were waiting.
//!   When enough has come early, the rest stays in the socket, and [`super::hang_up`] looks for the end behind it.
//! - After an answer that leaves input unread, the connection is closed for writing first and the input is read away, so
//!   that a reset does not overtake the answer (RFC 9112 §9.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::ReadBufCursor;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::framing::Framing;
use super::hang_up;
use super::head::{Head, HeadFault, Scan, Scanner};
use super::inbox::Inbox;
use super::landing::poll_land;
use super::socket::Intake;
use super::wire::{BodyFault, Stage, Wire};

/// How long a connection may take and rest. All are enforced here; hyper is given no timer.
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

/// Bytes of later requests that are kept while one is answered. Who sends so much more that the socket is full as well,
/// and then closes, is not seen to leave: the end of the stream cannot get in behind it.
const MAX_EARLY: usize = 64 << 10;
/// Input that is read away after a refusal, in bytes and time.
const MAX_LINGER_BYTES: usize = 256 << 10;
const MAX_LINGER: Duration = Duration::from_secs(1);

/// What hyper is given in place of a head that was refused.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const SUBSTITUTE_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

pub(super) struct Guard {
    wire: Arc<Wire>,
    patience: Patience,
    inbox: Inbox,
    /// Bytes at the front of the inbox that hyper may have.
    cleared: usize,
    phase: Phase,
    /// One timer for the head's and the idle limit. It may go off early; the limits are computed when it does.
    timer: Pin<Box<Sleep>>,
    /// When the connection is closed if nothing more comes.
    idle_until: Instant,
    /// Set while more than enough has come early.
    hang_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    linger: Option<Linger>,
}

enum Phase {
    /// Gathering a head. The instant is that of its first byte.
    Head { scanner: Scanner, first_byte: Option<Instant> },
    /// Handing on a body.
    Body(Framing),
    /// The request is handed on whole.
    Answering,
    /// Nothing more is handed on: a head was refused.
    Refused,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl Phase {
    fn next_head() -> Self {
        Self::Head { scanner: Scanner::default(), first_byte: None }
    }
}

impl Guard {
    /// `early` are bytes that were read from the socket before.
    pub(super) fn new(early: &[u8], wire: Arc<Wire>, patience: Patience) -> Self {
        let idle_until = Instant::now() + patience.silent.min(patience.idle);
        Self {
            wire,
            patience,
            inbox: Inbox::holding(early),
            cleared: 0,
            phase: Phase::next_head(),
            timer: Box::pin(tokio::time::sleep_until(idle_until.into())),
            idle_until,
            hang_up: None,
            linger: None,
        }
    }

    /// Works until bytes are cleared, written to `cursor`, or the stream has ended. Ready without bytes is the end.
    fn poll_input(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.cleared > 0 {
                let count = self.cleared.min(cursor.remaining());
                cursor.put_slice(&self.inbox.as_slice()[..count]);
                self.inbox.consume(count);
                self.cleared -= count;
                return Poll::Ready(Ok(()));
            }
            match &mut self.phase {
                Phase::Head { .. } => {
                    if !ready!(self.poll_head(stream, cx, cursor))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Body(Framing::Ended) => self.phase = Phase::Answering,
                Phase::Body(Framing::Broken) => {
                    self.wire.body_failed(BodyFault::Malformed);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunks")));
                }
                Phase::Body(framing) if !self.inbox.is_empty() => self.cleared = framing.take(self.inbox.as_slice()),
                Phase::Body(_) => return self.poll_body(stream, cx, cursor),
                Phase::Answering => match self.wire.stage(cx) {
                    // Told of the end now, hyper would drop a request that nobody has counted yet.
                    Stage::HandedOn => return Poll::Pending,
                    Stage::Begun => return self.poll_hang_up(stream, cx),
                    Stage::Answered => {
                        self.idle_until = Instant::now() + self.patience.idle;
                        self.hang_up = None;
                        self.phase = Phase::next_head();
                    }
                },
                Phase::Refused => return Poll::Pending,
            }
        }
    }

    /// Gathers a head until bytes are cleared; false if they are handed on already, or the connection ends.
    fn poll_head(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        loop {
            let Phase::Head { scanner, first_byte } = &mut self.phase else { return Poll::Ready(Ok(true)) };
            // Some clients end a body with an empty line too many. That begins no request, and so asks for no answer.
            while first_byte.is_none() && self.inbox.as_slice().starts_with(b"\r\n") {
                self.inbox.consume(2);
            }
            if !self.inbox.is_empty() {
                let began = *first_byte.get_or_insert_with(Instant::now);
                match scanner.scan(self.inbox.as_slice()) {
                    Scan::Complete(head) => {
                        let (cleared, body) = whole_request(head, self.inbox.as_slice());
                        self.clear_request(body, began);
                        self.cleared = cleared;
                    }
                    Scan::Refused(fault) => self.refuse(fault, began),
                    Scan::Partial => {}
                }
                if self.cleared > 0 {
                    return Poll::Ready(Ok(true));
                }
            }
            match self.poll_more(stream, cx, cursor)? {
                Poll::Ready(false) => return Poll::Ready(Ok(false)),
                Poll::Ready(true) => {}
                Poll::Pending => {
                    let Phase::Head { first_byte, .. } = self.phase else { return Poll::Pending };
                    let limit = match first_byte {
                        Some(began) => began + self.patience.head,
                        None if self.wire.is_last() => return Poll::Ready(Ok(false)),
                        None => self.idle_until,
                    };
                    ready!(self.poll_limit(cx, limit));
                    let Some(began) = first_byte else { return Poll::Ready(Ok(false)) };
                    self.refuse(HeadFault::Slow, began);
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    /// Reads more of a head into the inbox; false if the stream ends, or if what came is a whole good head with nothing
    /// before it: as most do, that goes straight to hyper, with as much of its body as came along.
    fn poll_more(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        if !self.inbox.is_empty() {
            return self.inbox.poll_fill(stream, cx).map_ok(|count| count > 0);
        }
        let mut landed = ready!(poll_land(stream, cx, cursor))?;
        let bytes = landed.bytes();
        let Scan::Complete(head) = Scanner::default().scan(bytes) else {
            self.inbox.append(bytes);
            return Poll::Ready(Ok(!self.inbox.is_empty()));
        };
        let (cleared, body) = whole_request(head, bytes);
        self.inbox.append(&bytes[cleared..]);
        landed.hand_on(cleared);
        self.clear_request(body, Instant::now());
        Poll::Ready(Ok(false))
    }

    /// Ready once `limit` has passed. The timer is only ever moved when it must go off earlier, or has gone off.
    fn poll_limit(&mut self, cx: &mut Context<'_>, limit: Instant) -> Poll<()> {
        loop {
            if self.timer.deadline() > limit.into() {
                self.timer.as_mut().reset(limit.into());
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= limit {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(limit.into());
        }
    }

    /// A head is fine: its request may go on.
    fn clear_request(&mut self, body: Framing, first_byte: Instant) {
        self.wire.arrived(first_byte, None);
        self.phase = Phase::Body(body);
    }

    /// A head is refused: hyper gets the substitute, the handler the verdict, and whatever else came is forgotten.
    fn refuse(&mut self, fault: HeadFault, first_byte: Instant) {
        self.wire.arrived(first_byte, Some(fault));
        let substitute = if self.inbox.as_slice().starts_with(b"HEAD ") { SUBSTITUTE_HEAD } else { SUBSTITUTE };
        self.inbox.replace(substitute);
        self.cleared = substitute.len();
        self.phase = Phase::Refused;
    }

    /// Reads a body straight into hyper's buffer.
    fn poll_body(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Phase::Body(framing) = &mut self.phase else { return Poll::Pending };
        let mut landed = match ready!(poll_land(stream, cx, cursor)) {
            Ok(landed) => landed,
            Err(error) => {
                self.wire.body_failed(BodyFault::CutOff);
                return Poll::Ready(Err(error));
            }
        };
        let bytes = landed.bytes();
        if bytes.is_empty() {
            self.wire.body_failed(BodyFault::CutOff);
            return Poll::Ready(Ok(()));
        }
        let taken = framing.take(bytes);
        // What follows the body belongs to the next request, or is what broke the chunks.
        self.inbox.append(&bytes[taken..]);
        if taken == 0 {
            // The very first byte broke the chunks; to say nothing would be to say that the stream has ended.
            return self.poll_input(stream, cx, cursor);
        }
        landed.hand_on(taken);
        Poll::Ready(Ok(()))
    }

    /// Watches for the end of the stream while an answer is computed; ready is the end.
    fn poll_hang_up(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.inbox.len() < MAX_EARLY {
            // Most clients say nothing more, and their connections need no room for it.
            ready!(stream.poll_read_ready(cx))?;
            if ready!(self.inbox.poll_fill(stream, cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if self.hang_up.is_none()
            && let Ok(hang_up) = hang_up::watch(stream)
        {
            self.hang_up = Some(Box::pin(hang_up));
        }
        // Without a descriptor to spare, leaving is noticed when the answer is written.
        self.hang_up.as_mut().map_or(Poll::Pending, |hang_up| hang_up.as_mut().poll(cx).map(Ok))
    }

    fn has_unread_input(&self) -> bool {
        match self.phase {
            Phase::Refused | Phase::Body(Framing::Broken | Framing::Exactly(_) | Framing::Chunked(_)) => true,
            Phase::Head { .. } | Phase::Body(Framing::Ended) | Phase::Answering => !self.inbox.is_empty(),
        }
    }

    /// Reads input away until the client closes or has had its time.
    fn poll_linger(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self
            .linger
            .get_or_insert_with(|| Linger { timer: Box::pin(tokio::time::sleep(MAX_LINGER)), left: MAX_LINGER_BYTES });
        if linger.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.inbox.replace(b"");
            match ready!(self.inbox.poll_fill(stream, cx)) {
                Ok(count) if count > 0 && count < linger.left => linger.left -= count,
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// How many of `bytes`, which begin with `head`, belong to its request, and how its body goes on behind them.
fn whole_request(head: Head, bytes: &[u8]) -> (usize, Framing) {
    let mut body = Framing::from(head.body);
    let taken = body.take(&bytes[head.len..]);
    (head.len + taken, body)
}

impl Intake for Guard {
    fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_input(stream, cx, &mut cursor)
    }

    fn poll_farewell(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        if self.linger.is_none() && !self.has_unread_input() {
            return Poll::Ready(());
        }
        self.poll_linger(stream, cx)
    }

    fn is_reset(&self) -> bool {
        self.wire.is_reset()
    }
}
