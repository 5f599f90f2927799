//! The state that a call, its guest and its caller share while the answer is streamed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Answer;

/// The streamed answer of a call. The guest's side begins it while the call still runs, and the caller's side takes it.
#[derive(Debug, Default)]
pub struct Streaming {
    slot: Mutex<Slot>,
    has_begun: AtomicBool,
    /// Set when the call fails or is stopped: the end of its pieces is then not the end of its answer.
    is_broken: AtomicBool,
    /// Set when the caller has the whole answer.
    is_complete: AtomicBool,
    /// Set when nobody reads the answer any more.
    is_abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    answer: Option<Box<Answer>>,
    waker: Option<Waker>,
}

/// The first event of the work on a call.
#[derive(Debug)]
pub enum Raced<T> {
    Ended(T),
    /// The answer has begun, and the work goes on.
    Answering(Box<Answer>),
}

impl Streaming {
    /// Begins the answer.
    pub fn begin(&self, answer: Answer) {
        self.has_begun.store(true, Ordering::Release);
        let waker = {
            let mut slot = self.slot();
            slot.answer = Some(Box::new(answer));
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// True once the answer has begun.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Takes the answer, if it has begun and was not taken before.
    pub fn take(&self) -> Option<Box<Answer>> {
        self.slot().answer.take()
    }

    /// Runs `work`, the work on the call, until it ends or the answer begins. One task may wait for the answer.
    pub async fn race<W: Future + Unpin>(&self, work: &mut W) -> Raced<W::Output> {
        poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut *work).poll(cx) {
                return Poll::Ready(Raced::Ended(ended));
            }
            self.poll_begun(cx).map(Raced::Answering)
        })
        .await
    }

    fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<Box<Answer>> {
        let mut slot = self.slot();
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Marks that the call does not end well. This comes before the end of the pieces, so that nobody takes that for
    /// the end of the answer.
    pub fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Marks that the caller has the whole answer. The guest may work on.
    pub fn complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed)
    }

    /// Marks that nobody reads the answer any more.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }

    pub fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::call::Body;

    fn answer() -> Answer {
        let body = Body::Whole(bytes::Bytes::new());
        Answer { status: StatusCode::OK, content_type: None, headers: HeaderMap::new(), body }
    }

    #[tokio::test]
    async fn an_answer_is_taken_once_whether_it_began_before_the_wait_or_after() {
        let streaming = Arc::new(Streaming::default());
        assert!(streaming.take().is_none());
        streaming.begin(answer());
        assert!(matches!(streaming.race(&mut pending::<()>()).await, Raced::Answering(_)));
        assert!(streaming.take().is_none());

        let waiting = tokio::spawn({
            let streaming = Arc::clone(&streaming);
            async move { matches!(streaming.race(&mut pending::<()>()).await, Raced::Answering(_)) }
        });
        tokio::task::yield_now().await;
        streaming.begin(answer());
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn work_that_has_ended_keeps_its_answer() {
        let streaming = Streaming::default();
        streaming.begin(answer());
        assert!(matches!(streaming.race(&mut ready(7)).await, Raced::Ended(7)));
        assert!(streaming.take().is_some());
    }
}
