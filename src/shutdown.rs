//! Signals: SIGTERM or Ctrl-C begins the drain, a second one ends the process at once. SIGXFSZ does not end it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Keeps the process alive when it writes more to a file than its limit (`ulimit -f`) allows: only the write fails,
    /// as on a full disk. The signal, SIGXFSZ, is handled and not ignored: a child process inherits an ignored signal,
    /// and this signal must end the compiler.
    ///
    /// # Errors
    /// If the handler cannot be installed.
    pub fn outlive_file_limit() -> io::Result<()> {
        // The handler stays installed when its listener is dropped.
        signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
