//! The parts of the store that callers read without the writer.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::Database;
use tokio::sync::watch;

use super::super::{QueueName, Status};

/// The parts of the store that callers read without the writer.
#[derive(Default)]
pub(super) struct Shared {
    /// The database, for reading; `None` while it is being opened again.
    pub(super) database: Mutex<Option<Arc<Database>>>,
    pub(super) queues: Mutex<HashMap<QueueName, Published>>,
    /// True if batches were answered whose changes readers of the database do not see yet.
    pub(super) is_behind: AtomicBool,
}

/// The state of an open queue after the last batch.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) number: u32,
    pub(super) is_full: bool,
    pub(super) status: Status,
    /// Tells of ready items.
    pub(super) arrivals: watch::Sender<u64>,
}

impl Shared {
    /// The database, unless it is being opened again.
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if a reader of the database sees all that was answered.
    pub(super) fn is_up_to_date(&self) -> bool {
        !self.is_behind.load(Ordering::Acquire)
    }

    pub(super) fn set_database(&self, database: Option<Arc<Database>>) {
        let former = std::mem::replace(&mut *self.database.lock().unwrap_or_else(PoisonError::into_inner), database);
        // Closing a damaged file may fail an assertion of the database.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(former)));
    }

    /// The number of an open queue.
    pub(super) fn number(&self, queue: &QueueName) -> Option<u32> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).get(queue).map(|published| published.number)
    }
}
