//! One queue in memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;

use super::super::{KEY_KEPT, Lease, pause_after};
use super::{
    Bounds, Counts, DeadItem, Delivery, Holder, Item, Key, NewItem, QueueError, QueueName, Reason, Receipt, Selection,
    Settled, Status, Tags, Want, Whereabouts,
};
use crate::queue::Consumer;

/// A queue with all its items.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) bounds: Bounds,
    pub(super) items: BTreeMap<u64, Kept>,
    /// Results that consumers of other queues will put here.
    pub(super) kept_room: u64,
    pub(super) ended: bool,
    pub(super) ended_at_once: bool,
    /// True if the queue is to be removed.
    pub(super) closed: bool,
    last: u64,
    counts: Counts,
    keys: HashMap<String, KnownKey>,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    item: Item,
    state: State,
    /// The number of the last delivery.
    turn: u32,
    /// The deliveries that count.
    count: u32,
    partial: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum State {
    Ready,
    Leased { consumer: Consumer, until: Instant, room_in: Option<QueueName> },
    Delayed { until: Instant },
    Dead { reason: Reason, at_ms: u64 },
}

#[derive(Clone, Debug)]
struct KnownKey {
    index: u64,
    digest: [u8; 32],
    at_ms: u64,
}

impl Kept {
    fn is_live(&self) -> bool {
        !matches!(self.state, State::Dead { .. })
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    fn is_held_by(&self, holder: &Holder) -> bool {
        match (&self.state, holder) {
            (State::Leased { .. }, Holder::Lease(Lease(turn))) => *turn == self.turn,
            (State::Leased { consumer, .. }, Holder::Consumer(name)) => consumer == name,
            _ => false,
        }
    }

    fn rank(&self) -> (Reverse<u8>, u64) {
        (Reverse(self.item.priority), self.item.index)
    }

    /// The queue in which room is kept for this item's result.
    fn room_in(&self) -> Option<QueueName> {
        match &self.state {
            State::Leased { room_in, .. } => room_in.clone(),
            _ => None,
        }
    }
}

impl Shelf {
    /// Opens the queue, or opens it again, with these bounds.
    pub(super) const fn open(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.closed = false;
    }

    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            items: BTreeMap::new(),
            kept_room: 0,
            ended: false,
            ended_at_once: false,
            closed: false,
            last: 0,
            counts: Counts::default(),
            keys: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.items.len() as u64
    }

    pub(super) fn room(&self) -> u64 {
        self.bounds.length.saturating_sub(self.len() + self.kept_room)
    }

    pub(super) fn rooms(&self) -> Vec<QueueName> {
        self.items.values().filter_map(Kept::room_in).collect()
    }

    /// Ends leases and pauses that are over, and removes items that are too old. Returns the queues in which room was
    /// kept.
    pub(super) fn due(&mut self, now: Instant, wall_ms: u64) -> Vec<QueueName> {
        let mut freed = Vec::new();
        let expired: Vec<u64> = self
            .items
            .iter()
            .filter(|(_, kept)| matches!(kept.state, State::Leased { until, .. } if until <= now))
            .map(|(index, _)| *index)
            .collect();
        for index in expired {
            freed.extend(self.items[&index].room_in());
            self.fail(index, Reason::new(Reason::LEASE_EXPIRED, "the lease was not renewed"), now, wall_ms);
        }
        for kept in self.items.values_mut() {
            if matches!(kept.state, State::Delayed { until } if until <= now) {
                kept.state = State::Ready;
            }
        }
        if let Some(retention) = self.bounds.retention {
            let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
            let is_old = |kept: &Kept| kept.item.put_at_ms.saturating_add(retention) <= wall_ms;
            let old = self.items.values().take_while(|kept| is_old(kept));
            let removed = old.filter(|kept| !matches!(kept.state, State::Leased { .. }));
            let removed: Vec<u64> = removed.map(|kept| kept.item.index).collect();
            removed.iter().for_each(|index| drop(self.items.remove(index)));
            self.counts.expired += removed.len() as u64;
        }
        freed
    }

    /// Fails all deliveries and begins all pauses anew.
    pub(super) fn crash(&mut self, now: Instant, wall_ms: u64) {
        self.counts = Counts::default();
        let indexes: Vec<u64> = self.items.keys().copied().collect();
        for index in indexes {
            let count = self.items[&index].count;
            match self.items[&index].state {
                State::Leased { .. } => {
                    self.fail(index, Reason::new(Reason::HOST_ENDED, "the host ended"), now, wall_ms);
                }
                State::Delayed { .. } => {
                    self.at(index).state = State::Delayed { until: now + pause_after(count) };
                }
                State::Ready | State::Dead { .. } => {}
            }
        }
    }

    fn at(&mut self, index: u64) -> &mut Kept {
        self.items.get_mut(&index).expect("the item is there")
    }

