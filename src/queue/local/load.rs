//! The state in memory, made from the tables.

use std::cmp::Reverse;
use std::collections::HashMap;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::super::QueueName;
use super::batch::Books;
use super::book::Book;
use super::tables::{DEAD, QUEUES, QueueRow, READY, Tables, priority, read_row};

/// Makes the tables that are missing, and reads the queues. None of them is open yet.
pub(super) fn load(database: &Database) -> Result<Books, redb::Error> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    transaction.commit()?;

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
