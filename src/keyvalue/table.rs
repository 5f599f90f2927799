//! The tables of the key-value stores, and one function for each operation. Each is one transaction.

use std::collections::HashSet;

use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};

use super::{KeyValueError, Listed, MAX_AT_ONCE, MAX_BYTES, MAX_KEYS, MAX_MOVED, Outcome, Versioned};

/// A store, and a key in it.
type Key = (&'static str, &'static str);

/// The number of the last change, 8 bytes little-endian, and the value.
const VALUES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("values");
/// By store: the number of keys, the bytes of keys and values, and the number of the last change.
const USAGE: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("usage");
const VERSION_BYTES: usize = 8;

type Done<T> = Result<Outcome<T>, redb::Error>;

pub(super) fn get(database: &Database, store: &str, key: &str) -> Done<Versioned> {
    let Some(values) = values(database)? else { return Ok(Ok(Versioned::default())) };
    let stored = values.get((store, key))?;
    Ok(Ok(stored.map_or_else(Versioned::default, |stored| unpacked(stored.value()))))
}

pub(super) fn version(database: &Database, store: &str, key: &str) -> Done<u64> {
    let Some(values) = values(database)? else { return Ok(Ok(0)) };
    Ok(Ok(values.get((store, key))?.map_or(0, |stored| version_of(stored.value()))))
}

pub(super) fn get_many(database: &Database, store: &str, keys: Vec<String>) -> Done<Vec<(String, Option<Vec<u8>>)>> {
    let Some(values) = values(database)? else { return Ok(Ok(keys.into_iter().map(|key| (key, None)).collect())) };
    let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let stored = values.get((store, key.as_str()))?;
        bytes += stored.as_ref().map_or(0, |stored| stored.value().len().saturating_sub(VERSION_BYTES));
        if bytes > MAX_MOVED {
            return Ok(Err(KeyValueError::TooMuch));
        }
        let value = stored.and_then(|stored| unpacked(stored.value()).value);
        found.push((key, value));
    }
    Ok(Ok(found))
}

pub(super) fn list(database: &Database, store: &str, after: Option<&str>) -> Done<Listed> {
    let Some(values) = values(database)? else { return Ok(Ok(Listed::default())) };
    let mut listed = Listed::default();
    for entry in values.range((store, after.unwrap_or_default())..)? {
        let entry = entry?.0;
        let (owner, key) = entry.value();
        if owner != store {
            break;
        }
        if after == Some(key) {
            continue;
        }
        listed.has_more = listed.keys.len() == MAX_AT_ONCE;
        if listed.has_more {
            break;
        }
        listed.keys.push(key.to_owned());
    }
    Ok(Ok(listed))
}

/// Opens the values for reading; `None` if nothing was ever written.
fn values(database: &Database) -> Result<Option<ReadOnlyTable<Key, &'static [u8]>>, redb::Error> {
    match database.begin_read()?.open_table(VALUES) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

pub(super) fn set(database: &Database, store: &str, entries: &[(String, Vec<u8>)]) -> Done<()> {
    change(database, store, |writer| {
        for (key, value) in entries {
            writer.set(key, value)?;
        }
        Ok(Ok(()))
    })
}

pub(super) fn delete(database: &Database, store: &str, keys: &[String]) -> Done<()> {
    change(database, store, |writer| {
        for key in keys {
            writer.delete(key)?;
        }
        Ok(Ok(()))
    })
}

pub(super) fn increment(database: &Database, store: &str, key: &str, delta: i64) -> Done<i64> {
    change(database, store, |writer| {
        let present = match writer.get(key)?.value {
            None => Some(0),
            Some(value) => str::from_utf8(&value).ok().and_then(|digits| digits.parse::<i64>().ok()),
        };
        let Some(present) = present else { return Ok(Err(KeyValueError::NotAnInteger)) };
        let Some(sum) = present.checked_add(delta) else { return Ok(Err(KeyValueError::Overflow)) };
        writer.set(key, sum.to_string().as_bytes())?;
        Ok(Ok(sum))
    })
}

pub(super) fn swap(database: &Database, store: &str, (key, value): (&str, &[u8]), version: u64) -> Done<bool> {
    change(database, store, |writer| {
        if writer.get(key)?.version != version {
            return Ok(Ok(false));
        }
        writer.set(key, value)?;
        Ok(Ok(true))
    })
}

