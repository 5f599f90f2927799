//! The input of an HTTP/1 connection: the reading half of its socket, the bytes read ahead, and the position in the
//! current request.
//!
//! The connection reads heads and watches for a disconnect. The body of the current request is read by the task that
//! uses it. The two take turns, so the lock between them is never waited for.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
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

/// Capacity for a read: enough for an ordinary request with its body. A read that fills the capacity doubles it for the
/// next read.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 128 << 10;
/// Most bytes of later requests that are kept while one is answered. If a client fills this buffer and the socket's and
/// then closes, its disconnect goes unseen: the end of the stream stays behind the unread bytes.
const MAX_EARLY: usize = 64 << 10;
/// The response that allows the client to send its body (RFC 9110 §10.1.1).
const LEAVE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

pub(super) struct Intake {
    stream: OwnedReadHalf,
    /// Bytes read and not yet used.
    ahead: BytesMut,
    /// The capacity for the next read.
    room: usize,
    /// The position of the start of `ahead` in the body of the current request; `Ended` between requests.
    framing: Framing,
    /// The trailers of the current request so far, as they arrived.
    trailers: Vec<u8>,
    /// The number of requests that have begun. A body compares it to see whether its request is still the current one.
    requests: u64,
    /// The unsent part of [`LEAVE`], to be sent before the body is read.
    leave: &'static [u8],
    /// The task that waits for more of the body.
    reader: Option<Waker>,
    /// True if it has begun to wait since the connection last looked.
    has_waited: bool,
    /// The connection's task, while it relies on being the reader to notice a disconnect.
    relying: Option<Waker>,
    /// Set while reading cannot show a disconnect: too much input is buffered already, nobody reads the body, or the
    /// stream has ended and half-closed clients are answered.
    hang_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The intake, shared by the connection and by the bodies of its requests.
#[derive(Clone)]
pub(super) struct Shared(Arc<Parts>);

struct Parts {
    intake: Mutex<Intake>,
    /// The rules are outside the lock, so that the handler can set them without taking it.
    rules: Rules,
}

impl Shared {
    /// Creates an intake. `early` are bytes that were read from the socket already.
    pub(super) fn new(stream: OwnedReadHalf, early: &[u8]) -> Self {
        let (ahead, room, framing, trailers) = (BytesMut::from(early), LEAST_ROOM, Framing::Ended, Vec::new());
        let (requests, leave) = (0, &[][..]);
        let (reader, has_waited, relying, hang_up) = (None, false, None, None);
        let intake =
            Intake { stream, ahead, room, framing, trailers, requests, leave, reader, has_waited, relying, hang_up };
        let intake = Mutex::new(intake);
        Self(Arc::new(Parts { intake, rules: Rules::default() }))
    }

