//! What is being done, said before it is done, with the time since the start.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Time since the first stage.
pub(crate) fn elapsed() -> Duration {
    start().elapsed()
}

/// Says what comes next. On standard error, where cargo tells of its work as well, so the two stay in order.
pub(crate) fn announce(what: &str) {
    eprintln!("[{:6.1} s] {what}", elapsed().as_secs_f64());
}
