//! Progress messages before each step, with the time since the start.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Returns the time since the first message.
pub(crate) fn elapsed() -> Duration {
    start().elapsed()
}

/// Prints the next step on standard error, like cargo, so that the messages of both stay in order.
pub(crate) fn announce(what: &str) {
    eprintln!("[{:6.1} s] {what}", elapsed().as_secs_f64());
}
