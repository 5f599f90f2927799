//! The executor of admitted work: the first slice runs on the thread where the call arrived, the rest in the
//! background.
//!
//! Short work costs as much as a plain call. Long work does not hold a network thread: when it first yields, it moves
//! to a second runtime, whose threads have lower priority, so that short work overtakes it.
//!
//! Queued work, for which no caller waits, begins in the background. There it passes its turn several times for each
//! slice while other work is there, so that the other work gets most of the time and queued work still gets some.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::slice_history::SliceHistory;

/// The nice value of background threads: below the network threads, but still served when other processes are busy.
const BACKGROUND_NICE: i32 = 10;

/// The error of work that has passed its deadline. The work has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue;

/// The turns that queued work of this weight passes for each slice while other work is there. So beside one other piece
/// of work it gets a fifth of the time.
const PASSED_TURNS: u32 = 4;
const OF_WEIGHT: u32 = 100;

/// Runs work, with a background runtime for long work.
pub struct Executor {
    background: Option<Runtime>,
    /// The pieces of work that are in the background now.
    pieces: Arc<AtomicUsize>,
}

impl Executor {
    /// Creates an executor. `threads` is the number of guests that compute at the same time past their first slice.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let background = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("background")
            .enable_all()
            .on_thread_start(|| {
                // If this fails, everything still works, only less fairly.
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BACKGROUND_NICE);
            })
            .build()?;
        Ok(Self { background: Some(background), pieces: Arc::default() })
    }

    /// Returns the background runtime, for work without a caller that waits for a first slice, such as creating
    /// workers.
    pub fn background(&self) -> &Handle {
        match &self.background {
            Some(runtime) => runtime.handle(),
            None => unreachable!("the runtime is there until this is dropped"),
        }
    }

    /// Runs `work` until `deadline`. Dropping the returned future drops the work when it next yields.
    ///
    /// `now` is the present time, which the caller has already read. The work is boxed, because it may move to another
    /// thread after it has begun.
    pub async fn run<F>(
        &self,
        slice_history: &Arc<SliceHistory>,
        now: Instant,
        deadline: impl Deadline,
        work: Pin<Box<F>>,
    ) -> Result<F::Output, Overdue>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.begin(slice_history, now, deadline.at(), || deadline, work).await? {
            Begun::Done(output) => Ok(output),
            Begun::Running(running) => running.await,
        }
    }

    /// Runs the first slice of `work`, and moves the rest of it to the background. Otherwise as [`Executor::run`].
    /// `deadline` is the present one, and `moving` makes the one that the rest has.
    ///
    /// The work begins in the background if `slice_history` predicts that it outlasts its first slice.
    pub async fn begin<F, D: Deadline>(
        &self,
        slice_history: &Arc<SliceHistory>,
        now: Instant,
        deadline: Instant,
        moving: impl FnOnce() -> D,
        mut work: Pin<Box<F>>,
    ) -> Result<Begun<F::Output, D>, Overdue>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if now >= deadline {
            return Err(Overdue);
        }
        if slice_history.is_long() {
            return Ok(Begun::Running(self.in_background(moving(), work, 0, Some(Arc::clone(slice_history)))));
        }
        let output = first_slice(work.as_mut()).await;
        slice_history.note(output.is_none());
        Ok(match output {
            Some(output) => Begun::Done(output),
            None => Begun::Running(self.in_background(moving(), work, 0, None)),
        })
    }

    /// Runs work in the background from its beginning, until `deadline`.
    pub fn run_in_background<F, D: Deadline>(&self, deadline: D, work: Pin<Box<F>>) -> Running<F::Output, D>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.in_background(deadline, work, 0, None)
    }

    /// Runs queued work in the background until `deadline`. `weight` is its share of the time beside other queued work:
    /// with twice the weight it gets twice the share.
    pub fn run_queued<F, D: Deadline>(&self, weight: u32, deadline: D, work: Pin<Box<F>>) -> Running<F::Output, D>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let passes = (PASSED_TURNS * OF_WEIGHT).div_ceil(weight.max(1));
        self.in_background(deadline, work, passes, None)
    }

    fn in_background<F, D: Deadline>(
        &self,
        deadline: D,
        work: Pin<Box<F>>,
        passes: u32,
        history: Option<Arc<SliceHistory>>,
    ) -> Running<F::Output, D>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let piece = Piece::count(&self.pieces);
        let timer = Box::pin(tokio::time::sleep_until(deadline.at().into()));
        let punctual = Punctual { work, deadline: deadline.clone(), slices: 0, passes, passed: 0, piece };
        Running { task: self.background().spawn(punctual), deadline, timer, history }
    }
}

