//! A limit for work, checked while the work goes on.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::Fault;

/// The amount of work that is allowed. The worker calls [`spend`](Self::spend) before each step.
pub enum Effort<'a> {
    /// A number of output bytes: for a thread that has other connections to serve.
    Brief(Cell<usize>),
    /// Until a deadline, or until the result is no longer needed.
    Until { deadline: Instant, abandoned: &'a AtomicBool },
}

impl Effort<'_> {
    pub fn brief(bytes: usize) -> Self {
        Self::Brief(Cell::new(bytes))
    }

    /// Checks that `bytes` more bytes of output may be produced, and counts them.
    ///
    /// # Errors
    /// [`Fault::Outgrown`] if the bytes are used up, [`Fault::Stopped`] after the deadline or if the result is not
    /// needed.
    pub fn spend(&self, bytes: usize) -> Result<(), Fault> {
        match self {
            Self::Brief(left) => {
                left.set(left.get().checked_sub(bytes).ok_or(Fault::Outgrown)?);
                Ok(())
            }
            Self::Until { deadline, abandoned } => {
                let stop = abandoned.load(Ordering::Relaxed) || Instant::now() >= *deadline;
                if stop { Err(Fault::Stopped) } else { Ok(()) }
            }
        }
    }
}
