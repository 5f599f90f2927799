//! The table of the audit log: its newest entries, by number. Entries are only ever added.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::records::Records;
use crate::storage::catalog::ENTRIES_KEPT;
use crate::storage::{Entry, StorageError};

/// Number → entry as JSON.
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");

/// Makes the table, so that it exists from the first start on.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(AUDIT).map(drop).map_err(redb::Error::from)
}

/// The number of the next entry.
pub(super) fn next_number(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let table = transaction.open_table(AUDIT)?;
    let last = table.last()?.map_or(0, |(number, _)| number.value());
    Ok(last.saturating_add(1))
}

/// Adds an entry, and removes the one that is too many. The newest one is always kept, so no number is used twice.
pub(super) fn append(transaction: &WriteTransaction, entry: &Entry) -> Result<(), redb::Error> {
    let json = serde_json::to_vec(entry).expect("an entry is plain JSON");
    let mut table = transaction.open_table(AUDIT)?;
    table.insert(entry.number, json.as_slice())?;
    if let Some(old) = entry.number.checked_sub(ENTRIES_KEPT) {
        table.remove(old)?;
    }
    Ok(())
}

impl Records {
    /// Up to `limit` entries with numbers below `before`, the newest first; only those of `service` if it is named.
    pub(super) fn entries(
        &self,
        service: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let rows = self.with(|database| {
            let table = database.begin_read()?.open_table(AUDIT)?;
            let range = table.range(..before.unwrap_or(u64::MAX))?;
            let mut rows = Vec::new();
            for row in range.rev() {
                if rows.len() == limit {
                    break;
                }
                let (number, json) = row?;
                match serde_json::from_slice::<Entry>(json.value()) {
                    Ok(entry) if service.is_none_or(|service| entry.service == service) => rows.push(Ok(entry)),
                    Ok(_) => {}
                    Err(source) => {
                        rows.push(Err(StorageError::Record {
                            service: format!("audit entry {}", number.value()),
                            source,
                        }));
                    }
                }
            }
            Ok(rows)
        })?;
        rows.into_iter().collect()
    }

    /// The entry with this number, if it is still kept.
    pub(super) fn entry(&self, number: u64) -> Result<Option<Entry>, StorageError> {
        let below = number.checked_add(1);
        Ok(self.entries(None, below, 1)?.into_iter().find(|entry| entry.number == number))
    }
}