/// The time until which work may run. It may move while the work runs. If it moves to an earlier time, [`Running`] must be
/// polled after that.
pub trait Deadline: Clone + Send + Unpin + 'static {
    fn at(&self) -> Instant;
}

impl Deadline for Instant {
    fn at(&self) -> Instant {
        *self
    }
}

/// Work after its first slice.
pub enum Begun<T, D> {
    Done(T),
    Running(Running<T, D>),
}

/// Work in the background. Dropping it drops the work when it next yields.
pub struct Running<T, D> {
    task: JoinHandle<(Result<T, Overdue>, u64)>,
    deadline: D,
    /// Answers the caller on time even if every background thread is in the middle of a slice.
    timer: Pin<Box<Sleep>>,
    /// Records the number of slices; `None` if the first slice has been recorded.
    history: Option<Arc<SliceHistory>>,
}

impl<T, D: Deadline> Future for Running<T, D> {
    type Output = Result<T, Overdue>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.task).poll(cx) {
            Poll::Ready(Ok((output, slices))) => {
                if let Some(history) = self.history.take() {
                    history.note(slices > 1);
                }
                return Poll::Ready(output);
            }
            Poll::Ready(Err(stopped)) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The background is shutting down.
                Err(_) => return Poll::Ready(Err(Overdue)),
            },
            Poll::Pending => {}
        }
        let at = self.deadline.at().into();
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let at = self.deadline.at().into();
            if tokio::time::Instant::now() >= at {
                return Poll::Ready(Err(Overdue));
            }
            self.timer.as_mut().reset(at);
        }
    }
}

impl<T, D> Drop for Running<T, D> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a piece of work in the background for as long as it lives.
struct Piece(Arc<AtomicUsize>);

impl Piece {
    fn count(pieces: &Arc<AtomicUsize>) -> Self {
        pieces.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pieces))
    }

    fn is_alone(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Guests stop when they next yield; nothing waits for them here.
        if let Some(runtime) = self.background.take() {
            runtime.shutdown_background();
        }
    }
}

async fn first_slice<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Work that checks its deadline before each slice.
struct Punctual<F, D> {
    work: Pin<Box<F>>,
    deadline: D,
    slices: u64,
    /// The turns to pass before each slice while other work is there, and those that were passed.
    passes: u32,
    passed: u32,
    piece: Piece,
}

