//! What comes in over one connection of HTTP/1: its socket's reading half, what has been read ahead, and where in a
//! request it stands.
//!
//! The connection reads heads and watches for the client's leaving; the body of the present request reads itself, in
//! whichever task somebody waits for it. They take turns, so the lock between them is never waited for.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::framing::Framing;
use super::hang_up::{self, Sign};
use super::head::BodyLength;
use crate::front::listen::unread::has_unread;
use crate::front::rules::Rules;
use crate::incoming::{Arriving, Broken, Incoming};

/// Room for a read: an ordinary request with its body. Whoever fills it gets more the next time.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 128 << 10;
/// Bytes of later requests that are kept while one is answered. Who sends so much more that the socket is full as well,
/// and then closes, is not seen to leave: the end of the stream cannot get in behind it.
const MAX_EARLY: usize = 64 << 10;
/// Leave to send the body (RFC 9110 §10.1.1).
const LEAVE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

pub(super) struct Intake {
    stream: OwnedReadHalf,
    /// Read and not yet taken.
    ahead: BytesMut,
    /// For the next read.
    room: usize,
    /// Where in the body of the present request `ahead` begins; ended between requests.
    framing: Framing,
    /// How many requests have begun: a body knows by it whether it is still its turn.
    requests: u64,
    /// What is to be said before the body is read.
    leave: &'static [u8],
    /// Set while reading cannot show that the client has left: too much input waits already, or the stream has ended
    /// and half-closed clients are answered.
    hang_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The same intake for the connection and for the bodies that come in over it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Parts>);

struct Parts {
    intake: Mutex<Intake>,
    /// Outside the lock, so that the handler can set them without taking it.
    rules: Rules,
}

impl Shared {
    /// `early` are bytes that were read from the socket before.
    pub(super) fn new(stream: OwnedReadHalf, early: &[u8]) -> Self {
        let (ahead, room, framing) = (BytesMut::from(early), LEAST_ROOM, Framing::Ended);
        let (requests, leave, hang_up) = (0, &[][..], None);
        let intake = Mutex::new(Intake { stream, ahead, room, framing, requests, leave, hang_up });
        Self(Arc::new(Parts { intake, rules: Rules::default() }))
    }

