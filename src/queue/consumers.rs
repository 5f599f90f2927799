//! The consumers of queues, as their operators see them, and the places that each has for further items.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Consumer, Lease, QueueName};

/// The time for which a consumer that has left is listed.
const LISTED_AFTER: Duration = Duration::from_secs(60);
/// The time after which a consumer that has left counts as gone for good.
const LEAVING: Duration = Duration::from_secs(10);
/// Most consumers of a queue that are listed after they have left.
const MOST_LEFT: usize = 16;

/// The consumers of all queues.
#[derive(Debug, Default)]
pub struct Consumers {
    queues: Mutex<HashMap<QueueName, Listed>>,
}

#[derive(Debug, Default)]
struct Listed {
    present: Vec<Arc<Seat>>,
    left: VecDeque<(Instant, ConsumerStatus)>,
}

/// A consumer that takes items from a queue for as long as this value lives.
#[derive(Debug)]
pub struct Attendance {
    consumers: Arc<Consumers>,
    queue: QueueName,
    seat: Arc<Seat>,
}

/// The state of a consumer.
#[derive(Debug)]
pub struct Seat {
    id: Consumer,
    window: usize,
    auto_commit: bool,
    /// The index of the last item that it got.
    index: AtomicU64,
    held: Mutex<BTreeMap<u64, Held>>,
    active: Mutex<Instant>,
    changed: Notify,
}

/// An item that a consumer holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub lease: Lease,
    /// The time of its delivery, or of the last request for more time.
    pub since: Instant,
}

/// The state of a consumer, in the words of EAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    Running,
    /// It disconnected a short time ago.
    Leaving,
    /// It disconnected with items that it had not committed.
    Exit,
    /// It disconnected and had committed everything.
    Complete,
}

/// A line in the list of consumers.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    pub id: Consumer,
    pub index: u64,
    /// The number of items that it holds. Once it has left: of those that it held then.
    pub pending: usize,
    pub window: usize,
    pub auto_commit: bool,
    /// The time since it last got or finished an item.
    pub idle: Duration,
    /// The time since it left; `None` for one that is present.
    pub left: Option<Duration>,
}

impl fmt::Display for ConsumerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "Running",
            Self::Leaving => "Leaving",
            Self::Exit => "Exit",
            Self::Complete => "Complete",
        })
    }
}

impl ConsumerStatus {
    pub fn state(&self) -> ConsumerState {
        match (self.left, self.pending) {
            (None, _) => ConsumerState::Running,
            (Some(ago), _) if ago < LEAVING => ConsumerState::Leaving,
            (Some(_), 0) => ConsumerState::Complete,
            (Some(_), _) => ConsumerState::Exit,
        }
    }
}

impl Consumers {
    /// Lists a consumer with room for `window` items.
    pub fn enter(self: &Arc<Self>, queue: &QueueName, id: Consumer, window: usize, auto_commit: bool) -> Attendance {
        let seat = Arc::new(Seat {
            id,
            window,
            auto_commit,
            index: AtomicU64::new(0),
            held: Mutex::default(),
            active: Mutex::new(Instant::now()),
            changed: Notify::new(),
        });
        self.lock().entry(queue.clone()).or_default().present.push(Arc::clone(&seat));
        Attendance { consumers: Arc::clone(self), queue: queue.clone(), seat }
    }

    /// The consumers of a queue: those that are present, and those that left lately.
    pub fn list(&self, queue: &QueueName) -> Vec<ConsumerStatus> {
        let mut queues = self.lock();
        let Some(listed) = queues.get_mut(queue) else { return Vec::new() };
        listed.left.retain(|(at, _)| at.elapsed() < LISTED_AFTER);
        let left = listed.left.iter().map(|(at, status)| ConsumerStatus { left: Some(at.elapsed()), ..status.clone() });
        listed.present.iter().map(|seat| seat.status()).chain(left).collect()
    }

    /// The lease of an item that a consumer of this name holds.
    pub fn lease_of(&self, queue: &QueueName, id: &Consumer, index: u64) -> Option<Lease> {
        let queues = self.lock();
        let seats = queues.get(queue)?.present.iter().filter(|seat| seat.id == *id);
        seats.filter_map(|seat| seat.held().get(&index).map(|held| held.lease)).next()
    }

    /// Notes that a consumer does not hold an item any more.
    pub fn finished(&self, queue: &QueueName, id: &Consumer, index: u64) {
        self.each(queue, id, |seat| seat.finished(index));
    }

