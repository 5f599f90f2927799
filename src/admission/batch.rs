//! Calls that are answered together.
//!
//! One [`Batcher`] stands before the [`Admission`] of one instance. Calls take a seat, of which there is a bounded number,
//! and wait; a batch is due when it is full or when its oldest call has waited long enough. A single dispatcher then
//! waits for a worker, and the batch leaves with whatever calls are waiting at that moment, as many as one may hold. It
//! has never heard of WebAssembly: what a call is, how a batch is worked on and what an answer is are its user's.
//!
//! What always holds: a call is waiting, in exactly one [`Batch`], or answered. The seats taken are the calls that have not
//! left in a batch; a call that leaves by itself, or whose deadline passes, gives its seat back at once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::{Admission, Place, Rejected};

/// How long the dispatcher waits for a worker before it looks again; nothing depends on it.
const A_WHILE: Duration = Duration::from_secs(3600);

/// What decides when a batch leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Calls in one batch.
    pub max_size: usize,
    /// How long its oldest call waits for others. Zero: no longer than for a worker.
    pub max_wait: Duration,
    /// Calls that may wait, in this batch and the next ones.
    pub max_waiting: usize,
}

/// Works on batches.
pub trait Work<W: Send + 'static, C, A>: Send + Sync + 'static {
    /// Begins to work on a batch and returns at once. Calls that are not answered are lost.
    fn begin(&self, place: Place<W>, batch: Batch<C, A>);
}

/// Why a call that had a seat got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Its deadline passed.
    Overdue,
    /// No worker is left and none can be made for now.
    NoWorker,
    /// The work was given up without a word: a fault of the host.
    Lost,
}

/// Gathers the calls of one instance into batches.
pub struct Batcher<C: Send + 'static, A: Send + 'static> {
    line: Arc<Line<C, A>>,
    dispatcher: AbortHandle,
}

struct Line<C, A> {
    limits: BatchLimits,
    state: Mutex<State<C, A>>,
    /// A batch may have become due.
    changed: Notify,
}

struct State<C, A> {
    /// Calls that have a seat: those that wait, and those about to.
    seats: usize,
    waiting: VecDeque<Waiting<C, A>>,
    next_id: u64,
}

struct Waiting<C, A> {
    id: u64,
    since: tokio::time::Instant,
    member: Member<C, A>,
}

impl<C: Send + 'static, A: Send + 'static> Batcher<C, A> {
    /// Calls are worked on by the workers behind `admission`, to which nobody else may come.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new<W: Send + 'static>(limits: BatchLimits, admission: Arc<Admission<W>>, work: impl Work<W, C, A>) -> Self {
        let state = Mutex::new(State { seats: 0, waiting: VecDeque::new(), next_id: 0 });
        let line = Arc::new(Line { limits, state, changed: Notify::new() });
        let dispatcher = tokio::spawn(dispatch(Arc::clone(&line), admission, work)).abort_handle();
        Self { line, dispatcher }
    }

    /// A seat, if there is one left. What is decided here is decided: a seat is good until it is used or dropped.
    ///
    /// # Errors
    /// [`Rejected::QueueFull`].
    pub fn seat(&self) -> Result<Seat<C, A>, Rejected> {
        let mut state = self.line.state();
        if state.seats >= self.line.limits.max_waiting {
            return Err(Rejected::QueueFull);
        }
        state.seats += 1;
        drop(state);
        Ok(Seat { line: Arc::clone(&self.line), is_taken: true })
    }

    /// Whether a call that came now would be turned away. A look before the body is read; only `seat` decides.
    pub fn is_full(&self) -> bool {
        self.waiting() >= self.line.limits.max_waiting
    }

    /// Calls that have not left in a batch.
    pub fn waiting(&self) -> usize {
        self.line.state().seats
    }

    pub fn max_waiting(&self) -> usize {
        self.line.limits.max_waiting
    }
}

impl<C: Send + 'static, A: Send + 'static> Drop for Batcher<C, A> {
    fn drop(&mut self) {
        self.dispatcher.abort();
    }
}

/// The right to wait for a batch.
pub struct Seat<C, A> {
    line: Arc<Line<C, A>>,
    is_taken: bool,
}

