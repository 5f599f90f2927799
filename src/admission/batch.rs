//! Batches: calls that are processed together.
//!
//! One [`Batcher`] stands in front of the [`Admission`] of one instance. A call takes a seat, of which there is a
//! bounded number, and waits. A batch is due when it is full, or when its oldest call has waited for `max_wait`. A
//! single dispatcher then waits for a worker, and the batch leaves with the calls that wait at that moment, at most
//! `max_size`. This module knows nothing of WebAssembly: its user defines the calls, the answers and the processing.
//!
//! Invariant: a call is waiting, in exactly one [`Batch`], or answered. The taken seats are the calls that have not
//! left in a batch. A call that leaves by itself, or whose deadline passes, gives its seat back at once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::{Admission, Place, Rejected};

/// Time after which the dispatcher asks for a worker again. Any long time will do.
const A_WHILE: Duration = Duration::from_secs(3600);

/// The limits on a batch and on its waiting calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most calls in one batch.
    pub max_size: usize,
    /// Time that the oldest call waits for others. With zero, a batch waits only for a worker.
    pub max_wait: Duration,
    /// Most calls that may wait, for this batch and the next ones.
    pub max_waiting: usize,
}

/// Processes batches.
pub trait Work<W: Send + 'static, C, A>: Send + Sync + 'static {
    /// Begins to process a batch and returns at once. Calls without an answer end as [`Unanswered::Lost`].
    fn begin(&self, place: Place<W>, batch: Batch<C, A>);
}

/// The reason why a call with a seat got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Its deadline passed.
    Overdue,
    /// No worker is left, and none can be created for now.
    NoWorker,
    /// The work was dropped without an answer: a fault of the host.
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
    /// Signals that a batch may have become due.
    changed: Notify,
}

struct State<C, A> {
    /// Taken seats: those of calls that wait, and of calls that are about to wait.
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
    /// Creates a batcher for the workers behind `admission`, which must have no other user.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new<W: Send + 'static>(limits: BatchLimits, admission: Arc<Admission<W>>, work: impl Work<W, C, A>) -> Self {
        let state = Mutex::new(State { seats: 0, waiting: VecDeque::new(), next_id: 0 });
        let line = Arc::new(Line { limits, state, changed: Notify::new() });
        let dispatcher = tokio::spawn(dispatch(Arc::clone(&line), admission, work)).abort_handle();
        Self { line, dispatcher }
    }

    /// Takes a seat, if one is left. The seat is reserved until it is used or dropped.
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

    /// True if a call would be rejected now. A hint for use before the body is read; only `seat` decides.
    pub fn is_full(&self) -> bool {
        self.waiting() >= self.line.limits.max_waiting
    }

    /// Returns the number of calls that have not left in a batch.
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

/// A reserved place among the waiting calls.
pub struct Seat<C, A> {
    line: Arc<Line<C, A>>,
    is_taken: bool,
}

impl<C, A> Seat<C, A> {
    /// Waits for a batch and for its answer to this call, until `deadline`.
    ///
    /// Dropping the future gives the seat back. A call whose batch has begun is still processed, but not answered.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn answer(mut self, call: C, deadline: Instant) -> Result<A, Unanswered> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.line.state();
            // From here on the waiting call owns the seat.
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

/// Removes a call that still waits, however its wait ends.
struct Leaving<'a, C, A> {
    line: &'a Line<C, A>,
    id: u64,
}

impl<C, A> Drop for Leaving<'_, C, A> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        // Ids only grow, so a binary search finds the position.
        if let Ok(place) = state.waiting.binary_search_by_key(&self.id, |waiting| waiting.id) {
            let left = state.waiting.remove(place);
            state.seats -= 1;
            drop(state);
            // The values in a call are dropped outside the lock.
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
                // If the oldest call has left by then, the loop waits for the next oldest one.
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// Forms a batch of the calls that have waited longest. Calls past their deadline fail.
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
                // All calls may have left meanwhile. Then the worker goes back unused.
                if !batch.members.is_empty() {
                    work.begin(place, batch);
                }
            }
            Err(Rejected::NoWorker) => line.give_up(),
            Err(Rejected::Overdue | Rejected::QueueFull) => {}
        }
    }
}

/// The calls of one batch, in the order of their arrival.
pub struct Batch<C, A> {
    pub members: Vec<Member<C, A>>,
}

impl<C, A> Batch<C, A> {
    /// Waits until no caller waits for any of the answers.
    pub async fn abandoned(&mut self) {
        poll_fn(|cx| {
            let mut anybody = false;
            for member in &mut self.members {
                // Every member is polled, so that each one wakes this task when its caller leaves.
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
    /// True if the caller no longer waits for the answer.
    pub fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the caller no longer waits for the answer.
    pub async fn gone(&mut self) {
        self.sender.closed().await;
    }

    /// Sends the answer. It is dropped if the caller has left.
    pub fn answer(self, answer: A) {
        let _ = self.sender.send(Ok(answer));
    }

    pub fn fail(self, why: Unanswered) {
        let _ = self.sender.send(Err(why));
    }
}

#[cfg(test)]
mod tests;
