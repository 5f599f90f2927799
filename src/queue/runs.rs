//! The items that processors of this host work on, by which they can be cancelled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::QueueName;

/// The items that are being processed.
#[derive(Debug, Default)]
pub struct Runs(Mutex<HashMap<(QueueName, u64), Run>>);

#[derive(Clone, Debug)]
struct Run {
    request_id: String,
    cancel: Arc<Notify>,
}

/// An item that is being processed for as long as this value lives.
#[derive(Debug)]
pub struct Running {
    runs: Arc<Runs>,
    place: (QueueName, u64),
    cancel: Arc<Notify>,
}

impl Runs {
    pub fn begin(self: &Arc<Self>, queue: &QueueName, index: u64, request_id: &str) -> Running {
        let (place, cancel) = ((queue.clone(), index), Arc::new(Notify::new()));
        let run = Run { request_id: request_id.to_owned(), cancel: Arc::clone(&cancel) };
        self.lock().insert(place.clone(), run);
        Running { runs: Arc::clone(self), place, cancel }
    }

    /// Cancels the items of this request that are being processed. Returns their indexes.
    pub fn cancel(&self, queue: &QueueName, request_id: &str) -> Vec<u64> {
        let runs = self.lock();
        let meant = runs.iter().filter(|((of, _), run)| of == queue && run.request_id == request_id);
        meant
            .map(|((_, index), run)| {
                run.cancel.notify_one();
                *index
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(QueueName, u64), Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Ready once somebody cancels the item.
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.place);
    }
}