    /// The rules of the service that the current request is for.
    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Ready when the client has left while its request is being answered. Pending until the body has been read: the
    /// reader of the body notices it before.
    pub(super) fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_hang_up(self.rules().answers_half_closed(), cx)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Intake> {
        self.0.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun, whose body is delimited like this.
    pub(super) fn begin(&self, length: BodyLength, expects_leave: bool) -> Incoming {
        let mut intake = self.lock();
        intake.requests += 1;
        intake.framing = Framing::from(length);
        match length {
            BodyLength::None => return Incoming::empty(),
            // Most bodies come along with their head, and need not be waited for.
            BodyLength::Exactly(length) if length <= intake.ahead.len() as u64 => {
                intake.framing = Framing::Ended;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                return Incoming::Whole(intake.ahead.split_to(length).freeze());
            }
            BodyLength::Exactly(_) | BodyLength::Chunked => {}
        }
        intake.leave = if expects_leave { LEAVE } else { &[] };
        Incoming::Arriving(Box::pin(BodyReader { intake: self.clone(), request: intake.requests, has_ended: false }))
    }
}

impl Intake {
    /// What has been read and not yet taken.
    pub(super) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// Whether the body of the present request has been taken whole, or there is no request.
    pub(super) fn is_between_requests(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// Reads once, behind what is there; 0 bytes is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.reserve(self.room);
        let room = self.ahead.capacity() - self.ahead.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.ahead)).poll(cx))?;
        if count == room {
            self.room = (self.room * 2).min(MOST_ROOM);
        } else if count < self.room / 4 {
            self.room = (self.room / 2).max(LEAST_ROOM);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether bytes have arrived that were not read yet, as far as the system knows.
    pub(super) fn has_unread(&self) -> bool {
        has_unread(self.stream.as_ref())
    }

    /// Watches for the client's leaving. The end of the stream counts as leaving, unless half-closed clients are
    /// answered: then only a reset does, because a client that has closed its sending side looks the same as one that
    /// has closed its connection.
    fn poll_hang_up(&mut self, answers_half_closed: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_between_requests() {
            return Poll::Pending;
        }
        while self.hang_up.is_none() && self.ahead.len() < MAX_EARLY {
            // Most clients say nothing more, and need no room for it.
            let stream: &TcpStream = self.stream.as_ref();
            if ready!(stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match ready!(self.poll_fill(cx)) {
                Ok(count) if count > 0 => {}
                Ok(_) if answers_half_closed => break,
                _ => return Poll::Ready(()),
            }
        }
        if self.hang_up.is_none() {
            let sign = if answers_half_closed { Sign::Reset } else { Sign::End };
            let watched = hang_up::watch(self.stream.as_ref(), sign);
            self.hang_up = watched.ok().map(|left| Box::pin(left) as Pin<Box<dyn Future<Output = ()> + Send>>);
        }
        // Without a descriptor to spare, leaving is noticed when the answer is written.
        self.hang_up.as_mut().map_or(Poll::Pending, |hang_up| hang_up.as_mut().poll(cx))
    }

    /// Reads no further request, and drops what has come of one. True if input is unread or may still come.
    pub(super) fn end(&mut self) -> bool {
        let has_unread = !self.is_between_requests() || !self.ahead.is_empty() || self.has_unread();
        self.requests = 0;
        self.ahead = BytesMut::new();
        has_unread
    }

    /// The present request has been answered.
    pub(super) fn answered(&mut self) {
        self.hang_up = None;
    }

    /// Takes the leave back, because the head of the answer is about to be written. What is left of one that is already
    /// on its way must be written before that.
    pub(super) fn withdraw_leave(&mut self) -> &'static [u8] {
        let left = std::mem::take(&mut self.leave);
        if left.len() == LEAVE.len() { &[] } else { left }
    }

    /// Says that the body may come, once somebody wants it.
    fn poll_give_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = self.stream.as_ref();
        while !self.leave.is_empty() {
            match stream.try_write(self.leave) {
                Ok(count) => self.leave = &self.leave[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes of data are here, after a wait for the first ones; 0 is the end of the body.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        loop {
            let skipped = self.framing.skip(&self.ahead);
            self.ahead.advance(skipped);
            let here = self.framing.ahead().min(self.ahead.len() as u64) as usize;
            match self.framing {
                _ if here > 0 => return Poll::Ready(Ok(here)),
                Framing::Ended => return Poll::Ready(Ok(0)),
                Framing::Broken(why) => return Poll::Ready(Err(Broken::Malformed(why))),
                Framing::Exactly(_) | Framing::Chunked { .. } => {}
            }
            ready!(self.poll_give_leave(cx)).map_err(|_| Broken::CutOff)?;
            match ready!(self.poll_fill(cx)) {
                Ok(count) if count > 0 => {}
                _ => return Poll::Ready(Err(Broken::CutOff)),
            }
        }
    }

    /// The data that is here has been taken: what follows it may be the end.
    fn took(&mut self, count: usize) {
        self.framing.took(count);
        let skipped = self.framing.skip(&self.ahead);
        self.ahead.advance(skipped);
    }

    /// The next data as one piece; an empty one is the end of the body.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let count = ready!(self.poll_data(cx))?;
        let piece = self.ahead.split_to(count).freeze();
        if count > 0 {
            self.took(count);
        }
        Poll::Ready(Ok(piece))
    }

    /// Appends the next data; false at the end of the body. What is not here yet is read straight into its place.
    fn poll_append(&mut self, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        let left = self.framing.ahead();
        if self.ahead.is_empty() && left > 0 {
            ready!(self.poll_give_leave(cx)).map_err(|_| Broken::CutOff)?;
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let count = match ready!(pin!(self.stream.read_buf(&mut (&mut *whole).limit(most))).poll(cx)) {
                Ok(count) if count > 0 => count,
                _ => return Poll::Ready(Err(Broken::CutOff)),
            };
            self.took(count);
        } else {
            let count = ready!(self.poll_data(cx))?;
            whole.extend_from_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            if count > 0 {
                self.took(count);
            }
        }
        Poll::Ready(Ok(!self.is_between_requests()))
    }
}

/// The body of one request.
struct BodyReader {
    intake: Shared,
    request: u64,
    /// It has been taken to its end.
    has_ended: bool,
}

impl BodyReader {
    /// Reads on, as long as the connection has not gone on without this body; `None` once it has ended.
    fn poll<T>(
        &mut self,
        read: impl FnOnce(&mut Intake) -> Poll<Result<T, Broken>>,
    ) -> Poll<Option<Result<T, Broken>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut intake = self.intake.lock();
        if intake.requests != self.request {
            return Poll::Ready(Some(Err(Broken::CutOff)));
        }
        let read = ready!(read(&mut intake));
        self.has_ended = intake.is_between_requests();
        Poll::Ready(Some(read))
    }
}

impl Body for BodyReader {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = ready!(self.poll(|intake| intake.poll_piece(cx))).transpose();
        let piece = piece.map(|piece| piece.filter(|piece| !piece.is_empty()));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        let intake = self.intake.lock();
        match intake.framing {
            _ if self.has_ended => SizeHint::with_exact(0),
            Framing::Exactly(left) => SizeHint::with_exact(left),
            Framing::Chunked { .. } | Framing::Broken(_) | Framing::Ended => {
                // Of the chunk that has begun, at least this much is still to come.
                let mut hint = SizeHint::default();
                hint.set_lower(intake.framing.ahead());
                hint
            }
        }
    }
}

impl Arriving for BodyReader {
    fn poll_append(mut self: Pin<&mut Self>, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        let more = ready!(self.poll(|intake| intake.poll_append(cx, whole)));
        Poll::Ready(more.unwrap_or(Ok(false)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_leave_is_withdrawn_but_for_the_rest_of_one_that_is_on_its_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let shared = Shared::new(stream.into_split().0, b"");
        for (on_its_way, left) in [(0, 0), (7, LEAVE.len() - 7), (LEAVE.len(), 0)] {
            let _body = shared.begin(BodyLength::Exactly(3), true);
            let mut intake = shared.lock();
            assert_eq!(intake.leave, LEAVE);
            intake.leave = &LEAVE[on_its_way..];
            assert_eq!(intake.withdraw_leave(), &LEAVE[LEAVE.len() - left..], "{on_its_way}");
            assert!(intake.leave.is_empty());
        }
    }
}
