//! The tables of the key-value stores, and one function for each operation. Each is one transaction.

use std::collections::HashSet;

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::{KeyValueError, Listed, MAX_BYTES, MAX_KEYS, MAX_LISTED, MAX_READ, Outcome, Versioned};

/// By service and key: the number of the last change, 8 bytes little-endian, and the value.
const VALUES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("values");
/// By service: the number of keys, the bytes of keys and values, and the number of the last change.
const USAGE: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("usage");
const VERSION_BYTES: usize = 8;

type Done<T> = Result<Outcome<T>, redb::Error>;

pub(super) fn get(database: &Database, service: &str, key: &str) -> Done<Versioned> {
    let transaction = database.begin_read()?;
    let values = match transaction.open_table(VALUES) {
        // Nothing was ever written.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(Versioned::default())),
        opened => opened?,
    };
    let stored = values.get((service, key))?;
    Ok(Ok(stored.map_or_else(Versioned::default, |stored| unpacked(stored.value()))))
}

pub(super) fn get_many(database: &Database, service: &str, keys: Vec<String>) -> Done<Vec<(String, Option<Vec<u8>>)>> {
    let transaction = database.begin_read()?;
    let values = match transaction.open_table(VALUES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(keys.into_iter().map(|key| (key, None)).collect())),
        opened => opened?,
    };
    let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let value = values.get((service, key.as_str()))?.and_then(|stored| {
            bytes += stored.value().len();
            if bytes > MAX_READ { None } else { unpacked(stored.value()).value }
        });
        if bytes > MAX_READ {
            return Ok(Err(KeyValueError::TooMuch));
        }
        found.push((key, value));
    }
    Ok(Ok(found))
}

pub(super) fn list(database: &Database, service: &str, after: Option<&str>) -> Done<Listed> {
    let transaction = database.begin_read()?;
    let values = match transaction.open_table(VALUES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(Listed::default())),
        opened => opened?,
    };
    let mut listed = Listed::default();
    for entry in values.range((service, after.unwrap_or_default())..)? {
        let entry = entry?.0;
        let (owner, key) = entry.value();
        if owner != service {
            break;
        }
        if after == Some(key) {
            continue;
        }
        listed.has_more = listed.keys.len() == MAX_LISTED;
        if listed.has_more {
            break;
        }
        listed.keys.push(key.to_owned());
    }
    Ok(Ok(listed))
}

pub(super) fn set(database: &Database, service: &str, entries: &[(String, Vec<u8>)]) -> Done<()> {
    change(database, service, |writer| {
        for (key, value) in entries {
            if let Err(refused) = writer.set(key, value)? {
                return Ok(Err(refused));
            }
        }
        Ok(Ok(()))
    })
}

pub(super) fn delete(database: &Database, service: &str, keys: &[String]) -> Done<()> {
    change(database, service, |writer| {
        for key in keys {
            writer.delete(key)?;
        }
        Ok(Ok(()))
    })
}

pub(super) fn increment(database: &Database, service: &str, key: &str, delta: i64) -> Done<i64> {
    change(database, service, |writer| {
        let present = match writer.get(key)?.value {
            None => Some(0),
            Some(value) => str::from_utf8(&value).ok().and_then(|digits| digits.parse::<i64>().ok()),
        };
        let Some(present) = present else { return Ok(Err(KeyValueError::NotAnInteger)) };
        let Some(sum) = present.checked_add(delta) else { return Ok(Err(KeyValueError::Overflow)) };
        Ok(writer.set(key, sum.to_string().as_bytes())?.map(|()| sum))
    })
}

pub(super) fn swap(database: &Database, service: &str, (key, value): (&str, &[u8]), version: u64) -> Done<bool> {
    change(database, service, |writer| {
        if writer.get(key)?.version != version {
            return Ok(Ok(false));
        }
        Ok(writer.set(key, value)?.map(|()| true))
    })
}

pub(super) fn remove(database: &Database, service: &str) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    remove_in(&transaction, service)?;
    Ok(transaction.commit()?)
}

pub(super) fn keep_only(database: &Database, services: &[String]) -> Result<(), redb::Error> {
    let kept: HashSet<&str> = services.iter().map(String::as_str).collect();
    let transaction = database.begin_write()?;
    let mut others = Vec::new();
    for entry in transaction.open_table(USAGE)?.iter()? {
        let service = entry?.0;
        if !kept.contains(service.value()) {
            others.push(service.value().to_owned());
        }
    }
    for service in others {
        remove_in(&transaction, &service)?;
    }
    Ok(transaction.commit()?)
}

fn remove_in(transaction: &WriteTransaction, service: &str) -> Result<(), redb::Error> {
    if transaction.open_table(USAGE)?.remove(service)?.is_none() {
        return Ok(());
    }
    let mut values = transaction.open_table(VALUES)?;
    // No name of a service has this character, which comes right after the end of a name.
    let end = format!("{service}\0");
    Ok(values.retain_in((service, "")..(end.as_str(), ""), |_, _| false)?)
}

/// Changes a store in one transaction. A refusal undoes what was changed before it.
fn change<T>(database: &Database, service: &str, work: impl FnOnce(&mut Writer<'_, '_>) -> Done<T>) -> Done<T> {
    let transaction = database.begin_write()?;
    let done = {
        let mut usage = transaction.open_table(USAGE)?;
        let (keys, bytes, version) = usage.get(service)?.map(|usage| usage.value()).unwrap_or_default();
        let mut writer = Writer { values: transaction.open_table(VALUES)?, service, keys, bytes, version };
        let done = work(&mut writer)?;
        usage.insert(service, (writer.keys, writer.bytes, writer.version))?;
        done
    };
    if done.is_ok() {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(done)
}

/// A store that is being changed.
struct Writer<'txn, 'a> {
    values: Table<'txn, (&'static str, &'static str), &'static [u8]>,
    service: &'a str,
    keys: u64,
    bytes: u64,
    version: u64,
}

impl Writer<'_, '_> {
    fn get(&self, key: &str) -> Result<Versioned, redb::Error> {
        let stored = self.values.get((self.service, key))?;
        Ok(stored.map_or_else(Versioned::default, |stored| unpacked(stored.value())))
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Done<()> {
        self.version += 1;
        let packed = [&self.version.to_le_bytes(), value].concat();
        let former = self.values.insert((self.service, key), packed.as_slice())?.map(|former| former.value().len());
        match former {
            Some(former) => self.bytes = self.bytes.saturating_sub(former.saturating_sub(VERSION_BYTES) as u64),
            None => {
                self.keys += 1;
                self.bytes += key.len() as u64;
            }
        }
        self.bytes += value.len() as u64;
        Ok(if self.keys > MAX_KEYS {
            Err(KeyValueError::TooManyKeys)
        } else if self.bytes > MAX_BYTES {
            Err(KeyValueError::Full)
        } else {
            Ok(())
        })
    }

    fn delete(&mut self, key: &str) -> Result<(), redb::Error> {
        if let Some(former) = self.values.remove((self.service, key))? {
            let bytes = (key.len() + former.value().len()).saturating_sub(VERSION_BYTES);
            self.keys = self.keys.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes as u64);
        }
        Ok(())
    }
}

fn unpacked(stored: &[u8]) -> Versioned {
    match stored.split_first_chunk() {
        Some((version, value)) => Versioned { version: u64::from_le_bytes(*version), value: Some(value.to_vec()) },
        // No change writes less.
        None => Versioned::default(),
    }
}
