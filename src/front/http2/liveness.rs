//! Pings, which find clients that are gone.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use h2::{Ping, PingPong};

/// The interval of pings. A client is gone if it neither answers one within [`PATIENCE`] nor accepts data.
const INTERVAL: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of writes that the client has accepted, shared by a connection's socket and its pings.
#[derive(Clone, Default)]
pub(super) struct Writes(Arc<AtomicU64>);

impl Writes {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Pings the client at intervals. Ends when the client is gone.
pub(super) async fn until_gone(ping_pong: Option<PingPong>, writes: Writes) {
    let Some(mut ping_pong) = ping_pong else { return std::future::pending().await };
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !is_answered(ping_pong.ping(Ping::opaque()), &writes).await {
            return;
        }
    }
}

/// Waits for the answer to a ping. A slow client reads the data that was sent before the ping first, so the wait goes
/// on as long as it accepts data.
async fn is_answered<T>(answer: impl Future<Output = Result<T, h2::Error>>, writes: &Writes) -> bool {
    let mut answer = pin!(answer);
    loop {
        let before = writes.count();
        match tokio::time::timeout(PATIENCE, answer.as_mut()).await {
            Ok(answer) => return answer.is_ok(),
            Err(_) if writes.count() == before => return false,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_neither_answers_nor_accepts_data_is_gone() {
        let began = Instant::now();
        assert!(!is_answered(pending::<Result<(), _>>(), &Writes::default()).await);
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_still_reads_earlier_data_is_not_gone() {
        let writes = Writes::default();
        let late = async {
            for _ in 0..10 {
                sleep(PATIENCE - Duration::from_secs(1)).await;
                writes.add();
            }
            Ok(())
        };
        assert!(is_answered(late, &writes).await);
    }
}
