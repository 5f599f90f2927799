//! A streamed answer whose guest still works.
//!
//! A task of its own watches over the guest, so that limits hold whether or not the client reads. The answer's body has
//! the guest's pieces. It ends when the guest has ended well, and is cut off otherwise.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::faults::{AtWork, Faults};
use super::instance::Instance;
use super::ticket::Stopped;
use super::work::Worked;
use crate::admission::{self, Overdue};
use crate::call::{self, Answer, Call, Cut, Stream, Upload, collect_ready};
use crate::config::ServiceSpec;
use crate::refusal::{Reached, Refusal};
use crate::sandbox::{Answered, Fault, Run};
use crate::telemetry::ServiceMetrics;

/// The time in which a guest may return after its client has left. A guest that returns is used again.
const LEAVE: Duration = Duration::from_millis(100);

/// The deadline of a call, which moves when its answer begins.
#[derive(Clone)]
pub(crate) struct CallDeadline(pub(crate) Arc<Call>);

impl admission::Deadline for CallDeadline {
    fn at(&self) -> Instant {
        self.0.deadline.at()
    }
}

/// The work of a guest that goes on in the background.
pub(in crate::registry) type Working = admission::Running<Result<Worked, Stopped>, CallDeadline>;

/// Watches over a guest that streams its answer.
pub(in crate::registry) struct Overseer {
    pub(in crate::registry) call: Arc<Call>,
    pub(in crate::registry) working: Working,
    pub(in crate::registry) at_work: AtWork<Arc<Faults>>,
    pub(in crate::registry) instance: Arc<Instance>,
    pub(in crate::registry) spec: Arc<ServiceSpec>,
    pub(in crate::registry) metrics: Arc<ServiceMetrics>,
}

impl Overseer {
    /// Begins to watch. Returns the answer with a body that tells a complete stream from one that is cut off.
    pub(in crate::registry) fn watch(self, mut answer: Box<Answer>) -> Box<Answer> {
        let (client, cut) = oneshot::channel();
        let (call, trap_status) = (Arc::clone(&self.call), self.spec.sandbox().trap_status);
        tokio::spawn(self.oversee(client));
        if let call::Body::Stream(pieces) = answer.body {
            answer.body = call::Body::Stream(Watched::new(pieces, cut, call, trap_status).boxed_unsync());
        }
        answer
    }

    async fn oversee(mut self, mut client: oneshot::Sender<Cut>) {
        let ended = tokio::select! {
            biased;
            ended = self.ended() => ended,
            () = client.closed() => self.left().await,
        };
        let Self { call, at_work, spec, metrics, .. } = self;
        let outcome = ended.map(|Worked { run, worn }| {
            worn.into_iter().for_each(|worn| metrics.recycled(worn.name()));
            run
        });
        at_work.end_call(spec.enable_crash_block(), &outcome);
        if let Some(refusal) = refusal(outcome, &spec, &call) {
            // If the client has left, nobody needs to know.
            let _ = client.send(refusal.cut());
        }
    }

    /// Waits for the end of the guest's work, whatever ends it.
    async fn ended(&mut self) -> Result<Worked, Stopped> {
        let Self { working, instance, .. } = self;
        let ended = poll_fn(|cx| Pin::new(&mut *working).poll(cx));
        match instance.grace.within_stream(ended).await {
            None => Err(Stopped::Retired),
            Some(Err(Overdue)) => Err(Stopped::Overdue),
            Some(Ok(worked)) => worked,
        }
    }

    /// Waits for the end of a guest whose client no longer reads. If the answer was complete, the guest may do the rest
    /// of its work.
    async fn left(&mut self) -> Result<Worked, Stopped> {
        if self.call.streaming.is_complete() {
            return self.ended().await;
        }
        self.call.streaming.abandon();
        match tokio::time::timeout(LEAVE, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => Err(Stopped::ClientClosed),
        }
    }
}

/// Returns the refusal that a stream ends with; `None` if the guest has ended well.
fn refusal(outcome: Result<Run, Stopped>, spec: &ServiceSpec, call: &Call) -> Option<Refusal> {
    let sandbox = spec.sandbox();
    // A guest that fails because its request breaks off is not at fault.
    let broken = call.upload.as_ref().and_then(Upload::fault);
    Some(match outcome {
        Ok(Run { result: Ok(_), .. }) => return None,
        Ok(Run { result: Err(failed), .. }) => broken.map_or_else(|| Refusal::failed(*failed, sandbox), Refusal::from),
        Err(Stopped::Overdue) if call.deadline.is_total_over() => {
            Refusal::DeadlineExceeded { limit: sandbox.stream_total, reached: Reached::Stream }
        }
        Err(Stopped::Overdue) => Refusal::DeadlineExceeded { limit: sandbox.stream_idle, reached: Reached::Piece },
        Err(Stopped::Retired) => Refusal::Retired,
        Err(Stopped::ClientClosed) => Refusal::ClientClosed,
        Err(Stopped::NoGuest(error)) => Refusal::Internal { cause: error.to_string() },
        Err(Stopped::NoWorker) => Refusal::Internal { cause: "the worker of a stream is gone".into() },
    })
}

