//! Numbers the threads of the process, so that each can have a place of its own in what all of them use.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As many places as are worth having: a handful of network threads and the background ones.
pub(crate) const PLACES: usize = 8;

/// The place of the present thread, below [`PLACES`]. Threads may share one.
pub(crate) fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    PLACE.with(|place| match place.get() {
        usize::MAX => {
            let new = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES;
            place.set(new);
            new
        }
        known => known,
    })
}

/// One value for each place. Each has cache lines of its own, so that threads do not take them from each other.
#[derive(Debug, Default)]
pub(crate) struct PerThread<T>([Lines<T>; PLACES]);

/// Processors fetch cache lines in pairs of 64 bytes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines<T>(T);

impl<T> PerThread<T> {
    /// The value of the present thread, and of those that share its place.
    pub(crate) fn mine(&self) -> &T {
        &self.0[place()].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lines| &lines.0)
    }
}
