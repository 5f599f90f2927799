//! A timer that is kept from wait to wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// Ready once `limit` has passed. The timer is only ever moved when it must go off earlier, or has gone off.
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
