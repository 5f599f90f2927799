//! Numbers the threads of the process, so that each can have a place of its own in what all of them use.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
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
        self.at(place())
    }

    /// The value of a thread that has this [`place`].
    pub(crate) fn at(&self, place: usize) -> &T {
        &self.0[place].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lines| &lines.0)
    }
}

/// A value that every request holds for a while. Each thread counts those that it has given out in a place of its own:
/// one count for all of them would be passed from processor to processor with every request.
#[derive(Debug)]
pub struct ShardedArc<T> {
    value: Arc<T>,
    by_thread: [ShardRef<T>; PLACES],
}

/// A share in a [`ShardedArc`], which lives as long as there is one. It may end on another thread than it began on.
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

/// For those that hold it seldom, or for long.
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
