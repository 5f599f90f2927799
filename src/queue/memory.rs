//! Queues in memory: the reference for the meaning of every operation, with the simplest code.
//!
//! Each operation looks at all items. Tests compare `local` with it.

mod shelf;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use self::shelf::Shelf;
use super::{
    Bounds, Clock, Counts, DeadItem, Delivery, Holder, Item, Key, NewItem, Outcome, QueueError, QueueFuture, QueueName,
    QueueStore, Reason, Receipt, Selection, Settled, Status, Tags, Want, Whereabouts,
};

/// Queues that are lost when the process ends.
#[derive(Debug)]
pub struct MemoryQueues {
    clock: Clock,
    queues: Mutex<BTreeMap<QueueName, Shelf>>,
    /// Changes with every operation that may make items ready.
    changes: watch::Sender<u64>,
}

/// The state of the store during one operation.
pub(super) struct Moment<'a> {
    queues: MutexGuard<'a, BTreeMap<QueueName, Shelf>>,
    now: Instant,
    wall_ms: u64,
}

impl MemoryQueues {
    pub fn new(clock: Clock) -> Self {
        Self { clock, queues: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Has the effect of a crash of the host: every delivery that is under way has failed, and every pause begins anew.
    pub fn crash(&self) {
        // A crash does not wait for due work.
        let (now, wall_ms) = self.clock.read();
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for shelf in queues.values_mut() {
            shelf.crash(now, wall_ms);
            shelf.kept_room = 0;
        }
    }

    /// A copy of the queues in their present state, with a clock of its own.
    #[cfg(test)]
    pub(super) fn copy(&self, clock: Clock) -> Self {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { queues: Mutex::new(queues), ..Self::new(clock) }
    }

    /// The state, after everything that is due at this moment.
    fn moment(&self) -> Moment<'_> {
        let (now, wall_ms) = self.clock.read();
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let freed: Vec<QueueName> = queues.values_mut().flat_map(|shelf| shelf.due(now, wall_ms)).collect();
        for name in freed {
            free_room(&mut queues, &name);
        }
        Moment { queues, now, wall_ms }
    }

    fn with<T>(
        &self,
        queue: &QueueName,
        work: impl FnOnce(&mut Moment<'_>) -> Result<T, QueueError>,
    ) -> QueueFuture<'_, T>
    where
        T: Send + 'static,
    {
        let mut moment = self.moment();
        let result = match moment.queues.contains_key(queue) {
            true => work(&mut moment),
            false => Err(QueueError::NoQueue(queue.to_string())),
        };
        drop(moment);
        self.changes.send_modify(|changes| *changes += 1);
        Box::pin(async { result })
    }

    /// Tries until there is something.
    async fn until_some<T>(
        &self,
        wait: bool,
        mut attempt: impl FnMut(&mut Moment<'_>) -> Result<Vec<T>, QueueError>,
    ) -> Result<Vec<T>, QueueError> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let found = attempt(&mut self.moment())?;
            if !found.is_empty() || !wait {
                return Ok(found);
            }
            // A pause or a lease may end without any operation.
            let _ = tokio::time::timeout(Duration::from_millis(5), changes.changed()).await;
        }
    }
}

impl Moment<'_> {
    fn shelf(&mut self, queue: &QueueName) -> Result<&mut Shelf, QueueError> {
        self.queues.get_mut(queue).ok_or_else(|| QueueError::NoQueue(queue.to_string()))
    }

    fn free(&mut self, freed: Vec<QueueName>) {
        for name in freed {
            free_room(&mut self.queues, &name);
        }
    }
}

fn free_room(queues: &mut BTreeMap<QueueName, Shelf>, name: &QueueName) {
    if let Some(shelf) = queues.get_mut(name) {
        shelf.kept_room = shelf.kept_room.saturating_sub(1);
    }
}

impl QueueStore for MemoryQueues {
    fn open<'a>(&'a self, queue: &'a QueueName, bounds: Bounds) -> QueueFuture<'a, ()> {
        let mut moment = self.moment();
        moment.queues.entry(queue.clone()).or_insert_with(|| Shelf::new(bounds)).open(bounds);
        Box::pin(async { Ok(()) })
    }

