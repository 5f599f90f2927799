//! The queues of asynchronous services: they exist as long as their service.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::change::ChangeError;
use super::change::request::ChangeRequest;
use super::{Registry, Service};
use crate::config::ServiceSpec;
use crate::queue::{Bounds, QueueError, QueueName, Queues, Selection, Tags};
use crate::storage::{Entry, StorageError};

/// Most items of one request that are cancelled at once. A request has one item, unless the caller has given several
/// puts the same request id.
const MOST_OF_A_REQUEST: usize = 1000;

/// The changed part of a service in the audit entry for a change of dead items.
const DEAD_LETTERS: &str = "dead_letters";

/// An item that was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// A processor of this host worked on it and is stopped. The item ends with a result in the sink.
    Running { index: u64 },
    /// It was waiting, or an external consumer had it. It is removed, without a result.
    Waiting { index: u64 },
}

impl Registry {
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// A value that changes after a service has come, gone, or changed its phase.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes dead items of a queue ready again: those with these indexes, or all. Returns their number.
    pub async fn requeue(
        &self,
        queue: &QueueName,
        request: &ChangeRequest,
        indexes: Option<Vec<u64>>,
    ) -> Result<u64, ChangeError> {
        let service = self.with_queues(queue.service(), request).await?;
        let count = self.queues.store.requeue(queue, indexes).await?;
        self.wake_processors();
        self.note_items(&service, request, DEAD_LETTERS, count).await;
        Ok(count)
    }

    /// Removes dead items of a queue: those with these indexes, or all. Returns their number.
    pub async fn purge(
        &self,
        queue: &QueueName,
        request: &ChangeRequest,
        indexes: Option<Vec<u64>>,
    ) -> Result<u64, ChangeError> {
        let service = self.with_queues(queue.service(), request).await?;
        let count = self.queues.store.purge(queue, indexes).await?;
        self.note_items(&service, request, DEAD_LETTERS, count).await;
        Ok(count)
    }

    /// Cancels the item of a request: stops the processor that works on it, or else removes the item.
    ///
    /// # Errors
    /// [`ChangeError::NoItem`] if no live item of the request is in the input queue.
    pub async fn cancel(
        &self,
        name: &str,
        request: &ChangeRequest,
        request_id: &str,
    ) -> Result<Cancelled, ChangeError> {
        let service = self.with_queues(name, request).await?;
        let queue = QueueName::input(name);
        let running = self.queues.runs.cancel(&queue, request_id);
        let (cancelled, count) = match running.iter().min() {
            Some(index) => {
                let deleted = self.delete_of_request(&queue, request_id, &running).await?;
                (Cancelled::Running { index: *index }, running.len() + deleted.len())
            }
            None => {
                let deleted = self.delete_of_request(&queue, request_id, &running).await?;
                let no_item = || ChangeError::NoItem { request_id: request_id.to_owned() };
                (Cancelled::Waiting { index: *deleted.iter().min().ok_or_else(no_item)? }, deleted.len())
            }
        };
        tracing::info!(service = name, request_id, ?cancelled, "an item was cancelled");
        self.note_items(&service, request, "item", count as u64).await;
        Ok(cancelled)
    }

    /// Deletes the live items of a request that are in the queue now, except those that run. Returns their indexes.
    async fn delete_of_request(
        &self,
        queue: &QueueName,
        request_id: &str,
        running: &[u64],
    ) -> Result<Vec<u64>, QueueError> {
        let store = &self.queues.store;
        let last = store.status(queue).await?.last;
        let tags: Tags = [(Tags::REQUEST_ID, request_id)].into_iter().collect();
        let selection = Selection { most: MOST_OF_A_REQUEST, tags, ..Selection::default() };
        let mut deleted = Vec::new();
        // One read returns no more than a bound of data.
        loop {
            let items = store.read(queue, selection.clone()).await?;
            let indexes = items
                .into_iter()
                .map(|item| item.index)
                .filter(|index| *index <= last && !running.contains(index))
                .collect();
            let part = store.delete(queue, indexes).await?;
            if part.is_empty() {
                return Ok(deleted);
            }
            deleted.extend(part);
        }
    }

    /// Finds an asynchronous service, and checks the conditions of the request. A change of items needs no lock: it does
    /// not change the service, and must not wait for a deploy.
    async fn with_queues(&self, name: &str, request: &ChangeRequest) -> Result<Arc<Service>, ChangeError> {
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let state = service.state();
        self.check_conditions(&state.record, request).await?;
        match state.asynchronous() {
            Some(_) => Ok(service),
            None => Err(ChangeError::NotAsynchronous),
        }
    }

