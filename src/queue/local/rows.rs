//! A table whose changes are noted for the log.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use redb::{Key, ReadableTable, StorageError, Table, Value};

use super::change::Change;

/// The changes of several tables, in their order.
pub(super) type Changes = Rc<RefCell<Vec<u8>>>;

/// A table. It is read like any other; each change is noted as well.
pub(super) struct Rows<'t, K: Key + 'static, V: Value + 'static> {
    number: u8,
    table: Quiet<Table<'t, K, V>>,
    changes: Changes,
}

/// A table whose drop does not panic. A damaged file may fail an assertion of the database with a lock held. The drop
/// of a table would panic again at that lock, and a second panic ends the process.
pub(super) struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    pub(super) const fn new(table: T) -> Self {
        Self(Some(table))
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        let table = self.0.take();
        // The fields of a value are dropped even if its own drop panics.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(table)));
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Rows<'t, K, V> {
    /// A table, its number among the tables, and the place where its changes are noted.
    pub(super) fn new(number: u8, table: Table<'t, K, V>, changes: &Changes) -> Self {
        Self { number, table: Quiet::new(table), changes: Rc::clone(changes) }
    }

    /// Adds or replaces a row.
    pub(super) fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), StorageError> {
        let (key, value) = (key.borrow(), value.borrow());
        self.table.insert(key, value)?;
        self.note(key, Some(V::as_bytes(value).as_ref()));
        Ok(())
    }

    /// Removes a row; false if there is none.
    pub(super) fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) -> Result<bool, StorageError> {
        let key = key.borrow();
        let was_there = self.table.remove(key)?.is_some();
        if was_there {
            self.note(key, None);
        }
        Ok(was_there)
    }

    fn note(&self, key: &K::SelfType<'_>, value: Option<&[u8]>) {
        Change { table: self.number, key: K::as_bytes(key).as_ref(), value }.note(&mut self.changes.borrow_mut());
    }

    /// Removes those rows of a range whose keys are meant, and at most so many. Returns their number.
    pub(super) fn remove_in<'k, R: Borrow<K::SelfType<'k>> + 'k>(
        &mut self,
        range: impl RangeBounds<R> + 'k,
        most: usize,
        mut is_meant: impl FnMut(K::SelfType<'_>) -> bool,
    ) -> Result<u64, StorageError> {
        let mut meant = Vec::new();
        for row in self.table.range(range)? {
            let (key, _) = row?;
            if is_meant(key.value()) {
                meant.push(K::as_bytes(&key.value()).as_ref().to_vec());
            }
            if meant.len() == most {
                break;
            }
        }
        meant.iter().try_for_each(|key| self.remove(K::from_bytes(key)).map(drop))?;
        Ok(meant.len() as u64)
    }

    /// Makes a change that was noted before. It is not noted again.
    pub(super) fn repeat(&mut self, change: &Change<'_>) -> Result<(), StorageError> {
        let key = K::from_bytes(change.key);
        match change.value {
            Some(value) => self.table.insert(key, V::from_bytes(value)).map(drop),
            None => self.table.remove(key).map(drop),
        }
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for Rows<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}
