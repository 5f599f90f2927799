//! A streamed answer whose guest still works.
//!
//! A task of its own watches over the guest, so that limits hold whether or not the client reads. The answer's body has
//! the guest's pieces. It ends when the guest has ended well, and is cut off otherwise.

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
use crate::call::{self, Answer, Call, Cut, Stream, collect_ready};
use crate::config::ServiceSpec;
use crate::refusal::{Reached, Refusal};
use crate::sandbox::Run;
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
    pub(in crate::registry) fn watch(self, answer: Box<Answer>) -> Box<Answer> {
        let (client, cut) = oneshot::channel();
        let (call, spec) = (Arc::clone(&self.call), Arc::clone(&self.spec));
        tokio::spawn(self.oversee(client));
        watched(answer, &call, &spec, Some(cut))
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
            Err(_) => Err(Stopped::ClientGone),
        }
    }
}

/// Returns the refusal that a stream ends with; `None` if the guest has ended well.
fn refusal(outcome: Result<Run, Stopped>, spec: &ServiceSpec, call: &Call) -> Option<Refusal> {
    let sandbox = spec.sandbox();
    Some(match outcome {
        Ok(Run { result: Ok(_), .. }) => return None,
        Ok(Run { result: Err(failed), .. }) => Refusal::failed(*failed, sandbox),
        Err(Stopped::Overdue) if call.deadline.is_total_over() => {
            Refusal::DeadlineExceeded { limit: sandbox.stream_total, reached: Reached::Stream }
        }
        Err(Stopped::Overdue) => Refusal::DeadlineExceeded { limit: sandbox.stream_idle, reached: Reached::Piece },
        Err(Stopped::Retired) => Refusal::Retired,
        Err(Stopped::ClientGone) => Refusal::ClientClosed,
        Err(Stopped::NoGuest(error)) => Refusal::Internal { cause: error.to_string() },
        Err(Stopped::NoWorker) => Refusal::Internal { cause: "the worker of a stream is gone".into() },
    })
}

/// Returns the answer of a guest that has ended already. Its pieces are there.
pub(in crate::registry) fn of_ended(answer: Box<Answer>, call: &Arc<Call>, spec: &ServiceSpec) -> Box<Answer> {
    let mut answer = watched(answer, call, spec, None);
    if let call::Body::Stream(pieces) = answer.body {
        answer.body = collect_ready(pieces);
    }
    answer
}

fn watched(
    mut answer: Box<Answer>,
    call: &Arc<Call>,
    spec: &ServiceSpec,
    cut: Option<oneshot::Receiver<Cut>>,
) -> Box<Answer> {
    if let call::Body::Stream(pieces) = answer.body {
        let (call, trap_status) = (Arc::clone(call), spec.sandbox().trap_status);
        answer.body = call::Body::Stream(Watched { pieces, cut, call, trap_status, has_ended: false }.boxed_unsync());
    }
    answer
}

/// The body of the answer.
struct Watched {
    pieces: Stream,
    /// The reason why the stream is cut off; `None` if the guest has ended well already.
    cut: Option<oneshot::Receiver<Cut>>,
    call: Arc<Call>,
    trap_status: u16,
    has_ended: bool,
}

impl Watched {
    /// Ends the stream early.
    fn cut_off(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.has_ended = true;
        Poll::Ready(Some(Err(cut)))
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.pieces).poll_frame(cx) {
            Poll::Pending => {
                self.call.deadline.await_piece();
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(piece))) => {
                self.call.deadline.take_piece();
                return Poll::Ready(Some(Ok(piece)));
            }
            Poll::Ready(Some(Err(Cut { cause, .. }))) => {
                let (status, stack) = (self.trap_status, String::new());
                return self.cut_off(Refusal::ProcessorException { status, detail: cause, stack }.cut());
            }
            Poll::Ready(None) => {}
        }
        let is_broken = self.call.streaming.is_broken();
        if let Some(cut) = self.cut.as_mut().filter(|_| is_broken) {
            // The task that watches over the guest ends early only if the host does.
            let cut = ready!(Pin::new(cut).poll(cx)).unwrap_or_else(|_| Refusal::Draining.cut());
            return self.cut_off(cut);
        }
        self.has_ended = true;
        // Nothing more is awaited. Only the total time bounds what the guest still does.
        self.call.deadline.take_piece();
        self.call.streaming.complete();
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.pieces.size_hint()
    }
}