    /// Adds an audit entry for a change of items. Most changes affect items that can also end by themselves, so the entry
    /// follows the change and is not part of its transaction.
    async fn note_items(&self, service: &Service, request: &ChangeRequest, what: &str, count: u64) {
        let version = Some(service.state().record.version);
        let outcome = if count == 0 { Entry::UNCHANGED } else { Entry::DONE };
        let changed = (count > 0).then(|| what.to_owned()).into_iter().collect();
        let entry = request.entry(service.name(), outcome);
        self.note(Entry { version_before: version, version_after: version, changed, ..entry }).await;
    }

    /// Opens the queues of all asynchronous services, so that they work before the services run.
    pub(super) async fn open_queues(&self) -> Result<(), StorageError> {
        for service in self.list() {
            if let Some(spec) = service.state().asynchronous() {
                let opened = self.open_queues_of(spec).await;
                opened
                    .map_err(|why| StorageError::Io { what: "open a queue".into(), source: io::Error::other(why) })?;
            }
        }
        Ok(())
    }

    /// Opens the queues of a service, or sets their bounds; does nothing for a service without queues.
    pub(super) async fn open_queues_of(&self, spec: &ServiceSpec) -> Result<(), QueueError> {
        let Some(settings) = spec.queue() else { return Ok(()) };
        let name = spec.name().as_str();
        for queue in [QueueName::input(name), QueueName::sink(name)] {
            self.queues.store.open(&queue, Bounds::from(settings)).await?;
        }
        Ok(())
    }

    /// Closes the queues of a service that is to be deleted: with their items, or only if they have none. From here on
    /// no put is acknowledged that the deletion would lose. The items are removed once the service is.
    pub(super) async fn give_up_queues(&self, spec: &ServiceSpec, with_items: bool) -> Result<(), ChangeError> {
        if !with_items {
            self.check_queues_are_empty(spec).await?;
        }
        let name = spec.name().as_str();
        for queue in [QueueName::input(name), QueueName::sink(name)] {
            match self.queues.store.close(&queue, with_items).await {
                Ok(()) | Err(QueueError::NoQueue(_)) => {}
                Err(why) => {
                    self.take_back_queues(spec).await?;
                    return Err(match why {
                        // It has come since the check.
                        QueueError::NotEmpty { items } if queue.is_sink() => not_empty(0, 0, items),
                        QueueError::NotEmpty { items } => not_empty(items, 0, 0),
                        why => why.into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Opens the queues of a service again whose deletion has failed.
    pub(super) async fn take_back_queues(&self, spec: &ServiceSpec) -> Result<(), QueueError> {
        self.open_queues_of(spec).await?;
        self.wake_processors();
        Ok(())
    }

    /// Has processors ask for items again that have stopped because their queue had ended or was closed.
    fn wake_processors(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Refuses to delete a service whose queues have items.
    async fn check_queues_are_empty(&self, spec: &ServiceSpec) -> Result<(), ChangeError> {
        if spec.queue().is_none() {
            return Ok(());
        }
        let (input, sink) = (QueueName::input(spec.name().as_str()), QueueName::sink(spec.name().as_str()));
        let input = self.queues.store.status(&input).await?;
        let sink = self.queues.store.status(&sink).await?;
        if input.live() + input.dead + sink.live() + sink.dead == 0 {
            return Ok(());
        }
        Err(not_empty(input.live(), input.dead, sink.live() + sink.dead))
    }

    /// Removes the queues of a service with their items.
    pub(super) async fn close_queues_of(&self, name: &str) {
        for queue in [QueueName::input(name), QueueName::sink(name)] {
            let removed = async {
                self.queues.store.close(&queue, true).await?;
                self.queues.store.remove(&queue).await
            };
            match removed.await {
                Ok(()) | Err(QueueError::NoQueue(_)) => {}
                Err(why) => {
                    tracing::warn!(queue = queue.as_str(), error = why.to_string(), "a queue could not be removed");
                }
            }
        }
    }
}

impl From<QueueError> for ChangeError {
    fn from(why: QueueError) -> Self {
        Self::Queue(why)
    }
}

/// The refusal to delete a service whose queues have items.
const fn not_empty(input: u64, dead: u64, sink: u64) -> ChangeError {
    ChangeError::QueueNotEmpty { input, dead, sink }
}
