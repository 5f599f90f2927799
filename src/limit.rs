//! A timer that is reused from wait to wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// Returns `Ready` once `limit` has passed. Resets the timer only if it would fire too late, or has fired too early.
pub(crate) fn poll_limit(mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>, limit: Instant) -> Poll<()> {
    loop {
        if timer.deadline() > limit.into() {
            timer.as_mut().reset(limit.into());
        }
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= limit {
            return Poll::Ready(());
        }
        timer.as_mut().reset(limit.into());
    }
}
