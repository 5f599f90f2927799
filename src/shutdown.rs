//! When to end: SIGTERM or Ctrl-C begins the drain, a second one ends the process at once. And when not to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The process's wish to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Lets the process live on where it writes more to one file than it may (`ulimit -f`): the write fails, as it does on
    /// a full disk, and nothing else. The signal is not ignored but taken, because a child would inherit that it is
    /// ignored, and the compiler is to be ended by it.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn outlive_file_limit() -> io::Result<()> {
        // The handler stays when nobody listens any more.
        signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
    }

    /// Waits for the next signal and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
