//! What becomes of an accept that failed, at any listener.

use std::io;
use std::time::Duration;

/// A pause after the system refused a connection, as when all descriptors are in use: trying at once would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Logs a failed accept at `listener`, and pauses where an immediate retry would spin.
pub(crate) async fn not_accepted(listener: &'static str, error: &io::Error) {
    tracing::warn!(listener, %error, "no connection could be accepted");
    if !is_the_clients_doing(error) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// A client that left before it was accepted makes room for the next.
fn is_the_clients_doing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_would_fail_again_at_once_is_followed_by_a_pause() {
        for (error, pause) in [
            (io::ErrorKind::ConnectionAborted.into(), Duration::ZERO),
            (io::ErrorKind::ConnectionReset.into(), Duration::ZERO),
            (io::Error::from_raw_os_error(libc::EMFILE), PAUSE),
        ] {
            let began = Instant::now();
            not_accepted("data", &error).await;
            assert_eq!(began.elapsed(), pause, "{error}");
        }
    }
}
