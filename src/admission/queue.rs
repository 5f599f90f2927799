//! The queue of waiting calls: first in, first out. A call may leave from any position.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// The sender that hands a waiting call its worker.
pub(super) type Waiter<T> = oneshot::Sender<T>;

pub(super) struct Queue<T> {
    waiting: VecDeque<(u64, Waiter<T>)>,
    next_id: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), next_id: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Joins the end of the queue. The id is for leaving it.
    pub(super) fn join(&mut self) -> (u64, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.push_back((id, sender));
        (id, receiver)
    }

    pub(super) fn next(&mut self) -> Option<Waiter<T>> {
        self.waiting.pop_front().map(|(_, waiter)| waiter)
    }

    /// Leaves the queue. Returns false if the call already got its worker. Ids only grow, so a binary search finds the
    /// position.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        match self.waiting.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => self.waiting.remove(place).is_some(),
            Err(_) => false,
        }
    }
}
