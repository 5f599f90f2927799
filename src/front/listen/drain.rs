//! The drain of a listener, as its connections see it.

use std::time::Duration;

use tokio::sync::watch;

/// The time for which a drain waits for the first request of a connection. The request may be on its way, and its
/// client would take a close for a fault. On a connection that was used before, clients send the request again
/// elsewhere.
pub(in crate::front) const FIRST_REQUEST: Duration = Duration::from_millis(250);

/// Shows whether the drain has begun. Asking costs one read of a shared number.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Receiver<bool>);

impl Drain {
    /// Follows `told`, which turns true once and stays true.
    pub(crate) fn new(mut told: watch::Receiver<bool>) -> Self {
        if *told.borrow() {
            told.mark_changed();
        }
        Self(told)
    }

    /// True if the drain has begun, or if its sender is gone.
    pub(crate) fn has_begun(&self) -> bool {
        // The value is never marked as seen, so it counts as changed from the moment it turned true.
        !matches!(self.0.has_changed(), Ok(false))
    }

    /// Ready once the drain has begun.
    pub(crate) async fn begun(&self) {
        let mut told = self.0.clone();
        let _ = told.wait_for(|begun| *begun).await;
    }

    /// Ready once the drain has begun and [`FIRST_REQUEST`] has passed.
    pub(in crate::front) async fn first_request_is_overdue(&self) {
        self.begun().await;
        tokio::time::sleep(FIRST_REQUEST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_begins_once_for_all_whenever_they_ask() {
        let (tell, told) = watch::channel(false);
        let before = Drain::new(told.clone());
        let waiting = tokio::spawn({
            let drain = before.clone();
            async move { drain.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!before.has_begun() && !waiting.is_finished());
        tell.send(true).unwrap();
        waiting.await.unwrap();
        let mut seen = told;
        seen.mark_unchanged();
        for drain in [before.clone(), before, Drain::new(seen)] {
            drain.begun().await;
            assert!(drain.has_begun(), "as often as it is asked");
        }
    }

    #[tokio::test]
    async fn it_has_begun_when_nobody_is_left_to_say_so() {
        let drain = Drain::new(watch::channel(false).1);
        assert!(drain.has_begun());
        drain.begun().await;
    }
}