    pub(super) fn put(&mut self, item: NewItem, key: Option<Key>, wall_ms: u64) -> Result<Receipt, QueueError> {
        if item.data.len() > self.bounds.payload {
            return Err(QueueError::TooLarge { limit: self.bounds.payload });
        }
        let kept = u64::try_from(KEY_KEPT.as_millis()).unwrap_or(u64::MAX);
        self.keys.retain(|_, known| wall_ms < known.at_ms.saturating_add(kept));
        if let Some(known) = key.as_ref().and_then(|key| self.keys.get(&key.text)) {
            return match key.is_some_and(|key| key.digest == known.digest) {
                true => Ok(Receipt { index: known.index, repeated: true }),
                false => Err(QueueError::KeyReused { index: known.index }),
            };
        }
        if self.ended || self.closed {
            return Err(QueueError::Ended);
        }
        if self.room() == 0 {
            return Err(QueueError::Full { length: self.bounds.length });
        }
        let index = self.add(item, wall_ms);
        if let Some(Key { text, digest }) = key {
            self.keys.insert(text, KnownKey { index, digest, at_ms: wall_ms });
        }
        Ok(Receipt { index, repeated: false })
    }

    pub(super) fn add(&mut self, item: NewItem, wall_ms: u64) -> u64 {
        self.last += 1;
        self.counts.put += 1;
        let NewItem { priority, tags, target, headers, data } = item;
        let item = Item { index: self.last, priority, tags, target, headers, data, put_at_ms: wall_ms };
        self.items.insert(self.last, Kept { item, state: State::Ready, turn: 0, count: 0, partial: None });
        self.last
    }

    /// The indexes of ready items in the order of delivery.
    fn ready(&self, from: u64, tags: &Tags) -> Vec<u64> {
        let mut ready: Vec<&Kept> = self
            .items
            .range(from..)
            .map(|(_, kept)| kept)
            .filter(|kept| kept.is_ready() && kept.item.tags.contain(tags))
            .collect();
        ready.sort_by_key(|kept| kept.rank());
        ready.into_iter().map(|kept| kept.item.index).collect()
    }

    pub(super) fn take(&mut self, want: &Want, most: usize, now: Instant) -> Result<Vec<Delivery>, QueueError> {
        if self.closed || self.ended_at_once || self.ended && !self.items.values().any(Kept::is_live) {
            return Err(QueueError::Ended);
        }
        let taken = self.ready(want.from, &want.tags).into_iter().take(most).map(|index| {
            let kept = self.items.get_mut(&index).expect("the item is there");
            self.counts.delivered += 1;
            self.counts.redelivered += u64::from(kept.turn > 0);
            kept.turn += 1;
            kept.count += 1;
            let (consumer, room_in) = (want.consumer.clone(), want.room_in.clone());
            kept.state = State::Leased { consumer, until: now + want.hold, room_in };
            let (item, partial) = (kept.item.clone(), kept.partial.clone());
            Delivery { item, lease: Lease(kept.turn), count: kept.count, partial }
        });
        Ok(taken.collect())
    }

    pub(super) fn renew(&mut self, index: u64, by: &Holder, new_until: Instant) -> bool {
        match self.items.get_mut(&index) {
            Some(kept) if kept.is_held_by(by) => {
                if let State::Leased { until, .. } = &mut kept.state {
                    *until = new_until;
                }
                true
            }
            _ => false,
        }
    }

    /// The queue in which room is kept for the result of a held item.
    pub(super) fn room_of(&self, index: u64, holder: &Holder) -> Result<Option<QueueName>, QueueError> {
        match self.items.get(&index) {
            Some(kept) if kept.is_held_by(holder) => Ok(kept.room_in()),
            _ => Err(QueueError::LeaseLost { index }),
        }
    }

    pub(super) fn fail(&mut self, index: u64, reason: Reason, now: Instant, wall_ms: u64) -> Settled {
        let most = self.bounds.deliveries;
        let kept = self.at(index);
        if kept.count >= most {
            kept.state = State::Dead { reason, at_ms: wall_ms };
            self.counts.died += 1;
            return Settled::Dead;
        }
        let pause = pause_after(kept.count);
        kept.state = State::Delayed { until: now + pause };
        Settled::Delayed(pause)
    }

    /// Removes an item that its consumer has finished.
    pub(super) fn finish(&mut self, index: u64) {
        self.items.remove(&index);
        self.counts.finished += 1;
    }

    pub(super) fn give_back(&mut self, index: u64) -> Settled {
        let kept = self.at(index);
        kept.count -= 1;
        kept.state = State::Ready;
        Settled::Ready
    }

    pub(super) fn keep_partial(&mut self, index: u64, holder: &Holder, partial: Bytes) -> Result<(), QueueError> {
        if partial.len() > self.bounds.payload {
            return Err(QueueError::TooLarge { limit: self.bounds.payload });
        }
        self.room_of(index, holder)?;
        self.at(index).partial = Some(partial);
        Ok(())
    }

