//! The choice of ready items, and their delivery.

use redb::ReadableTable;

use super::super::{Delivery, Lease, MOST_BYTES, QueueError, QueueName, Reason, Tags};
use super::batch::{Batch, Step, Stop};
use super::book::Held;
use super::tables::{StateKind, StateRow, rank, tag};
use super::waiters::{Answer, Taken, Wish};

impl Batch<'_, '_> {
    /// Grants a wish, or adds it to those that wait.
    pub(super) fn wish(&mut self, queue: &QueueName, wish: Wish) -> Result<(), redb::Error> {
        match self.grant(queue, wish) {
            Ok(None) => {}
            Ok(Some(waits)) => self.wait(queue, waits),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wait(&mut self, queue: &QueueName, wish: Wish) {
        if let Answer::Lease { room_in: Some(sink), .. } = &wish.answer
            && let Ok(sink) = self.book(sink)
        {
            sink.wait_for_room.insert(queue.clone());
        }
        match self.book(queue) {
            Ok(book) => book.waiters.add(wish),
            Err(why) => wish.refuse(why),
        }
    }

    /// Answers a wish; returns it if it has to wait.
    fn grant(&mut self, queue: &QueueName, wish: Wish) -> Result<Option<Wish>, redb::Error> {
        let indexes = match self.choose(queue, &wish) {
            Ok(indexes) if indexes.is_empty() && wish.wait => return Ok(Some(wish)),
            Ok(indexes) => indexes,
            Err(Stop::Refused(why)) => {
                self.replies.push(Box::new(move |committed| {
                    wish.refuse(committed.err().cloned().unwrap_or(why));
                    None
                }));
                return Ok(None);
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        let delivered = match wish.answer {
            Answer::Remove { to } => self.remove_all(queue, &indexes).map(|items| {
                let queue = queue.clone();
                self.replies.push(Box::new(move |committed| {
                    match to.send(committed.map(|()| items).map_err(Clone::clone)) {
                        Err(Ok(items)) if !items.is_empty() => Some(super::writer::restore(queue, items)),
                        _ => None,
                    }
                }));
            }),
            Answer::Lease { consumer, hold, room_in, to } => {
                let until = self.now + hold;
                let held = |turn, count, priority| Held {
                    turn,
                    count,
                    priority,
                    consumer: consumer.clone(),
                    until,
                    room_in: room_in.clone(),
                };
                self.lease_all(queue, &indexes, held).map(|deliveries| {
                    let queue = queue.clone();
                    self.replies.push(Box::new(move |committed| {
                        match to.send(committed.map(|()| deliveries).map_err(Clone::clone)) {
                            Err(Ok(unread)) if !unread.is_empty() => Some(super::writer::give_back(queue, unread)),
                            _ => None,
                        }
                    }));
                })
            }
        };
        match delivered {
            Ok(()) | Err(Stop::Refused(_)) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Chooses the items for a wish, in the order of delivery.
    fn choose(&mut self, queue: &QueueName, wish: &Wish) -> Step<Vec<u64>> {
        let mut most = wish.most;
        if let Answer::Lease { room_in, .. } = &wish.answer {
            if let Some(sink) = room_in {
                most = most.min(usize::try_from(self.book(sink)?.room()).unwrap_or(usize::MAX));
            }
            if self.book(queue)?.is_over() {
                return Err(QueueError::Ended.into());
            }
        }
        let priorities: Vec<u8> = self.book(queue)?.ready.counts.keys().map(|key| key.0).collect();
        let mut chosen = Vec::new();
        for priority in priorities {
            let left = if wish.newest_first { most } else { most - chosen.len() };
            if left == 0 {
                break;
            }
            self.choose_in(queue, priority, wish, left, &mut chosen)?;
        }
        if wish.newest_first {
            chosen.sort_unstable_by(|a, b| b.cmp(a));
            chosen.truncate(most);
        }
        Ok(chosen)
    }

    /// Adds up to `most` ready items of one priority.
    fn choose_in(
        &mut self,
        queue: &QueueName,
        priority: u8,
        wish: &Wish,
        most: usize,
        chosen: &mut Vec<u64>,
    ) -> Step<()> {
        let number = self.book(queue)?.number();
        let rank = rank(priority);
        let until = chosen.len() + most;
        let Some((name, value)) = driving(&wish.tags) else {
            let rows = self.tables.ready.range((number, rank, wish.from)..=(number, rank, u64::MAX))?;
            return take_into(rows.map(|row| row.map(|(key, _)| key.value().2)), wish.newest_first, until, chosen);
        };
        let tag = tag(name, value);
        let is_only_tag = wish.tags.iter().count() == 1;
        let mut candidates = {
            let rows = self.tables.tags.range((number, &*tag, rank, wish.from)..=(number, &*tag, rank, u64::MAX))?;
            let mut all = Vec::new();
            let is_ready = |index: &u64| self.books.get(queue).is_some_and(|book| book.is_ready(*index));
            let indexes = rows.map(|row| row.map(|(key, _)| key.value().3));
            let ready = indexes.filter(|index| index.as_ref().map_or(true, is_ready));
            // With several tags, some of these items do not have the others.
            let most = if is_only_tag { most } else { usize::MAX };
            take_into(ready, wish.newest_first, most, &mut all)?;
            all
        };
        if !is_only_tag {
            let mut meant = Vec::new();
            for index in candidates {
                if self.facts(queue, index)?.is_some_and(|facts| facts.tags.contain(&wish.tags)) {
                    meant.push(index);
                }
                if meant.len() == most {
                    break;
                }
            }
            candidates = meant;
        }
        chosen.extend(candidates);
        Ok(())
    }

    /// Leases items that are ready.
    fn lease_all(
        &mut self,
        queue: &QueueName,
        indexes: &[u64],
        held: impl Fn(u32, u32, u8) -> Held,
    ) -> Step<Vec<Delivery>> {
        let number = self.book(queue)?.number();
        let mut deliveries = Vec::new();
        let mut bytes = 0;
        for index in indexes {
            if bytes >= MOST_BYTES {
                break;
            }
            let state = self.state(number, *index)?;
            let Some(item) = self.load(queue, *index)? else {
                self.bury(queue, *index, state)?;
                continue;
            };
            let (turn, count) = (state.turn + 1, state.count + 1);
            let partial = self.tables.partials.get((number, *index))?.map(|found| found.value().to_vec().into());
            self.make_unready(queue, *index, item.priority)?;
            self.set_state(number, *index, StateRow { turn, count, kind: StateKind::Leased })?;
            let held = held(turn, count, item.priority);
            if let Some(sink) = &held.room_in {
                self.book(sink)?.kept_room += 1;
            }
            let book = self.book(queue)?;
            book.lease(*index, held);
            book.counts.delivered += 1;
            book.counts.redelivered += u64::from(turn > 1);
            bytes += item.data.len();
            deliveries.push(Delivery { item, lease: Lease(turn), count, partial });
        }
        Ok(deliveries)
    }

    /// Removes items that are ready.
    fn remove_all(&mut self, queue: &QueueName, indexes: &[u64]) -> Step<Vec<Taken>> {
        let number = self.book(queue)?.number();
        let mut items = Vec::new();
        let mut bytes = 0;
        for index in indexes {
            if bytes >= MOST_BYTES {
                break;
            }
            let state = self.state(number, *index)?;
            let Some(item) = self.load(queue, *index)? else {
                self.bury(queue, *index, state)?;
                continue;
            };
            self.make_unready(queue, *index, item.priority)?;
            self.forget(queue, *index, item.priority)?;
            self.book(queue)?.counts.finished += 1;
            bytes += item.data.len();
            items.push((item, state));
        }
        Ok(items)
    }

    /// Makes a ready item dead whose bytes have changed.
    fn bury(&mut self, queue: &QueueName, index: u64, state: StateRow) -> Step<()> {
        let Some(priority) = self.priority_of(queue, index)? else { return Ok(()) };
        tracing::error!(queue = queue.as_str(), index, "an item is damaged: its bytes have changed on disk");
        self.make_unready(queue, index, priority)?;
        let reason = Reason::new(Reason::DAMAGED, "the bytes of the item have changed on disk");
        self.kill(queue, index, priority, StateRow { kind: StateKind::Dead, ..state }, reason)
    }

    /// Grants the wishes that can be granted now.
    pub(super) fn serve(&mut self) -> Result<(), redb::Error> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut queues: Vec<QueueName> = std::mem::take(&mut self.stirred);
        queues.extend(fresh.iter().map(|(queue, _)| queue.clone()));
        for at in 0..queues.len() {
            if let Some(book) = self.books.get_mut(&queues[at]) {
                queues.extend(std::mem::take(&mut book.wait_for_room));
            }
        }
        queues.sort_unstable();
        queues.dedup();
        for (queue, index) in fresh {
            self.serve_tagged(&queue, index)?;
        }
        for queue in queues {
            self.serve_plain(&queue)?;
        }
        Ok(())
    }

    fn serve_tagged(&mut self, queue: &QueueName, index: u64) -> Result<(), redb::Error> {
        let chooses = |book: &super::book::Book| book.waiters.choose_by_tags() && book.is_ready(index);
        if !self.books.get(queue).is_some_and(chooses) {
            return Ok(());
        }
        let tags: Tags = match self.facts(queue, index) {
            Ok(Some(facts)) => facts.tags,
            Ok(None) | Err(Stop::Refused(_)) => return Ok(()),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let Some(wish) = self.books.get_mut(queue).and_then(|book| book.waiters.take_match(index, &tags)) else {
            return Ok(());
        };
        self.wish(queue, wish)
    }

    fn serve_plain(&mut self, queue: &QueueName) -> Result<(), redb::Error> {
        let Some(book) = self.books.get_mut(queue) else { return Ok(()) };
        if book.is_over() {
            let mut waiters = std::mem::take(&mut book.waiters);
            self.replies.push(Box::new(move |committed| {
                waiters.refuse_all(committed.err().unwrap_or(&QueueError::Ended));
                None
            }));
            return Ok(());
        }
        let mut waiting = book.waiters.take_plain();
        let mut left = std::collections::VecDeque::new();
        while let Some(wish) = waiting.pop_front() {
            if self.books.get(queue).is_none_or(|book| book.ready.total() == 0) {
                left.push_back(wish);
                break;
            }
            left.extend(self.grant(queue, wish)?);
        }
        left.append(&mut waiting);
        for wish in left {
            self.wait(queue, wish);
        }
        Ok(())
    }
}

/// The tag by which items are looked up: the request id if there is one, because few items share it.
fn driving(tags: &Tags) -> Option<(&str, &str)> {
    tags.request_id().map(|id| (Tags::REQUEST_ID, id)).or_else(|| tags.iter().next())
}

/// Adds indexes until there are `until`.
fn take_into(
    mut indexes: impl DoubleEndedIterator<Item = Result<u64, redb::StorageError>>,
    backward: bool,
    until: usize,
    chosen: &mut Vec<u64>,
) -> Step<()> {
    while chosen.len() < until {
        let next = if backward { indexes.next_back() } else { indexes.next() };
        let Some(index) = next else { break };
        chosen.push(index?);
    }
    Ok(())
}
