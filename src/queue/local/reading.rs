//! Operations that read.

use std::cmp::Reverse;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::super::{DeadItem, Item, MOST_BYTES, QueueName, Selection, Status, Tags, Whereabouts};
use super::batch::{Batch, Step};
use super::record;
use super::tables::{DEAD, DeadRow, ITEMS, STATES, StateRow, TAGS, rank, read_row, tag};

impl Batch<'_, '_> {
    pub(super) fn find(&mut self, queue: &QueueName, index: u64) -> Step<Option<Whereabouts>> {
        let now = self.now;
        let book = self.book(queue)?;
        let number = book.number();
        if let Some(held) = book.leases.get(&index) {
            let (consumer, count) = (held.consumer.as_str().to_owned(), held.count);
            return Ok(Some(Whereabouts::Leased { consumer, count }));
        }
        if let Some(pause) = book.delayed.get(&index) {
            return Ok(Some(Whereabouts::Delayed { remaining: pause.until.saturating_duration_since(now) }));
        }
        if self.tables.dead.get((number, index))?.is_some() {
            return Ok(Some(Whereabouts::Dead));
        }
        if self.tables.items.get((number, index))?.is_none() {
            return Ok(None);
        }
        let Some(priority) = self.priority_of(queue, index)? else { return Ok(None) };
        let (ahead, from) = self.book(queue)?.ready.ahead(priority, index);
        let near = self.tables.ready.range((number, rank(priority), from)..(number, rank(priority), index))?.count();
        Ok(Some(Whereabouts::Ready { ahead: ahead + near as u64 }))
    }

    pub(super) fn status(&mut self, queue: &QueueName) -> Step<Status> {
        let mut status = Status { oldest_put_ms: 0, ..self.book(queue)?.status() };
        if let Some((first, put_at_ms)) = self.oldest(queue)? {
            (status.first, status.oldest_put_ms) = (first, put_at_ms);
        }
        Ok(status)
    }

    /// The live item with the lowest index, and the time of its put.
    fn oldest(&mut self, queue: &QueueName) -> Step<Option<(u64, u64)>> {
        let book = self.book(queue)?;
        let (number, known) = (book.number(), book.oldest);
        let (leased, delayed) = (book.leases.first_key_value(), book.delayed.first_key_value());
        let mut first = leased.map(|(index, _)| *index).into_iter().chain(delayed.map(|(index, _)| *index)).min();
        let priorities: Vec<u8> = book.ready.counts.keys().map(|priority| priority.0).collect();
        for priority in priorities {
            let row = (number, rank(priority), 0)..=(number, rank(priority), u64::MAX);
            let next = self.tables.ready.range(row)?.next().transpose()?.map(|(key, _)| key.value().2);
            first = first.into_iter().chain(next).min();
        }
        // The time is read once for each item, because its record may be large.
        let oldest = match (first, known) {
            (Some(first), Some((index, put_at_ms))) if first == index => Some((first, put_at_ms)),
            (Some(first), _) => Some((first, self.facts(queue, first)?.map_or(0, |facts| facts.put_at_ms))),
            (None, _) => None,
        };
        self.book(queue)?.oldest = oldest;
        Ok(oldest)
    }

    /// Notes the time of the oldest live item.
    pub(super) fn note_oldest(&mut self, queue: &QueueName) -> Step<()> {
        self.oldest(queue).map(drop)
    }

    /// Counts the live items: of this priority if one is given.
    pub(super) fn count(&mut self, queue: &QueueName, priority: Option<u8>) -> Step<u64> {
        let live = &self.book(queue)?.live;
        Ok(match priority {
            Some(priority) => live.get(&Reverse(priority)).copied().unwrap_or_default(),
            None => live.values().sum(),
        })
    }
}

