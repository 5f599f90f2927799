//! Handles a failed accept, at any listener.

use std::io;
use std::time::Duration;

/// The pause after the kernel refused a connection, as when all descriptors are in use: an immediate retry would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Logs a failed accept at `listener`, and pauses if an immediate retry would spin.
pub(crate) async fn not_accepted(listener: &'static str, error: &io::Error) {
    tracing::warn!(listener, %error, "a connection could not be accepted");
    if !is_the_clients_doing(error) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// True if the client left before it was accepted. The next accept can follow at once.
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
