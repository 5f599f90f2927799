//! The executor of admitted work: the first slice runs on the thread where the call arrived, the rest in the
//! background.
//!
//! Short work costs as much as a plain call. Long work does not hold a network thread: when it first yields, it moves
//! to a second runtime, whose threads have lower priority, so that short work overtakes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::slice_history::SliceHistory;

use tokio::runtime::{Builder, Handle, Runtime};

/// The nice value of background threads: below the network threads, but still served when other processes are busy.
const BACKGROUND_NICE: i32 = 10;

/// The error of work that has passed its deadline. The work has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue;

/// Runs work, with a background runtime for long work.
pub struct Executor {
    background: Option<Runtime>,
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
        Ok(Self { background: Some(background) })
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
    /// The work begins in the background if `slice_history` predicts that it outlasts its first slice.
    ///
    /// `now` is the present time, which the caller has already read. The work is boxed, because it may move to another
    /// thread after it has begun.
    pub async fn run<F>(
        &self,
        slice_history: &SliceHistory,
        now: Instant,
        deadline: Instant,
        mut work: Pin<Box<F>>,
    ) -> Result<F::Output, Overdue>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if now >= deadline {
            return Err(Overdue);
        }
        let begins_here = !slice_history.is_long();
        if begins_here {
            let output = first_slice(work.as_mut()).await;
            slice_history.note(output.is_none());
            if let Some(output) = output {
                return Ok(output);
            }
        }
        let mut rest = Rest(self.background().spawn(Punctual { work, deadline, slices: 0 }));
        // This timer answers the caller on time even if every background thread is in the middle of a slice.
        match tokio::time::timeout_at(deadline.into(), &mut rest.0).await {
            Ok(Ok((output, slices))) => {
                if !begins_here {
                    slice_history.note(slices > 1);
                }
                output
            }
            Ok(Err(stopped)) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Overdue), // the background is shutting down
            },
            Err(_) => Err(Overdue),
        }
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
struct Punctual<F> {
    work: Pin<Box<F>>,
    deadline: Instant,
    slices: u64,
}

impl<F: Future> Future for Punctual<F> {
    /// The output, and the number of slices that it took.
    type Output = (Result<F::Output, Overdue>, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Instant::now() >= self.deadline {
            return Poll::Ready((Err(Overdue), self.slices));
        }
        self.slices += 1;
        let slices = self.slices;
        self.work.as_mut().poll(cx).map(|output| (Ok(output), slices))
    }
}

/// Work in the background, which is aborted when this is dropped.
struct Rest<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Rest<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
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
        let (executor, slice_history) = (Executor::new(1).unwrap(), SliceHistory::default());
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

    #[tokio::test]
    async fn work_that_usually_outlasts_a_slice_begins_in_the_background_until_it_no_longer_does() {
        let executor = Executor::new(1).unwrap();
        let (slice_history, here) = (SliceHistory::default(), thread_name());
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
        let (executor, slice_history) = (Executor::new(1).unwrap(), SliceHistory::default());
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
        let (executor, slice_history) = (Executor::new(1).unwrap(), SliceHistory::default());
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

    #[tokio::test]
    async fn work_is_dropped_when_its_caller_leaves() {
        let (executor, slice_history) = (Executor::new(1).unwrap(), SliceHistory::default());
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