/// Reads live items.
pub(super) fn read(database: &Database, number: u32, selection: &Selection) -> Result<Vec<Item>, redb::Error> {
    let transaction = database.begin_read()?;
    let (items, dead) = (transaction.open_table(ITEMS)?, transaction.open_table(DEAD)?);
    let mut found = Vec::new();
    let mut bytes = 0;
    if let Some((name, value)) =
        selection.tags.request_id().map(|id| (Tags::REQUEST_ID, id)).or_else(|| selection.tags.iter().next())
    {
        let tag = tag(name, value);
        let rows = transaction.open_table(TAGS)?;
        let mut indexes = Vec::new();
        for row in rows.range((number, &*tag, 0, 0)..=(number, &*tag, u8::MAX, u64::MAX))? {
            let index = row?.0.value().3;
            if index >= selection.from {
                indexes.push(index);
            }
        }
        indexes.sort_unstable();
        if selection.newest_first {
            indexes.reverse();
        }
        for index in indexes {
            if found.len() == selection.most || bytes >= MOST_BYTES {
                break;
            }
            let Some(record) = items.get((number, index))? else { continue };
            if let Ok(item) = record::decode(number, index, record.value())
                && item.tags.contain(&selection.tags)
            {
                bytes += item.data.len();
                found.push(item);
            }
        }
        return Ok(found);
    }
    let mut rows = items.range((number, selection.from)..=(number, u64::MAX))?;
    while found.len() < selection.most && bytes < MOST_BYTES {
        let Some(row) = (if selection.newest_first { rows.next_back() } else { rows.next() }) else { break };
        let (key, record) = row?;
        let index = key.value().1;
        if dead.get((number, index))?.is_some() {
            continue;
        }
        if let Ok(item) = record::decode(number, index, record.value()) {
            bytes += item.data.len();
            found.push(item);
        }
    }
    Ok(found)
}

/// Counts the live items with these tags, of which there is at least one.
pub(super) fn count_tagged(
    database: &Database,
    number: u32,
    priority: Option<u8>,
    tags: &Tags,
) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let (rows, items) = (transaction.open_table(TAGS)?, transaction.open_table(ITEMS)?);
    let Some((name, value)) = tags.iter().next() else { return Ok(0) };
    let is_only_tag = tags.iter().count() == 1;
    let tag = tag(name, value);
    let (first, last) = priority.map_or((0, u8::MAX), |priority| (rank(priority), rank(priority)));
    let mut count = 0;
    for row in rows.range((number, &*tag, first, 0)..=(number, &*tag, last, u64::MAX))? {
        let index = row?.0.value().3;
        let has_all = |record: &[u8]| record::facts(number, index, record).is_ok_and(|facts| facts.tags.contain(tags));
        if is_only_tag || items.get((number, index))?.is_some_and(|record| has_all(record.value())) {
            count += 1;
        }
    }
    Ok(count)
}

/// Lists dead items.
pub(super) fn dead(database: &Database, number: u32, from: u64, most: usize) -> Result<Vec<DeadItem>, redb::Error> {
    let transaction = database.begin_read()?;
    let (items, states) = (transaction.open_table(ITEMS)?, transaction.open_table(STATES)?);
    let mut found = Vec::new();
    for row in transaction.open_table(DEAD)?.range((number, from)..=(number, u64::MAX))?.take(most) {
        let (key, row) = row?;
        let index = key.value().1;
        let DeadRow { reason, at_ms } = read_row(row.value())?;
        let record = items.get((number, index))?;
        let item = record.and_then(|record| record::decode(number, index, record.value()).ok());
        let damaged = || Item {
            index,
            priority: 0,
            tags: Tags::default(),
            target: String::new(),
            headers: Vec::new(),
            data: bytes::Bytes::new(),
            put_at_ms: 0,
        };
        let state = states.get((number, index))?.map(|state| read_row::<StateRow>(state.value())).transpose()?;
        found.push(DeadItem {
            item: item.unwrap_or_else(damaged),
            reason,
            deliveries: state.map_or(0, |state| state.count),
            died_at_ms: at_ms,
        });
    }
    Ok(found)
}
