//! How much work somebody is ready to wait for.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::Fault;

/// What a piece of work may take. It is asked as the work goes on.
pub enum Effort<'a> {
    /// So many bytes of output and no more: for a thread that has others to serve.
    Brief(Cell<usize>),
    /// Until a moment, or until nobody wants the result any more.
    Until { deadline: Instant, abandoned: &'a AtomicBool },
}

impl Effort<'_> {
    pub fn brief(bytes: usize) -> Self {
        Self::Brief(Cell::new(bytes))
    }

    /// Another `bytes` are to be made.
    ///
    /// # Errors
    /// [`Fault::Outgrown`] where that is more than briefly, [`Fault::Stopped`] where it is too late.
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