    pub(super) fn read(&self, selection: &Selection) -> Vec<Item> {
        let live = self.items.range(selection.from..).map(|(_, kept)| kept).filter(|kept| kept.is_live());
        let mut found: Vec<Item> =
            live.map(|kept| kept.item.clone()).filter(|item| item.tags.contain(&selection.tags)).collect();
        if selection.newest_first {
            found.reverse();
        }
        found.truncate(selection.most);
        found
    }

    pub(super) fn pop(&mut self, selection: &Selection) -> Vec<Item> {
        let mut ready = self.ready(selection.from, &selection.tags);
        if selection.newest_first {
            ready.sort_by_key(|index| Reverse(*index));
        }
        ready.truncate(selection.most);
        self.counts.finished += ready.len() as u64;
        ready.iter().filter_map(|index| self.items.remove(index)).map(|kept| kept.item).collect()
    }

    /// Removes live items. Returns those that were there, and the queues in which room was kept.
    pub(super) fn delete(&mut self, indexes: &[u64]) -> (Vec<u64>, Vec<QueueName>) {
        let mut deleted = Vec::new();
        let mut freed = Vec::new();
        for index in indexes {
            if self.items.get(index).is_some_and(Kept::is_live) {
                freed.extend(self.items.remove(index).and_then(|kept| kept.room_in()));
                deleted.push(*index);
            }
        }
        (deleted, freed)
    }

    pub(super) fn find(&self, index: u64, now: Instant) -> Option<Whereabouts> {
        let kept = self.items.get(&index)?;
        Some(match &kept.state {
            State::Ready => {
                let is_ahead = |other: &&Kept| other.is_ready() && other.rank() < kept.rank();
                Whereabouts::Ready { ahead: self.items.values().filter(is_ahead).count() as u64 }
            }
            State::Leased { consumer, .. } => {
                Whereabouts::Leased { consumer: consumer.as_str().to_owned(), count: kept.count }
            }
            State::Delayed { until } => Whereabouts::Delayed { remaining: until.saturating_duration_since(now) },
            State::Dead { .. } => Whereabouts::Dead,
        })
    }

    pub(super) fn count(&self, priority: Option<u8>, tags: &Tags) -> u64 {
        let counts = |kept: &&Kept| {
            kept.is_live()
                && priority.is_none_or(|priority| priority == kept.item.priority)
                && kept.item.tags.contain(tags)
        };
        self.items.values().filter(counts).count() as u64
    }

    pub(super) fn status(&self) -> Status {
        let number = |is: fn(&State) -> bool| self.items.values().filter(|kept| is(&kept.state)).count() as u64;
        let mut ready: BTreeMap<Reverse<u8>, u64> = BTreeMap::new();
        for kept in self.items.values().filter(|kept| kept.is_ready()) {
            *ready.entry(Reverse(kept.item.priority)).or_default() += 1;
        }
        let oldest = self.items.values().find(|kept| kept.is_live());
        Status {
            ready: ready.into_iter().map(|(Reverse(priority), count)| (priority, count)).collect(),
            leased: number(|state| matches!(state, State::Leased { .. })),
            delayed: number(|state| matches!(state, State::Delayed { .. })),
            dead: number(|state| matches!(state, State::Dead { .. })),
            first: oldest.map_or(0, |kept| kept.item.index),
            last: self.last,
            oldest_put_ms: oldest.map_or(0, |kept| kept.item.put_at_ms),
            ended: self.ended,
            counts: self.counts,
        }
    }

    pub(super) fn dead(&self, from: u64, most: usize) -> Vec<DeadItem> {
        let dead = self.items.range(from..).filter_map(|(_, kept)| match &kept.state {
            State::Dead { reason, at_ms } => Some(DeadItem {
                item: kept.item.clone(),
                reason: reason.clone(),
                deliveries: kept.count,
                died_at_ms: *at_ms,
            }),
            _ => None,
        });
        dead.take(most).collect()
    }

    fn dead_among(&self, indexes: Option<&[u64]>) -> Vec<u64> {
        let is_meant = |index: &u64| indexes.is_none_or(|indexes| indexes.contains(index));
        self.items.iter().filter(|(index, kept)| !kept.is_live() && is_meant(index)).map(|(index, _)| *index).collect()
    }

    pub(super) fn requeue(&mut self, indexes: Option<&[u64]>) -> u64 {
        let dead = self.dead_among(indexes);
        for index in &dead {
            let kept = self.at(*index);
            kept.state = State::Ready;
            kept.count = 0;
        }
        dead.len() as u64
    }

    pub(super) fn purge(&mut self, indexes: Option<&[u64]>) -> u64 {
        let dead = self.dead_among(indexes);
        dead.iter().for_each(|index| drop(self.items.remove(index)));
        dead.len() as u64
    }
}