pub(super) fn remove(database: &Database, store: &str) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    remove_in(&transaction, store)?;
    Ok(transaction.commit()?)
}

pub(super) fn keep_only(database: &Database, services: &[String]) -> Result<(), redb::Error> {
    let kept: HashSet<&str> = services.iter().map(String::as_str).collect();
    let transaction = database.begin_write()?;
    let mut others = Vec::new();
    for entry in transaction.open_table(USAGE)?.iter()? {
        let store = entry?.0;
        if !kept.contains(store.value()) {
            others.push(store.value().to_owned());
        }
    }
    for store in others {
        remove_in(&transaction, &store)?;
    }
    Ok(transaction.commit()?)
}

fn remove_in(transaction: &WriteTransaction, store: &str) -> Result<(), redb::Error> {
    if transaction.open_table(USAGE)?.remove(store)?.is_none() {
        return Ok(());
    }
    let mut values = transaction.open_table(VALUES)?;
    // No name of a store has this character, which comes right after the end of a name.
    let end = format!("{store}\0");
    Ok(values.retain_in((store, "")..(end.as_str(), ""), |_, _| false)?)
}

/// Changes a store in one transaction. A refusal undoes what was changed before it.
fn change<T>(database: &Database, store: &str, work: impl FnOnce(&mut Writer<'_, '_>) -> Done<T>) -> Done<T> {
    let transaction = database.begin_write()?;
    let (done, has_changed) = {
        let mut usage = transaction.open_table(USAGE)?;
        let (keys, bytes, version) = usage.get(store)?.map(|usage| usage.value()).unwrap_or_default();
        let mut writer = Writer { values: transaction.open_table(VALUES)?, store, keys, bytes, version };
        let done = work(&mut writer)?.and_then(|done| writer.check().map(|()| done));
        let now = (writer.keys, writer.bytes, writer.version);
        usage.insert(store, now)?;
        (done, now != (keys, bytes, version))
    };
    // A commit waits for the disk, so a transaction without a change is aborted.
    if done.is_ok() && has_changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(done)
}

/// A store that is being changed.
struct Writer<'txn, 'a> {
    values: Table<'txn, Key, &'static [u8]>,
    store: &'a str,
    keys: u64,
    bytes: u64,
    version: u64,
}

impl Writer<'_, '_> {
    fn get(&self, key: &str) -> Result<Versioned, redb::Error> {
        let stored = self.values.get((self.store, key))?;
        Ok(stored.map_or_else(Versioned::default, |stored| unpacked(stored.value())))
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<(), redb::Error> {
        self.version += 1;
        let packed = [&self.version.to_le_bytes(), value].concat();
        let former = self.values.insert((self.store, key), packed.as_slice())?.map(|former| former.value().len());
        match former {
            Some(former) => self.bytes = self.bytes.saturating_sub(former.saturating_sub(VERSION_BYTES) as u64),
            None => {
                self.keys += 1;
                self.bytes += key.len() as u64;
            }
        }
        self.bytes += value.len() as u64;
        Ok(())
    }

    /// Checks the bounds of the store.
    fn check(&self) -> Outcome<()> {
        if self.keys > MAX_KEYS {
            Err(KeyValueError::TooManyKeys)
        } else if self.bytes > MAX_BYTES {
            Err(KeyValueError::Full)
        } else {
            Ok(())
        }
    }

    fn delete(&mut self, key: &str) -> Result<(), redb::Error> {
        if let Some(former) = self.values.remove((self.store, key))? {
            let bytes = (key.len() + former.value().len()).saturating_sub(VERSION_BYTES);
            self.keys = self.keys.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes as u64);
        }
        Ok(())
    }
}

fn unpacked(stored: &[u8]) -> Versioned {
    // No change writes less than a version.
    let value = stored.get(VERSION_BYTES..).unwrap_or_default().to_vec();
    Versioned { version: version_of(stored), value: Some(value) }
}

fn version_of(stored: &[u8]) -> u64 {
    stored.first_chunk().map_or(0, |version| u64::from_le_bytes(*version))
}
