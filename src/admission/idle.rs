//! Idle workers.

use crate::threads::{PLACES, place};

/// Idle workers, by the thread on which they worked last, because their memory is in that processor's cache. The worker
/// that became idle last is used first.
pub(super) struct Idle<W> {
    by_thread: [Vec<W>; PLACES],
    count: usize,
}

impl<W> Idle<W> {
    pub(super) fn new(workers: Vec<W>) -> Self {
        let count = workers.len();
        let mut by_thread = [const { Vec::new() }; PLACES];
        by_thread[place()] = workers;
        Self { by_thread, count }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn rest(&mut self, worker: W) {
        self.by_thread[place()].push(worker);
        self.count += 1;
    }

    /// Takes a worker that worked on this thread, or else any other.
    pub(super) fn take(&mut self) -> Option<W> {
        if self.count == 0 {
            return None;
        }
        let worker = match self.by_thread[place()].pop() {
            Some(worker) => worker,
            None => self.by_thread.iter_mut().find_map(Vec::pop)?,
        };
        self.count -= 1;
        Some(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_its_own_worker_back_and_otherwise_anothers() {
        let mut idle = Idle::new(vec![1, 2]);
        assert_eq!(idle.take(), Some(2));
        idle.rest(2);
        assert_eq!(idle.take(), Some(2), "the last to rest is the first to work");
        idle.rest(2);
        let mut idle = std::thread::spawn(move || {
            assert_eq!(idle.take(), Some(2), "nothing of its own: another thread's");
            idle.rest(2);
            assert_eq!(idle.take(), Some(2), "now its own");
            idle.rest(2);
            idle
        })
        .join()
        .unwrap();
        assert_eq!(idle.take(), Some(1));
        assert_eq!((idle.len(), idle.take(), idle.take(), idle.len()), (1, Some(2), None, 0));
    }
}