    /// Returns the rules of the service that the current request is for.
    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Ready when the client has disconnected while its request is being answered. Pending while this task itself waits
    /// for more of the body, because it will read the disconnect.
    pub(super) fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_hang_up(self.rules().answers_half_closed(), cx)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Intake> {
        self.0.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the reading half of the socket, and the bytes read and not yet used; `None` while a body is in use.
    pub(super) fn into_parts(self) -> Option<(OwnedReadHalf, Vec<u8>)> {
        let intake = Arc::into_inner(self.0)?.intake.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some((intake.stream, intake.ahead.to_vec()))
    }

    /// Begins a request whose body has this length.
    pub(super) fn begin(&self, length: BodyLength, expects_leave: bool) -> Incoming {
        let mut intake = self.lock();
        intake.dismiss_reader();
        intake.requests += 1;
        intake.framing = Framing::from(length);
        intake.trailers.clear();
        match length {
            BodyLength::None => return Incoming::empty(),
            // Most bodies arrive together with their head.
            BodyLength::Exactly(length) if length <= intake.ahead.len() as u64 => {
                intake.framing = Framing::Ended;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                return Incoming::Whole(intake.ahead.split_to(length).freeze());
            }
            BodyLength::Exactly(_) | BodyLength::Chunked => {}
        }
        intake.leave = if expects_leave { LEAVE } else { &[] };
        Incoming::Arriving(Box::pin(BodyReader {
            intake: self.clone(),
            request: intake.requests,
            has_ended: false,
            trailers: Vec::new(),
        }))
    }
}

impl Intake {
    /// Returns the bytes read and not yet used.
    pub(super) fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    /// True if the body of the current request has been read completely, or there is no request.
    pub(super) fn is_between_requests(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// Reads once, behind the bytes that are there. 0 bytes mean the end of the stream.
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

    /// True if the kernel has bytes that were not read yet.
    pub(super) fn has_unread(&self) -> bool {
        has_unread(self.stream.as_ref())
    }

    /// Watches for a disconnect. The end of the stream counts as one, unless half-closed clients are answered. Then
    /// only a reset counts, because a client that has closed its sending side looks the same as one that has closed its
    /// connection.
    fn poll_hang_up(&mut self, answers_half_closed: bool, cx: &mut Context<'_>) -> Poll<()> {
        let is_body_read = self.is_between_requests();
        let has_waited = std::mem::take(&mut self.has_waited) && !is_body_read;
        self.relying = self.reader.clone().filter(|reader| has_waited && reader.will_wake(cx.waker()));
        if self.relying.is_some() {
            return Poll::Pending;
        }
        // What arrives before the end of the body belongs to those who read that.
        while is_body_read && self.hang_up.is_none() && self.ahead.len() < MAX_EARLY {
            // Most clients send nothing more, so no room is reserved before input is ready.
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
        // If no descriptor is free for the watch, a disconnect is noticed when the answer is written.
        self.hang_up.as_mut().map_or(Poll::Pending, |hang_up| hang_up.as_mut().poll(cx))
    }

    /// Ends reading: no further request is read, and what was read of one is dropped. True if input is unread or may
    /// still come.
    pub(super) fn end(&mut self) -> bool {
        let has_unread = !self.is_between_requests() || !self.ahead.is_empty() || self.has_unread();
        self.requests = 0;
        self.dismiss_reader();
        self.ahead = BytesMut::new();
        has_unread
    }

    /// Records that the current request has been answered.
    pub(super) fn answered(&mut self) {
        (self.relying, self.hang_up) = (None, None);
    }

    /// Wakes the task that waits for more of the body, which has no part in the connection any more.
    fn dismiss_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Records that this task waits for more of the body. The socket wakes the last task that has waited, so the
    /// connection's task must look for a disconnect itself from now on, unless it is this task.
    fn await_more(&mut self, cx: &Context<'_>) {
        if let Some(relying) = self.relying.take_if(|relying| !relying.will_wake(cx.waker())) {
            relying.wake();
        }
        self.reader = Some(cx.waker().clone());
        self.has_waited = true;
    }

    /// Withdraws `100 Continue`, because the head of the answer is about to be written. Returns the rest of a partly
    /// sent one, which must be written first.
    pub(super) fn withdraw_leave(&mut self) -> &'static [u8] {
        let left = std::mem::take(&mut self.leave);
        if left.len() == LEAVE.len() { &[] } else { left }
    }

    /// Sends `100 Continue`, because the body is about to be read.
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

    /// Waits for data, and returns the number of bytes that are here; 0 is the end of the body.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        loop {
            let skipped = self.framing.skip(&self.ahead, &mut self.trailers);
            self.ahead.advance(skipped);
            let here = self.framing.ahead().min(self.ahead.len() as u64) as usize;
            match self.framing {
                _ if here > 0 => return Poll::Ready(Ok(here)),
                Framing::Ended => return Poll::Ready(Ok(0)),
                Framing::Broken(why) => return Poll::Ready(Err(Broken::Malformed(why))),
                Framing::Exactly(_) | Framing::Chunked { .. } => {}
            }
            ready!(self.poll_give_leave(cx)).map_err(|_| Broken::CutOff)?;
            match self.poll_fill(cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(Broken::CutOff)),
                Poll::Pending => {
                    self.await_more(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Records that data was used, and skips the framing after it, so that the end of the body is seen at once.
    fn took(&mut self, count: usize) {
        self.framing.took(count);
        let skipped = self.framing.skip(&self.ahead, &mut self.trailers);
        self.ahead.advance(skipped);
    }

    /// Returns the next data as one piece; an empty one is the end of the body.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let count = ready!(self.poll_data(cx))?;
        let piece = self.ahead.split_to(count).freeze();
        if count > 0 {
            self.took(count);
        }
        Poll::Ready(Ok(piece))
    }

    /// Appends the next data; false at the end of the body. Data that has not arrived yet is read straight into
    /// `whole`.
    fn poll_append(&mut self, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        let left = self.framing.ahead();
        if self.ahead.is_empty() && left > 0 {
            ready!(self.poll_give_leave(cx)).map_err(|_| Broken::CutOff)?;
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let count = match pin!(self.stream.read_buf(&mut (&mut *whole).limit(most))).poll(cx) {
                Poll::Ready(Ok(count)) if count > 0 => count,
                Poll::Ready(_) => return Poll::Ready(Err(Broken::CutOff)),
                Poll::Pending => {
                    self.await_more(cx);
                    return Poll::Pending;
                }
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
    /// True once it has been read to its end.
    has_ended: bool,
    /// The trailers at its end, until they are returned.
    trailers: Vec<u8>,
}

impl BodyReader {
    /// Reads on, unless the connection has gone on to another request; `None` once the body has ended.
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
        if self.has_ended {
            self.trailers = std::mem::take(&mut intake.trailers);
        }
        Poll::Ready(Some(read))
    }
}

impl Body for BodyReader {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = ready!(self.poll(|intake| intake.poll_piece(cx))).transpose()?;
        Poll::Ready(match piece.filter(|piece| !piece.is_empty()) {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if self.trailers.is_empty() => None,
            None => Some(Ok(Frame::trailers(fields(&std::mem::take(&mut self.trailers))))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.trailers.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let intake = self.intake.lock();
        match intake.framing {
            _ if self.has_ended => SizeHint::with_exact(0),
            Framing::Exactly(left) => SizeHint::with_exact(left),
            Framing::Chunked { .. } | Framing::Broken(_) | Framing::Ended => {
                // At least the rest of the current chunk is still to come.
                let mut hint = SizeHint::default();
                hint.set_lower(intake.framing.ahead());
                hint
            }
        }
    }
}

/// Reads the lines of trailers. A value that no header may have is left out.
fn fields(lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let value = HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?;
        Some((HeaderName::from_bytes(name).ok()?, value))
    });
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(name, value);
    }
    fields
}

impl Arriving for BodyReader {
    fn poll_append(mut self: Pin<&mut Self>, cx: &mut Context<'_>, whole: &mut BytesMut) -> Poll<Result<bool, Broken>> {
        let more = ready!(self.poll(|intake| intake.poll_append(cx, whole)));
        Poll::Ready(more.unwrap_or(Ok(false)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use http_body_util::BodyExt;
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

    #[tokio::test]
    async fn who_waits_for_a_body_is_told_that_the_connection_has_gone_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let shared = Shared::new(accepted.unwrap().0.into_split().0, b"");
        for ends in [false, true] {
            let Incoming::Arriving(mut body) = shared.begin(BodyLength::Exactly(9), false) else { panic!() };
            let guest = Arc::new(FlagWaker::default());
            let waker = Waker::from(Arc::clone(&guest));
            assert!(body.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
            // The connection looks in between, and the answer ends.
            assert!(poll_fn(|cx| Poll::Ready(shared.poll_hang_up(cx))).await.is_pending());
            shared.lock().answered();
            if ends {
                shared.lock().end();
            } else {
                drop(shared.begin(BodyLength::None, false));
            }
            assert!(guest.0.load(Ordering::Relaxed));
            assert_eq!(body.frame().await.unwrap().err(), Some(Broken::CutOff));
        }
        drop(client);
    }

    #[test]
    fn trailers_are_read_line_by_line() {
        let read = fields(b"X-Sum: 42 \r\nx-sum:43\r\nempty:\r\nbad: a\0b\r\n");
        let all = |name| read.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-sum"), all("empty"), all("bad")), (vec!["42", "43"], vec![""], vec![]));
    }

    /// A task that remembers that it was woken.
    #[derive(Default)]
    struct FlagWaker(AtomicBool);

    impl Wake for FlagWaker {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_connection_whose_body_another_task_reads_on_watches_for_a_disconnect_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let shared = Shared::new(accepted.unwrap().0.into_split().0, b"");
        let Incoming::Arriving(mut body) = shared.begin(BodyLength::Chunked, false) else { panic!("it arrives") };
        let [connection, guest] = [Arc::new(FlagWaker::default()), Arc::default()];
        let [at_connection, at_guest] = [Arc::clone(&connection), guest].map(Waker::from);
        assert!(body.as_mut().poll_frame(&mut Context::from_waker(&at_connection)).is_pending());
        assert!(shared.poll_hang_up(&mut Context::from_waker(&at_connection)).is_pending());
        assert!(!connection.0.load(Ordering::Relaxed));
        assert!(body.as_mut().poll_frame(&mut Context::from_waker(&at_guest)).is_pending());
        assert!(connection.0.load(Ordering::Relaxed), "it is told to look again");
        drop(client);
        poll_fn(|cx| shared.poll_hang_up(cx)).await;
    }
}