impl<F: Future, D: Deadline> Future for Punctual<F, D> {
    /// The output, and the number of slices that it took.
    type Output = (Result<F::Output, Overdue>, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Instant::now() >= self.deadline.at() {
            return Poll::Ready((Err(Overdue), self.slices));
        }
        if self.passed < self.passes && !self.piece.is_alone() {
            self.passed += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.passed = 0;
        self.slices += 1;
        let slices = self.slices;
        self.work.as_mut().poll(cx).map(|output| (Ok(output), slices))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_a_while() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn thread_name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn short_work_stays_and_long_work_moves() {
        let (executor, slice_history) = (Executor::new(1).unwrap(), Arc::default());
        let here = thread_name();
        assert_eq!(
            executor.run(&slice_history, Instant::now(), in_a_while(), Box::pin(async { thread_name() })).await,
            Ok(here)
        );
        let moved = executor.run(
            &slice_history,
            Instant::now(),
            in_a_while(),
            Box::pin(async {
                tokio::task::yield_now().await;
                thread_name()
            }),
        );
        assert_eq!(moved.await, Ok("background".to_owned()));
    }

    #[derive(Clone)]
    struct Moving(Arc<std::sync::Mutex<Instant>>);

    impl Deadline for Moving {
        fn at(&self) -> Instant {
            *self.0.lock().unwrap()
        }
    }

    #[tokio::test]
    async fn a_deadline_that_has_moved_to_an_earlier_time_holds() {
        let executor = Executor::new(1).unwrap();
        let deadline = Moving(Arc::new(std::sync::Mutex::new(Instant::now() + Duration::from_secs(600))));
        let mut running = executor.run_in_background(deadline.clone(), Box::pin(std::future::pending::<()>()));
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut running).poll(cx))).await;
        assert!(first.is_pending());
        *deadline.0.lock().unwrap() = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
        assert_eq!(ended, Ok(Err(Overdue)));
    }

    #[tokio::test]
    async fn work_that_usually_outlasts_a_slice_begins_in_the_background_until_it_no_longer_does() {
        let executor = Executor::new(1).unwrap();
        let (slice_history, here) = (Arc::<SliceHistory>::default(), thread_name());
        // Counts the pieces of work before one begins on the wanted thread.
        let until_it_begins = async |wanted: &str, is_long: bool| {
            for count in 0..100 {
                let work = Box::pin(async move {
                    let began = thread_name();
                    if is_long {
                        tokio::task::yield_now().await;
                    }
                    began
                });
                let began = executor.run(&slice_history, Instant::now(), in_a_while(), work).await.unwrap();
                if began == wanted {
                    return Some(count);
                }
            }
            None
        };
        assert_eq!(until_it_begins("background", false).await, None);
        assert_eq!(until_it_begins("background", true).await, Some(6));
        assert_eq!(until_it_begins(&here, true).await, None);
        assert_eq!(until_it_begins(&here, false).await, Some(12));
    }

    #[tokio::test]
    async fn overdue_work_never_begins() {
        let (executor, slice_history) = (Executor::new(1).unwrap(), Arc::default());
        let now = Instant::now();
        assert_eq!(
            executor.run(&slice_history, now, now, Box::pin(async { unreachable!() })).await,
            Err::<(), _>(Overdue)
        );
    }

    /// Sends a signal when it is dropped.
    struct Dropped(Option<tokio::sync::oneshot::Sender<()>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.take().expect("dropped once").send(());
        }
    }

    #[tokio::test]
    async fn work_that_never_ends_is_dropped_at_its_deadline() {
        let (executor, slice_history) = (Executor::new(1).unwrap(), Arc::default());
        let (sender, dropped) = tokio::sync::oneshot::channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let (token, counter) = (Dropped(Some(sender)), Arc::clone(&polls));
        let endless = executor.run(
            &slice_history,
            Instant::now(),
            Instant::now() + Duration::from_millis(30),
            Box::pin(async move {
                let _token = token;
                loop {
                    counter.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }),
        );
        assert_eq!(endless.await, Err::<(), _>(Overdue));
        dropped.await.expect("the work is dropped");
        assert!(polls.load(Ordering::Relaxed) > 1);
    }

    /// Work that counts its slices until it is stopped. It wakes itself at the end of a slice, as guests do.
    fn endless(counter: &Arc<AtomicUsize>) -> Pin<Box<impl Future<Output = ()> + Send + use<>>> {
        let counter = Arc::clone(counter);
        Box::pin(poll_fn(move |cx| {
            counter.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    /// Turns are counted and no times, so a busy machine changes nothing.
    #[tokio::test]
    async fn queued_work_gets_less_than_other_work_and_is_never_starved() {
        let executor = Executor::new(1).unwrap();
        let counters: [Arc<AtomicUsize>; 4] = Default::default();
        let count = |at: usize| counters[at].load(Ordering::Relaxed);
        let (history, now) = (Arc::<SliceHistory>::default(), Instant::now());
        let mut other = Box::pin(executor.run(&history, now, in_a_while(), endless(&counters[0])));
        let mut queued = Box::pin(executor.run_queued(100, in_a_while(), endless(&counters[1])));
        let mut heavy = Box::pin(executor.run_queued(200, in_a_while(), endless(&counters[2])));
        assert!(first_slice(other.as_mut()).await.is_none());
        assert!(first_slice(queued.as_mut()).await.is_none());
        assert!(first_slice(heavy.as_mut()).await.is_none());
        while count(1) < 1000 {
            tokio::task::yield_now().await;
        }
        let (other_slices, queued_slices, heavy_slices) = (count(0), count(1), count(2));
        assert!(other_slices > 3 * queued_slices, "{other_slices} and {queued_slices}");
        assert!(
            (3 * queued_slices..6 * queued_slices).contains(&(2 * heavy_slices)),
            "{queued_slices}, {heavy_slices}"
        );
        drop((other, queued, heavy));
        // Alone, queued work passes no turns: it is done after two polls.
        let counter = Arc::clone(&counters[3]);
        while executor.pieces.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        let polls = Box::pin(async move { counter.fetch_add(1, Ordering::Relaxed) });
        assert_eq!(executor.run_queued(1, in_a_while(), polls).await, Ok(0));
    }

    #[tokio::test]
    async fn work_is_dropped_when_its_caller_leaves() {
        let (executor, slice_history) = (Executor::new(1).unwrap(), Arc::default());
        let (sender, dropped) = tokio::sync::oneshot::channel();
        let token = Dropped(Some(sender));
        let mut call = Box::pin(executor.run(
            &slice_history,
            Instant::now(),
            in_a_while(),
            Box::pin(async move {
                let _token = token;
                std::future::pending::<()>().await;
            }),
        ));
        assert!(first_slice(call.as_mut()).await.is_none());
        drop(call);
        dropped.await.expect("the work is dropped");
    }
}
