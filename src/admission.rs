//! Admission: a call gets a worker, waits for one, or is rejected.
//!
//! One [`Admission`] guards the workers of one instance: a bounded first-in-first-out queue, and a place per worker. It
//! knows nothing of WebAssembly; a worker is any value that does one piece of work at a time. [`executor`] chooses the
//! thread on which admitted work runs; [`batch`] gathers calls that are processed together.
//!
//! Invariant: every worker is idle, in exactly one [`Place`], or being replaced through exactly one [`Vacancy`]. All
//! three are owned values whose drop updates the counts, so no path can lose a worker.

mod batch;
mod executor;
mod idle;
mod place;
mod queue;
mod slice_history;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use self::batch::{Batch, BatchLimits, Batcher, Member, Seat, Unanswered, Work};
pub use self::executor::{Begun, Deadline, Executor, Overdue, Running};
use self::idle::Idle;
pub use self::place::{Place, Vacancy};
use self::queue::Queue;
pub use self::slice_history::SliceHistory;

/// Replaces workers that were discarded.
pub trait Replace<W: Send + 'static>: Send + Sync + 'static {
    /// Fills the vacancy, now or later. If it is dropped unfilled, the instance has one worker less for good.
    fn replace(&self, vacancy: Vacancy<W>);
}

/// The access to one instance's workers.
pub struct Admission<W: Send + 'static> {
    state: Mutex<State<W>>,
    max_queue: usize,
    workers: usize,
    /// Places and vacancies, plus waiting calls. Read without the lock to compare instances.
    load: AtomicUsize,
    replace: Box<dyn Replace<W>>,
}

struct State<W: Send + 'static> {
    idle: Idle<W>,
    /// Vacancies that could not be filled so far.
    stalled: usize,
    queue: Queue<Place<W>>,
}

/// The reason why a call was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// All workers are busy, and the queue is full.
    QueueFull,
    /// The deadline passed in the queue.
    Overdue,
    /// No worker is left, and none can be created for now.
    NoWorker,
}

/// The counts of an instance at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    pub workers: usize,
    /// Workers that work or are being replaced.
    pub busy: usize,
    /// Busy workers that cannot be replaced for now.
    pub stalled: usize,
    pub queued: usize,
    pub max_queue: usize,
}