/// Returns the answer of a guest that has ended already. Its pieces are there. If they are cut off, the answer is bad:
/// its head has not been sent yet.
pub(in crate::registry) fn of_ended(mut answer: Box<Answer>) -> Answered {
    if let call::Body::Stream(pieces) = answer.body {
        answer.body = collect_ready(pieces).map_err(|Cut { cause, .. }| Fault::BadAnswer { reason: cause })?;
    }
    Ok(answer)
}

/// The body of the answer.
struct Watched {
    pieces: Stream,
    /// The last frames of an answer whose length is in its head. A client that has got that many bytes takes the answer
    /// for complete, so they wait until it is.
    last: VecDeque<Frame<Bytes>>,
    /// Gets the reason why the stream is cut off; `None` after it has come, or cannot come any more.
    cut: Option<oneshot::Receiver<Cut>>,
    call: Arc<Call>,
    trap_status: u16,
    /// True once the guest has written everything.
    is_complete: bool,
    has_ended: bool,
}

impl Watched {
    fn new(pieces: Stream, cut: oneshot::Receiver<Cut>, call: Arc<Call>, trap_status: u16) -> Self {
        Self { pieces, last: VecDeque::new(), cut: Some(cut), call, trap_status, is_complete: false, has_ended: false }
    }

    /// Returns the next frame that the client may have; `None` if only [`Self::last`] is left.
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            match Pin::new(&mut self.pieces).poll_frame(cx) {
                Poll::Pending => {
                    self.call.deadline.await_piece();
                    // A body that the host itself sends, such as that of the request, does not end with the guest.
                    return self.poll_cut(cx).map(|cut| Some(Err(cut)));
                }
                // It brings nothing, so it ends no wait either.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Poll::Ready(Some(Ok(frame))) if self.pieces.size_hint().exact() == Some(0) => {
                    self.last.push_back(frame);
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.call.deadline.take_piece();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(Cut { cause, .. }))) => {
                    // A guest that passes on a request that breaks off is not at fault.
                    if let Some(broken) = self.call.upload.as_ref().and_then(Upload::fault) {
                        return Poll::Ready(Some(Err(Refusal::from(broken).cut())));
                    }
                    let (status, stack) = (self.trap_status, String::new());
                    return Poll::Ready(Some(Err(Refusal::ProcessorException { status, detail: cause, stack }.cut())));
                }
                Poll::Ready(None) => break,
            }
        }
        if self.call.streaming.is_broken() {
            let cut = ready!(self.poll_cut_or_end(cx));
            let lost = || Refusal::Internal { cause: "the task that watches over a stream is gone".into() }.cut();
            return Poll::Ready(Some(Err(cut.unwrap_or_else(lost))));
        }
        self.is_complete = true;
        // Nothing more is awaited. Only the total time bounds what the guest still does.
        self.call.deadline.take_piece();
        self.call.streaming.complete();
        Poll::Ready(None)
    }
}

impl Watched {
    /// Returns the reason why the stream is cut off, if there is one.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        ready!(self.poll_cut_or_end(cx)).map_or(Poll::Pending, Poll::Ready)
    }

    /// Returns the reason why the stream is cut off; `None` if there can be none any more.
    fn poll_cut_or_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cut>> {
        let Some(cut) = &mut self.cut else { return Poll::Ready(None) };
        let cut = ready!(Pin::new(cut).poll(cx));
        self.cut = None;
        Poll::Ready(cut.ok())
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if !self.is_complete
            && let Some(next) = ready!(self.poll_pieces(cx))
        {
            self.has_ended = next.is_err();
            return Poll::Ready(Some(next));
        }
        let last = self.last.pop_front();
        self.has_ended = self.last.is_empty();
        Poll::Ready(last.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    /// Exact for an answer of a declared length: the bytes that are still to come.
    fn size_hint(&self) -> SizeHint {
        let hint = self.pieces.size_hint();
        let waiting = self.last.iter().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>() as u64;
        hint.exact().map_or(hint, |left| SizeHint::with_exact(left + waiting))
    }
}
