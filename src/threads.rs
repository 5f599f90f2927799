//! Places of threads: each thread has a number, and with it a slot of its own in data that all threads use.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of places: enough for a handful of network threads and the background threads.
pub(crate) const PLACES: usize = 8;

/// Returns the place of the current thread, below [`PLACES`]. Several threads may share a place.
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

/// One value for each place. Each value has cache lines of its own, so that threads do not contend for them.
#[derive(Debug, Default)]
pub(crate) struct PerThread<T>([Lines<T>; PLACES]);

/// A value on cache lines of its own. Processors fetch lines of 64 bytes in pairs, hence the alignment.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines<T>(T);

impl<T> PerThread<T> {
    /// Returns the value of the current thread, shared by the threads with the same place.
    pub(crate) fn mine(&self) -> &T {
        self.at(place())
    }

    /// Returns the value of the threads with this [`place`].
    pub(crate) fn at(&self, place: usize) -> &T {
        &self.0[place].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lines| &lines.0)
    }
}

/// A value that every request holds for a while. Each thread counts its references in a place of its own: a single
/// count would move from processor to processor with every request.
#[derive(Debug)]
pub struct ShardedArc<T> {
    value: Arc<T>,
    by_thread: [ShardRef<T>; PLACES],
}

/// A reference to the value of a [`ShardedArc`], which keeps it alive. It may be dropped on another thread.
#[derive(Debug)]
pub struct ShardRef<T>(Arc<Lines<Arc<T>>>);

impl<T> ShardedArc<T> {
    pub(crate) fn hold(&self) -> ShardRef<T> {
        self.by_thread[place()].clone()
    }
}

impl<T> From<Arc<T>> for ShardedArc<T> {
    fn from(value: Arc<T>) -> Self {
        let by_thread = std::array::from_fn(|_| ShardRef::from(Arc::clone(&value)));
        Self { value, by_thread }
    }
}

impl<T> Clone for ShardedArc<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), by_thread: self.by_thread.clone() }
    }
}

/// Access to the plain [`Arc`], for references that are taken rarely or kept for long.
impl<T> Deref for ShardedArc<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> From<Arc<T>> for ShardRef<T> {
    fn from(value: Arc<T>) -> Self {
        Self(Arc::new(Lines(value)))
    }
}

impl<T> Clone for ShardRef<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for ShardRef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_lives_as_long_as_somebody_holds_it_on_whatever_thread() {
        let value = Arc::new(7);
        let shared = ShardedArc::from(Arc::clone(&value));
        let here = shared.hold();
        let elsewhere = std::thread::scope(|threads| threads.spawn(|| shared.hold()).join().unwrap());
        assert!(!Arc::ptr_eq(&here.0, &elsewhere.0), "each thread counts its own");
        assert!(Arc::ptr_eq(&here.0, &shared.hold().0));
        drop(shared);
        assert_eq!((*here, *elsewhere, Arc::strong_count(&value)), (7, 7, 3));
        drop(here);
        std::thread::spawn(move || drop(elsewhere)).join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
