//! Crashed guests that are kept for inspection (`runtime.enable_crash_block`). The place of each stays empty until the
//! instance is replaced.
//!
//! A guest's error and stack are kept; its memory is released.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::worker::Worker;
use crate::admission::Vacancy;
use crate::call::RequestId;

/// Most bytes kept of a stack; a deeper stack repeats itself.
const STACK_KEPT: usize = 16 << 10;

/// The end of a guest that was not replaced.
#[derive(Clone, Debug)]
pub struct Crash {
    pub at: SystemTime,
    /// The request that the guest was answering.
    pub request_id: RequestId,
    pub error: String,
    /// The frames, innermost first, one per line.
    pub stack: String,
}

/// The crashes of one instance, at most one per worker.
#[derive(Default)]
pub(in crate::registry) struct CrashedGuests(Mutex<Vec<(Crash, Vacancy<Worker>)>>);

impl CrashedGuests {
    /// Keeps the place empty. Once all places are empty, callers are rejected.
    pub(in crate::registry) fn keep(
        &self,
        mut place: Vacancy<Worker>,
        request_id: RequestId,
        error: String,
        stack: &str,
    ) {
        let end = stack.floor_char_boundary(STACK_KEPT);
        let stack = stack[..end].to_owned();
        let crash = Crash { at: SystemTime::now(), request_id, error, stack };
        // Locked first, because a caller that is rejected may list the crashes at once.
        let mut crashes = self.crashes();
        place.stall();
        crashes.push((crash, place));
    }

    pub(in crate::registry) fn list(&self) -> Vec<Crash> {
        self.crashes().iter().map(|(crash, _)| crash.clone()).collect()
    }

    pub(in crate::registry) fn is_empty(&self) -> bool {
        self.crashes().is_empty()
    }

    fn crashes(&self) -> MutexGuard<'_, Vec<(Crash, Vacancy<Worker>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