    fn close<'a>(&'a self, queue: &'a QueueName, with_items: bool) -> QueueFuture<'a, ()> {
        self.with(queue, |moment| {
            let shelf = moment.shelf(queue)?;
            let items = shelf.len();
            if items > 0 && !with_items {
                return Err(QueueError::NotEmpty { items });
            }
            shelf.closed = true;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, ()> {
        self.with(queue, |moment| {
            moment.shelf(queue)?;
            let removed = moment.queues.remove(queue).map(|shelf| shelf.rooms()).unwrap_or_default();
            moment.free(removed);
            Ok(())
        })
    }

    fn put<'a>(&'a self, queue: &'a QueueName, item: NewItem, key: Option<Key>) -> QueueFuture<'a, Receipt> {
        self.with(queue, |moment| {
            let wall_ms = moment.wall_ms;
            moment.shelf(queue)?.put(item, key, wall_ms)
        })
    }

    fn take<'a>(&'a self, queue: &'a QueueName, want: Want) -> QueueFuture<'a, Vec<Delivery>> {
        Box::pin(self.until_some(want.wait, move |moment| {
            let now = moment.now;
            let room = match &want.room_in {
                None => u64::MAX,
                Some(sink) => moment.shelf(sink)?.room(),
            };
            let most = want.most.min(usize::try_from(room).unwrap_or(usize::MAX));
            let taken = moment.shelf(queue)?.take(&want, most, now)?;
            if let Some(sink) = &want.room_in {
                moment.shelf(sink)?.kept_room += taken.len() as u64;
            }
            Ok(taken)
        }))
    }

    fn renew<'a>(
        &'a self,
        queue: &'a QueueName,
        leases: Vec<(u64, Holder)>,
        hold: Duration,
    ) -> QueueFuture<'a, Vec<u64>> {
        self.with(queue, |moment| {
            let until = moment.now + hold;
            let shelf = moment.shelf(queue)?;
            Ok(leases
                .iter()
                .filter(|(index, holder)| !shelf.renew(*index, holder, until))
                .map(|(index, _)| *index)
                .collect())
        })
    }

    fn settle<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        outcome: Outcome,
    ) -> QueueFuture<'a, Settled> {
        self.with(queue, |moment| {
            let (now, wall_ms) = (moment.now, moment.wall_ms);
            let room_in = moment.shelf(queue)?.room_of(index, &holder)?;
            if let Outcome::Done { result: Some(result) } = &outcome {
                let shelf = moment.shelf(&result.0)?;
                if room_in.as_ref() != Some(&result.0) && shelf.room() == 0 {
                    return Err(QueueError::Full { length: shelf.bounds.length });
                }
            }
            moment.free(room_in.into_iter().collect());
            match outcome {
                Outcome::Done { result } => {
                    moment.shelf(queue)?.finish(index);
                    if let Some(result) = result {
                        let (into, item) = *result;
                        moment.shelf(&into)?.add(item, wall_ms);
                    }
                    Ok(Settled::Removed)
                }
                Outcome::Failed(reason) => Ok(moment.shelf(queue)?.fail(index, reason, now, wall_ms)),
                Outcome::Returned => Ok(moment.shelf(queue)?.give_back(index)),
            }
        })
    }

    fn keep_partial<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        partial: Bytes,
    ) -> QueueFuture<'a, ()> {
        self.with(queue, |moment| moment.shelf(queue)?.keep_partial(index, &holder, partial))
    }

    fn read<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.read(&selection)))
    }

    fn pop<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>> {
        Box::pin(self.until_some(selection.wait, move |moment| Ok(moment.shelf(queue)?.pop(&selection))))
    }

    fn delete<'a>(&'a self, queue: &'a QueueName, indexes: Vec<u64>) -> QueueFuture<'a, Vec<u64>> {
        self.with(queue, |moment| {
            let (deleted, freed) = moment.shelf(queue)?.delete(&indexes);
            moment.free(freed);
            Ok(deleted)
        })
    }

    fn truncate<'a>(&'a self, queue: &'a QueueName, before: u64) -> QueueFuture<'a, u64> {
        self.with(queue, |moment| {
            let shelf = moment.shelf(queue)?;
            let below: Vec<u64> = shelf.items.keys().copied().take_while(|index| *index < before).collect();
            let (deleted, freed) = shelf.delete(&below);
            moment.free(freed);
            Ok(deleted.len() as u64)
        })
    }

    fn end<'a>(&'a self, queue: &'a QueueName, at_once: bool) -> QueueFuture<'a, ()> {
        self.with(queue, |moment| {
            let shelf = moment.shelf(queue)?;
            shelf.ended = true;
            shelf.ended_at_once |= at_once;
            Ok(())
        })
    }

    fn find<'a>(&'a self, queue: &'a QueueName, index: u64) -> QueueFuture<'a, Option<Whereabouts>> {
        self.with(queue, |moment| {
            let now = moment.now;
            Ok(moment.shelf(queue)?.find(index, now))
        })
    }

    fn count<'a>(&'a self, queue: &'a QueueName, priority: Option<u8>, tags: Tags) -> QueueFuture<'a, u64> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.count(priority, &tags)))
    }

    fn status<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, Status> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.status()))
    }

    fn dead<'a>(&'a self, queue: &'a QueueName, from: u64, most: usize) -> QueueFuture<'a, Vec<DeadItem>> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.dead(from, most)))
    }

    fn requeue<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.requeue(indexes.as_deref())))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64> {
        self.with(queue, |moment| Ok(moment.shelf(queue)?.purge(indexes.as_deref())))
    }

    fn glance(&self, queue: &QueueName) -> Option<Status> {
        self.moment().shelf(queue).ok().map(|shelf| shelf.status())
    }

    fn is_full(&self, queue: &QueueName) -> bool {
        self.moment().shelf(queue).is_ok_and(|shelf| shelf.room() == 0)
    }

    fn arrivals(&self, queue: &QueueName) -> Option<watch::Receiver<u64>> {
        self.moment().shelf(queue).ok().map(|_| self.changes.subscribe())
    }
}