    /// Gives a consumer more time for an item; false if it does not hold the item.
    pub fn extend(&self, queue: &QueueName, id: &Consumer, index: u64) -> bool {
        let mut is_held = false;
        self.each(queue, id, |seat| {
            if let Some(held) = seat.held().get_mut(&index) {
                held.since = Instant::now();
                is_held = true;
            }
        });
        is_held
    }

    fn each(&self, queue: &QueueName, id: &Consumer, mut act: impl FnMut(&Seat)) {
        let queues = self.lock();
        let seats = queues.get(queue).into_iter().flat_map(|listed| &listed.present);
        seats.filter(|seat| seat.id == *id).for_each(|seat| act(seat));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Listed>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attendance {
    pub fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut queues = self.consumers.lock();
        let Some(listed) = queues.get_mut(&self.queue) else { return };
        listed.present.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        if listed.left.len() == MOST_LEFT {
            listed.left.pop_front();
        }
        listed.left.push_back((Instant::now(), self.seat.status()));
    }
}

impl Seat {
    pub fn id(&self) -> &Consumer {
        &self.id
    }

    /// The number of items that the consumer has room for.
    pub fn free(&self) -> usize {
        self.window.saturating_sub(self.held().len())
    }

    /// Ready after the consumer has finished an item.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn got(&self, index: u64, lease: Lease) {
        self.index.store(index, Ordering::Relaxed);
        self.held().insert(index, Held { lease, since: Instant::now() });
        self.touch();
    }

    pub fn finished(&self, index: u64) {
        if self.held().remove(&index).is_some() {
            self.touch();
            self.changed.notify_one();
        }
    }

    /// The items that the consumer holds.
    pub fn holds(&self) -> Vec<(u64, Held)> {
        self.held().iter().map(|(index, held)| (*index, *held)).collect()
    }

    fn touch(&self) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> ConsumerStatus {
        ConsumerStatus {
            id: self.id.clone(),
            index: self.index.load(Ordering::Relaxed),
            pending: self.held().len(),
            window: self.window,
            auto_commit: self.auto_commit,
            idle: self.active.lock().unwrap_or_else(PoisonError::into_inner).elapsed(),
            left: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_has_room_again_for_each_item_that_it_finishes() {
        let consumers = Arc::<Consumers>::default();
        let (queue, id) = (QueueName::input("s"), Consumer::new("eas.a"));
        let attendance = consumers.enter(&queue, id.clone(), 2, false);
        attendance.seat().got(7, Lease(1));
        attendance.seat().got(9, Lease(3));
        assert_eq!((attendance.seat().free(), consumers.lease_of(&queue, &id, 9)), (0, Some(Lease(3))));
        assert!(consumers.extend(&queue, &id, 7) && !consumers.extend(&queue, &id, 8));
        consumers.finished(&queue, &id, 7);
        consumers.finished(&queue, &Consumer::new("eas.b"), 9);
        assert_eq!(attendance.seat().free(), 1, "another consumer's word does not count");
        let line = consumers.list(&queue).remove(0);
        assert_eq!((line.index, line.pending, line.left.is_some()), (9, 1, false));
    }

    #[test]
    fn a_consumer_that_left_is_leaving_and_then_exit_or_complete() {
        let consumers = Arc::<Consumers>::default();
        let queue = QueueName::input("s");
        let attendance = consumers.enter(&queue, Consumer::new("eas.a"), 2, false);
        let running = consumers.list(&queue).remove(0);
        drop(attendance);
        let leaving = consumers.list(&queue).remove(0);
        let gone = |pending| ConsumerStatus { left: Some(LEAVING), pending, ..leaving.clone() };
        let states = [running, leaving.clone(), gone(1), gone(0)].map(|line| line.state().to_string());
        assert_eq!(states, ["Running", "Leaving", "Exit", "Complete"]);
    }

    #[test]
    fn those_who_left_are_listed_for_a_while_and_not_all_of_them() {
        let consumers = Arc::<Consumers>::default();
        let queue = QueueName::input("s");
        for number in 0..1000 {
            drop(consumers.enter(&queue, Consumer::new(format!("eas.{number}")), 5, true));
        }
        let listed = consumers.list(&queue);
        assert_eq!((listed.len(), listed[MOST_LEFT - 1].id.as_str()), (MOST_LEFT, "eas.999"));
        assert!(listed.iter().all(|line| line.left.is_some()));
    }
}
