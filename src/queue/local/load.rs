//! The state in memory, made from the tables.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend};

use super::super::QueueName;
use super::batch::Books;
use super::book::Book;
use super::files::Files;
use super::log::{Log, Mark, Unusable};
use super::record;
use super::tables::{
    DEAD, QUEUES, QueueRow, READY, StateKind, StateRow, Tables, priority, rank, read_mark, read_row, write_mark,
};

/// Brings the database up to date with the log, and reads the queues. None of them is open yet.
///
/// The database may have some of these changes already: when it is closed, it syncs what was committed for readers.
/// Whole rows that are written again give the same result.
pub(super) fn load(files: Files) -> Result<(Database, Log, Books), redb::Error> {
    let database = files.database;
    let mut transaction = database.begin_write()?;
    let mark = read_mark(&transaction)?;
    let (log, records) = open_log(files.log, files.log_capacity, mark)?;
    let mut tables = Tables::open(&transaction)?;
    records.iter().try_for_each(|record| tables.repeat(record))?;
    let is_mended = mend(&mut tables)?;
    drop(tables);
    if mark.is_none_or(|mark| mark.log != log.mark().log) {
        write_mark(&transaction, log.mark())?;
        transaction.commit()?;
    } else if is_mended || !records.is_empty() {
        // The log keeps the records until the next checkpoint. So a start needs no space on the disk.
        transaction.set_durability(Durability::None).map_err(redb::Error::from)?;
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    let books = read_books(&database)?;
    Ok((database, log, books))
}

fn open_log(
    disk: Box<dyn StorageBackend>,
    capacity: u64,
    mark: Option<Mark>,
) -> Result<(Log, Vec<Vec<u8>>), redb::Error> {
    let last = match mark {
        Some(mark) if !Log::is_missing(&*disk, mark)? => return Log::open(disk, capacity, mark).map_err(unusable),
        Some(mark) => {
            tracing::error!(
                "queues.log is missing: the last changes of the queues before the host was killed are lost"
            );
            mark.number
        }
        None if Log::has_records(&*disk)? => return Err(unusable(Unusable::Alone)),
        None => 0,
    };
    Ok((Log::make(disk, capacity, last)?, Vec::new()))
}

fn unusable(why: Unusable) -> redb::Error {
    match why {
        Unusable::Disk(error) => redb::Error::Io(error),
        Unusable::Alone | Unusable::Foreign | Unusable::Damaged { .. } => redb::Error::Corrupted(why.to_string()),
    }
}

fn read_books(database: &Database) -> Result<Books, redb::Error> {
    let transaction = database.begin_read()?;
    let mut by_number: HashMap<u32, (QueueName, Book)> = HashMap::new();
    for row in transaction.open_table(QUEUES)?.iter()? {
        let (name, row) = row?;
        let row: QueueRow = read_row(row.value())?;
        by_number.insert(row.number, (QueueName::stored(name.value()), Book::new(row)));
    }
    for row in transaction.open_table(READY)?.iter()? {
        let (number, rank, index) = row?.0.value();
        if let Some((_, book)) = by_number.get_mut(&number) {
            book.ready.add(priority(rank), index);
            *book.live.entry(Reverse(priority(rank))).or_default() += 1;
        }
    }
    for row in transaction.open_table(DEAD)?.iter()? {
        if let Some((_, book)) = by_number.get_mut(&row?.0.value().0) {
            book.dead += 1;
        }
    }
    Ok(by_number.into_values().collect())
}

/// Makes items ready that are in no state. Only damage of the file can lose the row with an item's state; without this,
/// the item would never be delivered. Returns true if there were any.
fn mend(tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
    let mut under_way = 0;
    for row in tables.states.iter()? {
        let state: StateRow = read_row(row?.1.value())?;
        under_way += u64::from(matches!(state.kind, StateKind::Leased | StateKind::Delayed));
    }
    if tables.items.len()? == tables.ready.len()? + tables.dead.len()? + under_way {
        return Ok(false);
    }
    let mut ready = HashSet::new();
    for row in tables.ready.iter()? {
        let (number, _, index) = row?.0.value();
        ready.insert((number, index));
    }
    let mut lost = Vec::new();
    for row in tables.items.iter()? {
        let (key, record) = row?;
        let (number, index) = key.value();
        let state = tables.states.get((number, index))?.map(|row| read_row::<StateRow>(row.value())).transpose()?;
        let is_under_way = state.is_some_and(|row| matches!(row.kind, StateKind::Leased | StateKind::Delayed));
        if !is_under_way && !ready.contains(&(number, index)) && tables.dead.get((number, index))?.is_none() {
            let priority = record::facts(number, index, record.value()).map_or(0, |facts| facts.priority);
            lost.push((number, rank(priority), index));
        }
    }
    if !lost.is_empty() {
        tracing::error!(items = lost.len(), "the queues' database is damaged: items without a state are ready again");
    }
    let is_mended = !lost.is_empty();
    for row in lost {
        tables.ready.insert(row, ())?;
    }
    Ok(is_mended)
}
