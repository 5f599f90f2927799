//! A stream on its way to the client, with the account of its request.
//!
//! The account is settled when the stream ends: it is complete, it is cut, or the client no longer reads it. By then
//! the stream is dropped, and its worker or connection is released.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::account::Detached;
use crate::call::{Cut, Stream};
use crate::policy::InFlight;
use crate::refusal::Refusal;

/// The time in which a stream may still end after its client has left.
const LAST: Duration = Duration::from_millis(100);

/// The rest of a response whose head has been sent.
pub(crate) struct Streamed {
    /// `None` after the end.
    stream: Option<Stream>,
    is_whole: bool,
    account: Detached,
    /// The status in the head; the request counts with it and with `code` if the stream is complete.
    status: u16,
    code: &'static str,
    /// The request's place in the limit of concurrent requests, held until the account is settled.
    entered: Option<InFlight>,
}

impl Streamed {
    pub(crate) fn new(
        stream: Stream,
        status: u16,
        code: &'static str,
        account: Detached,
        entered: Option<InFlight>,
    ) -> Self {
        let stream = Some(stream);
        let mut streamed = Self { stream, is_whole: false, account, status, code, entered };
        streamed.account.streams();
        streamed.settle_if_whole();
        streamed
    }

    fn settle_if_whole(&mut self) {
        if self.stream.as_ref().is_some_and(Stream::is_end_stream) {
            self.settle_whole();
        }
    }

    fn settle_whole(&mut self) {
        self.is_whole = true;
        self.end(self.status, self.code, "");
    }

    fn settle_cut(&mut self, cut: &Cut) {
        if cut.code == Refusal::ClientClosed.row().code {
            // The account knows whether the client left or the host ends. It is settled when this value is dropped.
            self.stream = None;
            return;
        }
        self.account.cut_off();
        let cause = format!("{cut} after {} bytes; the client was cut off", self.account.streamed_bytes());
        self.end(cut.status, cut.code, &cause);
    }

    /// Drops the stream and settles the account before the client can notice the end, because its next request may
    /// follow at once.
    fn end(&mut self, status: u16, code: &'static str, cause: &str) {
        self.stream = None;
        let times = self.account.times();
        self.account.settle(times, status, code, cause, self.account.streamed_bytes());
        self.entered = None;
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(stream).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.account.sent_piece(piece.len());
                }
                self.settle_if_whole();
            }
            Some(Err(cut)) => self.settle_cut(cut),
            None => self.settle_whole(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or_else(|| SizeHint::with_exact(0), Stream::size_hint)
    }
}

/// Waits a moment for the end of a body whose client has got every piece and has left. Clients of server-sent events
/// leave at the last event and do not wait for the end of the body. Then the answer counts as whole.
pub(crate) async fn left<B: Body + Unpin>(body: &mut B) {
    // Trailers and empty pieces are no part of the content. Another piece, or no end, says that the client has left
    // early. Dropping the body then counts it.
    let ended = async {
        while let Some(Ok(frame)) = body.frame().await
            && frame.data_ref().is_none_or(|data| !data.has_remaining())
        {}
    };
    let _ = tokio::time::timeout(LAST, ended).await;
}

