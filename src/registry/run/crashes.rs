//! Guests that crashed where crashes are to be looked at (`runtime.enable_crash_block`): the place of each stays empty until
//! the instance is made anew.
//!
//! What is kept of a guest is its error and its stack, which is all that can be looked at; its memory is given back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::worker::Worker;
use crate::admission::Vacancy;
use crate::call::RequestId;

/// Bytes of a stack that are kept; a deep one repeats itself.
const STACK_KEPT: usize = 16 << 10;

/// How a guest ended that was not replaced.
#[derive(Clone, Debug)]
pub struct Crash {
    pub at: SystemTime,
    /// The request that it was answering.
    pub request_id: RequestId,
    pub error: String,
    /// Innermost frame first, one a line.
    pub stack: String,
}

/// The crashes of one instance: as many at most as it has workers.
#[derive(Default)]
pub(in crate::registry) struct CrashedGuests(Mutex<Vec<(Crash, Vacancy<Worker>)>>);

impl CrashedGuests {
    /// Keeps the place empty. Callers are told that nobody is left once the last place is.
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
        // Noted first: whoever is told that no worker is left may ask why at once.
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
