//! The queues of asynchronous services: they exist as long as their service.

use std::io;

use tokio::sync::watch;

use super::Registry;
use super::change::ChangeError;
use crate::config::ServiceSpec;
use crate::queue::{Bounds, QueueError, QueueName, Queues};
use crate::storage::StorageError;

impl Registry {
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// A value that changes after a service has come, gone, or changed its phase.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
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

    /// Opens the queues of a service, or sets their bounds; does nothing for a service that is called.
    pub(super) async fn open_queues_of(&self, spec: &ServiceSpec) -> Result<(), QueueError> {
        let Some(settings) = spec.queue() else { return Ok(()) };
        let name = spec.name().as_str();
        for queue in [QueueName::input(name), QueueName::sink(name)] {
            self.queues.store.open(&queue, Bounds::from(settings)).await?;
        }
        Ok(())
    }

    /// Refuses to delete a service whose queues have items.
    pub(super) async fn check_queues_are_empty(&self, spec: &ServiceSpec) -> Result<(), ChangeError> {
        if spec.queue().is_none() {
            return Ok(());
        }
        let (input, sink) = (QueueName::input(spec.name().as_str()), QueueName::sink(spec.name().as_str()));
        let input = self.queues.store.status(&input).await?;
        let sink = self.queues.store.status(&sink).await?;
        if input.live() + input.dead + sink.live() + sink.dead == 0 {
            return Ok(());
        }
        Err(ChangeError::QueueNotEmpty { input: input.live(), dead: input.dead, sink: sink.live() + sink.dead })
    }

    /// Removes the queues of a service with their items.
    pub(super) async fn close_queues_of(&self, name: &str) {
        for queue in [QueueName::input(name), QueueName::sink(name)] {
            match self.queues.store.close(&queue, true).await {
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