/// Converts a body into a stream whose errors are cuts: each error becomes its refusal in the table.
pub(crate) fn stream<B>(body: B) -> Stream
where
    B: Body<Data = Bytes> + Send + 'static,
    Refusal: From<B::Error>,
{
    body.map_err(|error| Refusal::from(error).cut()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use http::{Method, Uri};
    use http_body_util::Channel;
    use http_body_util::channel::Sender;
    use tokio::sync::{OwnedSemaphorePermit, Semaphore};

    use super::*;
    use crate::call::RequestId;
    use crate::outcome::{Exchange, Ledger};
    use crate::refusal::Reached;
    use crate::telemetry::LogWriter;

    /// A guest that streams: it holds a worker's place until the stream is dropped.
    struct Guest {
        pieces: Channel<Bytes, Refusal>,
        _place: OwnedSemaphorePermit,
    }

    impl Body for Guest {
        type Data = Bytes;
        type Error = Refusal;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
            Pin::new(&mut self.pieces).poll_frame(cx)
        }
    }

    struct Scene {
        ledger: Arc<Ledger>,
        places: Arc<Semaphore>,
        sender: Option<Sender<Bytes, Refusal>>,
        streamed: Option<Streamed>,
    }

    impl Scene {
        /// Begins a request that a guest has answered with 200 and the beginning of a stream.
        async fn begin() -> Self {
            let ending = AtomicBool::new(false);
            let ledger = Arc::new(Ledger { log: LogWriter::unread(), nobody: Arc::default(), ending });
            let places = Arc::new(Semaphore::new(1));
            let (mut sender, pieces) = Channel::new(4);
            sender.send_data(Bytes::from_static(b"one")).await.unwrap();
            let guest = Guest { pieces, _place: Arc::clone(&places).try_acquire_owned().unwrap() };
            let (id, now) = (RequestId::generate(), Instant::now());
            let mut exchange = Exchange::begin(&ledger, id, Method::POST, Uri::from_static("/x"), now);
            let account = exchange.detach(Arc::clone(&ledger));
            drop(exchange);
            let mut streamed = Streamed::new(stream(guest), 200, "", account, None);
            assert_eq!(streamed.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
            assert_eq!((places.available_permits(), ledger.nobody.account()), (0, (0, 0)), "it is under way");
            Self { ledger, places, sender: Some(sender), streamed: Some(streamed) }
        }

        /// Returns the end of the stream, and checks that the worker is free before the client can notice the end.
        async fn end(&mut self) -> Option<Result<Frame<Bytes>, Cut>> {
            let end = self.streamed.as_mut().unwrap().frame().await;
            assert_eq!(self.places.available_permits(), 1, "the worker is free");
            end
        }

        fn outcomes(&self) -> Vec<(u16, &'static str)> {
            assert_eq!(self.ledger.nobody.account(), (1, 1));
            self.ledger.nobody.ended().into_keys().collect()
        }
    }

    #[tokio::test]
    async fn a_whole_stream_counts_with_the_status_of_its_head() {
        let mut scene = Scene::begin().await;
        scene.sender = None;
        assert!(scene.end().await.is_none());
        assert_eq!(scene.outcomes(), [(200, "")]);
        scene.streamed = None;
        assert_eq!(scene.outcomes(), [(200, "")]);
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_counts_with_the_refusal() {
        let limit = Duration::from_secs(5);
        for (refusal, counted) in [
            (Refusal::FuelExhausted { status: 403, detail: "used up".into() }, (403, "fuel_exhausted")),
            (Refusal::DeadlineExceeded { limit, reached: Reached::Run }, (408, "deadline_exceeded")),
            (Refusal::BadGateway { detail: "it broke off".into() }, (502, "bad_gateway")),
            // The service has chosen the status 499; it does not mean that the client left.
            (
                Refusal::ProcessorException { status: 499, detail: "trapped".into(), stack: String::new() },
                (499, "processor_exception"),
            ),
        ] {
            let mut scene = Scene::begin().await;
            scene.sender.take().unwrap().abort(refusal);
            let cut = scene.end().await.unwrap().unwrap_err();
            assert_eq!((cut.status, cut.code), counted);
            assert_eq!(scene.outcomes(), [counted]);
            assert!(scene.streamed.as_mut().unwrap().frame().await.is_none());
            assert_eq!(scene.outcomes(), [counted]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_at_the_last_piece_has_the_whole_answer() {
        let (whole, early) = ((200, ""), (499, "client_closed"));
        for (rest, counted) in [("end", whole), ("empty, trailers, end", whole), ("", early), ("piece, end", early)] {
            let mut scene = Scene::begin().await;
            let mut streamed = scene.streamed.take().unwrap();
            let mut sender = scene.sender.take().unwrap();
            let end = async {
                tokio::time::sleep(LAST / 2).await;
                for part in rest.split(", ") {
                    match part {
                        "empty" => sender.send_data(Bytes::new()).await.unwrap(),
                        "piece" => sender.send_data("more".into()).await.unwrap(),
                        "trailers" => sender.send_trailers(http::HeaderMap::new()).await.unwrap(),
                        "end" => return None,
                        _ => {}
                    }
                }
                Some(sender)
            };
            let ((), _kept) = tokio::join!(left(&mut streamed), end);
            drop(streamed);
            assert_eq!(scene.outcomes(), [counted], "{rest}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_nobody_takes_any_more_stops_its_guest() {
        for (is_ending, counted) in [(false, (499, "client_closed")), (true, (503, "draining"))] {
            let mut scene = Scene::begin().await;
            scene.ledger.ending.store(is_ending, Ordering::Relaxed);
            scene.streamed = None;
            assert_eq!(scene.places.available_permits(), 1);
            assert_eq!(scene.outcomes(), [counted]);

            let mut scene = Scene::begin().await;
            scene.ledger.ending.store(is_ending, Ordering::Relaxed);
            scene.sender.take().unwrap().abort(Refusal::ClientClosed);
            assert!(scene.end().await.unwrap().is_err());
            scene.streamed = None;
            assert_eq!(scene.outcomes(), [counted]);
        }
    }
}