impl<C, A> Seat<C, A> {
    /// Waits for the batch and for what it makes of this call, until `deadline`.
    ///
    /// Dropping the future gives the seat up; a call that is being worked on goes on with its batch, unanswered.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn answer(mut self, call: C, deadline: Instant) -> Result<A, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.line.state();
            // From here on the seat is the waiting call's.
            self.is_taken = false;
            let id = state.next_id;
            state.next_id += 1;
            let member = Member { call, deadline, sender };
            state.waiting.push_back(Waiting { id, since: tokio::time::Instant::now(), member });
            if state.waiting.len() == 1 || state.waiting.len() == self.line.limits.max_size {
                self.line.changed.notify_one();
            }
            id
        };
        let leaving = Leaving { line: &self.line, id };
        let answered = tokio::time::timeout_at(deadline.into(), receiver).await;
        drop(leaving);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unanswered::Lost),
            Err(_) => Err(Unanswered::Overdue),
        }
    }
}

impl<C, A> Drop for Seat<C, A> {
    fn drop(&mut self) {
        if self.is_taken {
            self.line.state().seats -= 1;
        }
    }
}

/// Takes a call that still waits out of the line, however its wait ends.
struct Leaving<'a, C, A> {
    line: &'a Line<C, A>,
    id: u64,
}

impl<C, A> Drop for Leaving<'_, C, A> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        // Ids only grow, so the place is found by search.
        if let Ok(place) = state.waiting.binary_search_by_key(&self.id, |waiting| waiting.id) {
            let left = state.waiting.remove(place);
            state.seats -= 1;
            drop(state);
            // What a call holds is its own; it is let go outside the lock.
            drop(left);
        }
    }
}

impl<C, A> Line<C, A> {
    fn state(&self) -> MutexGuard<'_, State<C, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a batch is due.
    async fn due(&self) {
        loop {
            let at = {
                let state = self.state();
                match state.waiting.front() {
                    Some(_) if state.waiting.len() >= self.limits.max_size => return,
                    Some(oldest) => Some(oldest.since + self.limits.max_wait),
                    None => None,
                }
            };
            let changed = self.changed.notified();
            match at {
                Some(at) if at <= tokio::time::Instant::now() => return,
                // The timer may find that the oldest has left; then it is another's turn to be waited for.
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// Whoever waits, in the order they came and as many as one batch holds; those that are past their deadline are told.
    fn board(&self) -> Batch<C, A> {
        let now = tokio::time::Instant::now().into_std();
        let mut members = Vec::new();
        let mut overdue = Vec::new();
        let mut state = self.state();
        while members.len() < self.limits.max_size {
            let Some(Waiting { member, .. }) = state.waiting.pop_front() else { break };
            state.seats -= 1;
            if member.deadline <= now { overdue.push(member) } else { members.push(member) }
        }
        drop(state);
        overdue.into_iter().for_each(|member| member.fail(Unanswered::Overdue));
        Batch { members }
    }

    fn give_up(&self) {
        let mut state = self.state();
        state.seats -= state.waiting.len();
        let given_up = std::mem::take(&mut state.waiting);
        drop(state);
        given_up.into_iter().for_each(|waiting| waiting.member.fail(Unanswered::NoWorker));
    }
}

async fn dispatch<W: Send + 'static, C, A>(
    line: Arc<Line<C, A>>,
    admission: Arc<Admission<W>>,
    work: impl Work<W, C, A>,
) {
    loop {
        line.due().await;
        let soon = tokio::time::Instant::now() + A_WHILE;
        match admission.admit(soon.into_std()).await {
            Ok(place) => {
                let batch = line.board();
                // Everybody may have left meanwhile. The place goes back untouched then.
                if !batch.members.is_empty() {
                    work.begin(place, batch);
                }
            }
            Err(Rejected::NoWorker) => line.give_up(),
            Err(Rejected::Overdue | Rejected::QueueFull) => {}
        }
    }
}

/// Calls that left together, in the order they came.
pub struct Batch<C, A> {
    pub members: Vec<Member<C, A>>,
}

impl<C, A> Batch<C, A> {
    /// Waits until nobody waits for any of the answers.
    pub async fn abandoned(&mut self) {
        poll_fn(|cx| {
            let mut anybody = false;
            for member in &mut self.members {
                // Each is asked, so that each wakes this when it leaves.
                anybody |= member.sender.poll_closed(cx).is_pending();
            }
            if anybody { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

/// One call of a batch.
pub struct Member<C, A> {
    pub call: C,
    pub deadline: Instant,
    sender: oneshot::Sender<Result<A, Unanswered>>,
}

impl<C, A> Member<C, A> {
    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until nobody waits for the answer any more.
    pub async fn gone(&mut self) {
        self.sender.closed().await;
    }

    /// One that has left meanwhile does not hear it.
    pub fn answer(self, answer: A) {
        let _ = self.sender.send(Ok(answer));
    }

    pub fn fail(self, why: Unanswered) {
        let _ = self.sender.send(Err(why));
    }
}

#[cfg(test)]
mod tests;