impl<W: Send + 'static> Admission<W> {
    /// Guards these workers. At most `max_queue` calls wait while all workers are busy.
    pub fn new(workers: Vec<W>, max_queue: usize, replace: Box<dyn Replace<W>>) -> Arc<Self> {
        Arc::new(Self {
            max_queue,
            workers: workers.len(),
            load: AtomicUsize::new(0),
            state: Mutex::new(State { idle: Idle::new(workers), stalled: 0, queue: Queue::new() }),
            replace,
        })
    }

    /// Takes an idle worker, if there is one. The queue is empty whenever a worker is idle.
    pub fn admit_at_once(self: &Arc<Self>) -> Option<Place<W>> {
        self.take_idle(&mut self.state())
    }

    fn take_idle(self: &Arc<Self>, state: &mut State<W>) -> Option<Place<W>> {
        let worker = state.idle.take()?;
        self.load.fetch_add(1, Ordering::Relaxed);
        Some(Place::new(self, worker))
    }

    /// Waits in the queue for a worker, until `deadline`.
    ///
    /// Dropping the future leaves the queue at once.
    pub async fn admit(self: &Arc<Self>, deadline: Instant) -> Result<Place<W>, Rejected> {
        let (id, receiver) = {
            let mut state = self.state();
            if let Some(place) = self.take_idle(&mut state) {
                return Ok(place);
            }
            if state.stalled == self.workers {
                return Err(Rejected::NoWorker);
            }
            if state.queue.len() >= self.max_queue {
                return Err(Rejected::QueueFull);
            }
            self.load.fetch_add(1, Ordering::Relaxed);
            state.queue.join()
        };
        let waiting = Waiting { admission: self, id };
        let handed = tokio::time::timeout_at(deadline.into(), receiver).await;
        drop(waiting);
        match handed {
            Ok(Ok(mut place)) => {
                place.has_waited = true;
                Ok(place)
            }
            // The channel closes without a place only when all waiting calls are rejected.
            Ok(Err(_)) => Err(Rejected::NoWorker),
            Err(_) => Err(Rejected::Overdue),
        }
    }

    /// True if a call would be rejected now. A hint for use before the body is read; only `admit` decides.
    pub fn is_full(&self) -> bool {
        self.load.load(Ordering::Relaxed) >= self.workers + self.max_queue
    }

    /// Returns the number of calls at work and waiting, and of workers being replaced.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// True if no worker is left and none can be created for now.
    pub fn is_deserted(&self) -> bool {
        self.state().stalled == self.workers
    }

    pub fn occupancy(&self) -> Occupancy {
        let state = self.state();
        Occupancy {
            workers: self.workers,
            busy: self.workers.saturating_sub(state.idle.len()),
            stalled: state.stalled,
            queued: state.queue.len(),
            max_queue: self.max_queue,
        }
    }

    /// Gives a free worker to the call that has waited longest, or makes it idle.
    fn free(self: &Arc<Self>, worker: W) {
        let mut place = Place::new(self, worker);
        loop {
            let mut state = self.state();
            // Either a call leaves the queue or a worker stops working: the load falls by one.
            self.load.fetch_sub(1, Ordering::Relaxed);
            let Some(waiter) = state.queue.next() else {
                if let Some(worker) = place.worker.take() {
                    state.idle.rest(worker);
                }
                return;
            };
            drop(state);
            match waiter.send(place) {
                Ok(()) => return,
                // The waiting call has just left; the worker goes to the next one.
                Err(unwanted) => place = unwanted,
            }
        }
    }

    /// Counts a vacancy that cannot be filled. If no worker is left, rejects all waiting calls by dropping their
    /// senders.
    fn stall(&self) {
        let mut state = self.state();
        state.stalled += 1;
        if state.stalled == self.workers {
            while state.queue.next().is_some() {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a call from the queue, however its wait ends.
struct Waiting<'a, W: Send + 'static> {
    admission: &'a Arc<Admission<W>>,
    id: u64,
}

impl<W: Send + 'static> Drop for Waiting<'_, W> {
    fn drop(&mut self) {
        if self.admission.state().queue.leave(self.id) {
            self.admission.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Keeps vacancies for the test to fill.
    #[derive(Clone, Default)]
    struct Vacancies(Arc<Mutex<Vec<Vacancy<u32>>>>);

    impl Replace<u32> for Vacancies {
        fn replace(&self, vacancy: Vacancy<u32>) {
            self.0.lock().unwrap().push(vacancy);
        }
    }

    fn admission(workers: u32, max_queue: usize) -> (Arc<Admission<u32>>, Vacancies) {
        let vacancies = Vacancies::default();
        (Admission::new((0..workers).collect(), max_queue, Box::new(vacancies.clone())), vacancies)
    }

    fn soon() -> Instant {
        tokio::time::Instant::now().into_std() + Duration::from_secs(5)
    }

    /// Polls once, which is enough to join the queue or to be admitted.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_at_once_and_an_empty_place_admits_again() {
        let (admission, _) = admission(1, 1);
        let mut first = admission.admit(soon()).await.unwrap();
        let mut second = Box::pin(admission.admit(soon()));
        assert!(poll_once(&mut second).await.is_none());
        assert!(admission.is_full());
        assert_eq!(admission.admit(soon()).await.err(), Some(Rejected::QueueFull));
        assert_eq!(admission.occupancy(), Occupancy { workers: 1, busy: 1, stalled: 0, queued: 1, max_queue: 1 });

        first.start();
        first.release();
        let second = second.await.unwrap();
        assert_eq!(admission.load(), 1);
        drop(second);
        assert_eq!(admission.occupancy(), Occupancy { workers: 1, busy: 0, stalled: 0, queued: 0, max_queue: 1 });
        assert_eq!(admission.load(), 0);
    }

    #[tokio::test]
    async fn calls_are_served_in_the_order_they_came() {
        let (admission, _) = admission(1, 8);
        let place = admission.admit(soon()).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(admission.admit(soon()))).collect();
        for call in &mut waiting {
            assert!(poll_once(call).await.is_none());
        }
        place.release();
        for mut call in waiting {
            poll_once(&mut call).await.expect("it is this call's turn").unwrap().release();
        }
    }

    #[tokio::test]
    async fn a_call_that_leaves_frees_its_place_in_the_queue_and_is_never_served() {
        let (admission, _) = admission(1, 1);
        let place = admission.admit(soon()).await.unwrap();
        let mut gone = Box::pin(admission.admit(soon()));
        assert!(poll_once(&mut gone).await.is_none());
        drop(gone);
        assert_eq!(admission.occupancy().queued, 0);
        let mut next = Box::pin(admission.admit(soon()));
        assert!(poll_once(&mut next).await.is_none());
        place.release();
        assert!(poll_once(&mut next).await.is_some());
        assert_eq!(admission.load(), 0);
    }

    #[tokio::test]
    async fn a_worker_handed_to_a_call_that_never_looks_is_not_lost() {
        let (admission, vacancies) = admission(1, 1);
        let place = admission.admit(soon()).await.unwrap();
        let mut gone = Box::pin(admission.admit(soon()));
        assert!(poll_once(&mut gone).await.is_none());
        place.release(); // the worker is now in the channel of a call that leaves without receiving it
        drop(gone);
        assert_eq!(admission.occupancy().busy, 0);
        assert_eq!(admission.load(), 0);
        assert!(vacancies.0.lock().unwrap().is_empty(), "an untouched worker needs no replacement");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_passes_in_the_queue() {
        let (admission, _) = admission(1, 1);
        let _place = admission.admit(soon()).await.unwrap();
        assert_eq!(admission.admit(soon()).await.err(), Some(Rejected::Overdue));
        assert_eq!(admission.load(), 1);
    }

    #[tokio::test]
    async fn a_worker_abandoned_at_work_is_replaced_before_its_place_is_free() {
        let (admission, vacancies) = admission(1, 0);
        let mut place = admission.admit(soon()).await.unwrap();
        assert_eq!(*place.start(), 0);
        drop(place);
        assert_eq!(admission.admit(soon()).await.err(), Some(Rejected::QueueFull));
        let vacancy = vacancies.0.lock().unwrap().pop().unwrap();
        vacancy.fill(7);
        let mut place = admission.admit(soon()).await.unwrap();
        assert_eq!(*place.start(), 7);
        place.release();
        assert_eq!(admission.load(), 0);
    }

    /// Discards a worker and returns its vacancy.
    async fn spoil(admission: &Arc<Admission<u32>>, vacancies: &Vacancies) -> Vacancy<u32> {
        let mut place = admission.admit(soon()).await.unwrap();
        place.start();
        drop(place);
        vacancies.0.lock().unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn calls_wait_for_a_worker_that_is_being_replaced_and_not_for_one_that_cannot_be() {
        let (admission, vacancies) = admission(1, 2);
        let mut vacancy = spoil(&admission, &vacancies).await;
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(admission.admit(soon()))).collect();
        for call in &mut waiting {
            assert!(poll_once(call).await.is_none());
        }
        vacancy.stall();
        vacancy.stall();
        for mut call in waiting {
            assert_eq!(poll_once(&mut call).await.unwrap().err(), Some(Rejected::NoWorker), "told at once");
        }
        assert!(admission.is_deserted());
        assert_eq!(admission.admit(soon()).await.err(), Some(Rejected::NoWorker));
        assert_eq!(admission.occupancy(), Occupancy { workers: 1, busy: 1, stalled: 1, queued: 0, max_queue: 2 });
        assert_eq!(admission.load(), 1);

        vacancy.fill(7);
        assert!(!admission.is_deserted());
        assert_eq!(*admission.admit(soon()).await.unwrap().start(), 7);
    }

    #[tokio::test]
    async fn as_long_as_one_worker_is_left_calls_wait_for_it() {
        let (admission, vacancies) = admission(2, 1);
        spoil(&admission, &vacancies).await.stall();
        let last = admission.admit(soon()).await.unwrap();
        let mut waiting = Box::pin(admission.admit(soon()));
        assert!(poll_once(&mut waiting).await.is_none());
        last.release();
        drop(poll_once(&mut waiting).await.expect("its turn").unwrap());
        assert_eq!(admission.load(), 1, "the place of the worker that was lost");
    }
}
