//! Runs long work on bodies in the background, few jobs at a time, so that network threads can serve other connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::admission::Executor;
use crate::coding::Effort;

pub(in crate::front) struct Offload {
    executor: Arc<Executor>,
    /// Limits the running jobs. A queued job holds the body as it was sent, a running one also the result, which may be
    /// much larger.
    places: Arc<Semaphore>,
}

impl Offload {
    /// Runs at most `places` jobs at once.
    pub(in crate::front) fn new(executor: Arc<Executor>, places: usize) -> Self {
        Self { executor, places: Arc::new(Semaphore::new(places)) }
    }

    /// Runs `work` and returns its result; `None` if the deadline passes first. If the future is dropped, the work
    /// stops at the next check of its `Effort`.
    pub(in crate::front) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Effort<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        if Instant::now() >= deadline {
            return None;
        }
        let place = timeout_at(deadline.into(), Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?;
        let wanted = Wanted::default();
        let abandoned = Arc::clone(&wanted.abandoned);
        let task = self.executor.background().spawn_blocking(move || {
            let _place = place;
            work(&Effort::Until { deadline, abandoned: &abandoned })
        });
        match timeout_at(deadline.into(), task).await {
            Ok(Ok(made)) => Some(made),
            Ok(Err(stopped)) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => None, // the background is shutting down
            },
            Err(_) => None,
        }
    }
}

/// Marks the result as needed. Dropping it marks the work as abandoned.
#[derive(Default)]
struct Wanted {
    abandoned: Arc<AtomicBool>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::coding::Fault;

    fn aside(places: usize) -> Offload {
        Offload::new(Arc::new(Executor::new(1).unwrap()), places)
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn work_is_done_elsewhere_and_its_panic_is_ours() {
        let offload = aside(1);
        let here = std::thread::current().id();
        assert_eq!(offload.run(in_a_minute(), move |_| std::thread::current().id() != here).await, Some(true));
        let panicking =
            tokio::spawn(async move { offload.run(in_a_minute(), |_| panic!("oh")).await.map(|(): ()| {}) });
        assert!(panicking.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends_and_gives_its_place_back() {
        let offload = aside(1);
        let (began, begun) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let work = offload.run(in_a_minute(), move |effort| {
            began.send(()).unwrap();
            let stopped = loop {
                if let Err(stopped) = effort.spend(0) {
                    break stopped;
                }
            };
            tell.send(stopped).unwrap();
        });
        let mut work = Box::pin(work);
        tokio::select! {
            biased;
            _ = &mut work => panic!("it does not end by itself"),
            () = tokio::task::yield_now() => {}
        }
        begun.recv().unwrap();
        assert_eq!(offload.run(Instant::now(), |_| ()).await, None, "there is no other place");
        drop(work);
        assert_eq!(told.recv().unwrap(), Fault::Stopped);
        assert_eq!(offload.run(in_a_minute(), |_| 7).await, Some(7));
    }
}
