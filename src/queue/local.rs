//! Queues in a database of the data directory.
//!
//! **Survival.** An operation is answered after its changes are on disk (`fdatasync`): in the log, or in the database.
//! So an acknowledged put, delivery, settlement or removal survives the end of the process, of the kernel, and of the
//! power, as far as the disk keeps what it has confirmed. An operation that was not answered was made completely or not
//! at all. Leases and the pauses of delayed items are kept in memory: after a start, each delivery that was under way
//! has failed, and each pause begins anew.
//!
//! **One writer.** One thread writes: see `writer`. Reads of items run beside it, on the state of the last commit.
//!
//! **Failures.** If the database cannot be written or read, nothing is acknowledged until it is open again: `writer`
//! closes it, opens it again, which repairs it, and reads its state anew. Each item has a checksum; a damaged item is
//! never delivered and becomes dead. Puts are refused while the disk has less than [`files::RESERVE`] free, so that what is in
//! the queues can still be taken out.

mod batch;
mod book;
mod change;
mod due;
mod files;
mod load;
mod log;
mod reading;
mod record;
mod removal;
mod rows;
mod select;
mod shared;
mod tables;
mod waiters;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use redb::Database;
use tokio::sync::{Semaphore, oneshot, watch};

use self::batch::{Batch, Stop};
#[cfg(test)]
pub(super) use self::files::Files;
use self::shared::{Published, Shared};
use self::waiters::{Answer, Wish};
use self::writer::{Opener, Queued, Space, Writer};
use super::{
    Bounds, Clock, DeadItem, Delivery, Holder, Item, Key, NewItem, Outcome, QueueError, QueueFuture, QueueName,
    QueueStore, Receipt, Selection, Settled, Status, Tags, Want, Whereabouts,
};
use crate::telemetry::Times;

/// Most operations that wait for the writer.
const WAITING: usize = 4096;

/// Queues in a database.
pub struct LocalQueues {
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Queued>>,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<Times>,
}

impl LocalQueues {
    /// Opens the database of the queues, and makes it if it is missing. Blocks.
    ///
    /// # Errors
    /// A database that cannot be opened.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, redb::Error> {
        let (file, space) = (path.to_owned(), files::space_beside(path));
        let open = Box::new(move || files::open(&file));
        Self::with(open, space, clock)
    }

    pub(super) fn with(open: Opener, space: Space, clock: Clock) -> Result<Self, redb::Error> {
        let (jobs, queued) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let books = batch::Books::new();
        let commits = Arc::<Times>::default();
        let mut writer = Writer {
            open,
            jobs: queued,
            clock,
            space,
            shared: Arc::clone(&shared),
            books,
            log: None,
            reopening: None,
            is_over: false,
            first: Vec::new(),
            answers: writer::Answers::default(),
            looked_for_keys: None,
            commits: Arc::clone(&commits),
            last_batch: 0,
            last_commit: Duration::ZERO,
        };
        // Reading a damaged file may fail an assertion of the database.
        catch_unwind(AssertUnwindSafe(|| writer.start()))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("reading it has failed an assertion".into())))?;
        let thread = std::thread::Builder::new().name("queues".into()).spawn(move || writer.run());
        let thread = thread.map_err(redb::Error::Io)?;
        Ok(Self { jobs: Some(jobs), places: Arc::new(Semaphore::new(WAITING)), shared, thread: Some(thread), commits })
    }

    /// The times for writing a batch of changes to the disk.
    pub fn commits(&self) -> &Arc<Times> {
        &self.commits
    }

    /// Runs `work` in the next batch, and answers once the batch is on disk.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_, '_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.store(0, work).await
    }

    /// As [`LocalQueues::run`], for work that stores an item of this size.
    async fn store<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Batch<'_, '_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (to, answer) = oneshot::channel::<Result<T, QueueError>>();
        let job = Box::new(move |batch: &mut Batch<'_, '_>| {
            let result = match work(batch) {
                Ok(value) => Ok(value),
                Err(Stop::Refused(why)) => Err(why),
                Err(Stop::Failed(error)) => return Err(error),
            };
            batch.replies.push(Box::new(move |committed| {
                // A caller that has left needs no answer.
                drop(to.send(committed.map_err(Clone::clone).and(result)));
                None
            }));
            Ok(())
        });
        self.send(job, bytes).await?;
        answer.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Grants a wish now, or when it can be granted.
    async fn wish(&self, queue: &QueueName, wish: Wish) -> Result<(), QueueError> {
        let queue = queue.clone();
        self.send(Box::new(move |batch| batch.wish(&queue, wish)), 0).await
    }

    async fn send(&self, job: writer::Job, bytes: usize) -> Result<(), QueueError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| unavailable())?;
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Queued { job, bytes, _place: Some(place) }));
        sent.and_then(Result::ok).ok_or_else(unavailable)
    }

    /// Reads with a transaction of its own, on a thread that may block.
    async fn read_with<T: Send + 'static>(
        &self,
        queue: &QueueName,
        read: impl FnOnce(&Database, u32) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, QueueError> {
        let number = self.shared.number(queue).ok_or_else(|| QueueError::NoQueue(queue.to_string()))?;
        if !self.shared.is_up_to_date() {
            let publish = |batch: &mut Batch<'_, '_>| {
                batch.publish = true;
                Ok(())
            };
            self.run(publish).await?;
        }
        let database = self.shared.database().ok_or_else(unavailable)?;
        let read = tokio::task::spawn_blocking(move || read(&database, number)).await;
        let read = read.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        read.map_err(|error| QueueError::Unavailable(error.to_string()))
    }

    /// Does `work` on one part after the other, until there is nothing left to do. Returns the sum.
    async fn in_parts(
        &self,
        queue: &QueueName,
        work: impl Fn(&mut Batch<'_, '_>, &QueueName) -> Result<u64, Stop> + Clone + Send + 'static,
    ) -> Result<u64, QueueError> {
        let mut sum = 0;
        loop {
            let (work, queue) = (work.clone(), queue.clone());
            match self.run(move |batch| work(batch, &queue)).await? {
                0 => return Ok(sum),
                done => sum += done,
            }
        }
    }
}

/// Items on their way to a caller. If the caller leaves before it has read them, they go back.
struct Unread<'a, T> {
    answer: oneshot::Receiver<Result<Vec<T>, QueueError>>,
    queue: &'a QueueName,
    store: &'a LocalQueues,
    back: fn(QueueName, Vec<T>) -> writer::Job,
}

impl<T> Unread<'_, T> {
    async fn read(mut self) -> Result<Vec<T>, QueueError> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(unavailable()))
    }
}

impl<T> Drop for Unread<'_, T> {
    fn drop(&mut self) {
        // After this the writer cannot send any more, and puts the items back itself.
        self.answer.close();
        if let Ok(Ok(items)) = self.answer.try_recv()
            && !items.is_empty()
        {
            // If the writer is gone, the store is too.
            let back = (self.back)(self.queue.clone(), items);
            let _ = self.store.jobs.as_ref().map(|jobs| jobs.send(Queued { job: back, bytes: 0, _place: None }));
        }
    }
}

impl Drop for LocalQueues {
    fn drop(&mut self) {
        self.jobs = None;
        // The thread closes the database; a panic of it was logged.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl std::fmt::Debug for LocalQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalQueues").finish_non_exhaustive()
    }
}

fn unavailable() -> QueueError {
    QueueError::Unavailable("it is being opened again".into())
}

impl QueueStore for LocalQueues {
    fn open<'a>(&'a self, queue: &'a QueueName, bounds: Bounds) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            let name = queue.clone();
            let opened = self.run(move |batch| {
                batch.open(&name, bounds)?;
                let status = batch.status(&name)?;
                let book = batch.book(&name)?;
                Ok(Published { number: book.number(), is_full: book.room() == 0, status, ..Published::default() })
            });
            let published = opened.await?;
            // A queue that was open already is published by each batch.
            let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.entry(queue.clone()).or_insert(published);
            Ok(())
        })
    }

    fn close<'a>(&'a self, queue: &'a QueueName, with_items: bool) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            let name = queue.clone();
            self.run(move |batch| {
                batch.open_to_close(&name)?;
                batch.close(&name, with_items)
            })
            .await
        })
    }

    fn remove<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, ()> {
        Box::pin(async move {
            self.in_parts(queue, |batch, queue| batch.remove_part(queue)).await?;
            let name = queue.clone();
            self.run(move |batch| batch.remove_queue(&name)).await?;
            self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
            Ok(())
        })
    }

    fn put<'a>(&'a self, queue: &'a QueueName, item: NewItem, key: Option<Key>) -> QueueFuture<'a, Receipt> {
        let queue = queue.clone();
        Box::pin(self.store(item.data.len(), move |batch| batch.put(&queue, &item, key)))
    }

    fn take<'a>(&'a self, queue: &'a QueueName, want: Want) -> QueueFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            let Want { consumer, most, from, tags, hold, room_in, wait } = want;
            let (to, answer) = oneshot::channel();
            let answer_to = Answer::Lease { consumer, hold, room_in, to };
            self.wish(queue, Wish { most, from, tags, newest_first: false, wait, answer: answer_to }).await?;
            Unread { answer, queue, store: self, back: writer::give_back }.read().await
        })
    }

    fn renew<'a>(
        &'a self,
        queue: &'a QueueName,
        leases: Vec<(u64, Holder)>,
        hold: Duration,
    ) -> QueueFuture<'a, Vec<u64>> {
        let queue = queue.clone();
        Box::pin(self.run(move |batch| {
            let until = batch.now + hold;
            let book = batch.book(&queue)?;
            let mut lost = Vec::new();
            for (index, holder) in leases {
                if book.held_by(index, &holder).is_none() {
                    lost.push(index);
                } else if let Some(held) = book.release(index) {
                    book.lease(index, book::Held { until, ..held });
                }
            }
            Ok(lost)
        }))
    }

    fn settle<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        outcome: Outcome,
    ) -> QueueFuture<'a, Settled> {
        let queue = queue.clone();
        let bytes = match &outcome {
            Outcome::Done { result: Some(result) } => result.1.data.len(),
            _ => 0,
        };
        Box::pin(self.store(bytes, move |batch| batch.settle(&queue, index, &holder, outcome)))
    }

    fn keep_partial<'a>(
        &'a self,
        queue: &'a QueueName,
        index: u64,
        holder: Holder,
        partial: Bytes,
    ) -> QueueFuture<'a, ()> {
        let queue = queue.clone();
        Box::pin(self.store(partial.len(), move |batch| batch.keep_partial(&queue, index, &holder, &partial)))
    }

    fn read<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>> {
        Box::pin(self.read_with(queue, move |database, number| reading::read(database, number, &selection)))
    }

    fn pop<'a>(&'a self, queue: &'a QueueName, selection: Selection) -> QueueFuture<'a, Vec<Item>> {
        Box::pin(async move {
            let Selection { from, most, tags, newest_first, wait } = selection;
            let (to, answer) = oneshot::channel();
            let answer_to = Answer::Remove { to };
            self.wish(queue, Wish { most, from, tags, newest_first, wait, answer: answer_to }).await?;
            let taken = Unread { answer, queue, store: self, back: writer::restore }.read().await?;
            Ok(taken.into_iter().map(|(item, _)| item).collect())
        })
    }

    fn delete<'a>(&'a self, queue: &'a QueueName, indexes: Vec<u64>) -> QueueFuture<'a, Vec<u64>> {
        let queue = queue.clone();
        Box::pin(self.run(move |batch| {
            batch.book(&queue)?;
            let mut deleted = Vec::new();
            for index in indexes {
                if batch.delete(&queue, index)? {
                    deleted.push(index);
                }
            }
            Ok(deleted)
        }))
    }

    fn truncate<'a>(&'a self, queue: &'a QueueName, before: u64) -> QueueFuture<'a, u64> {
        Box::pin(self.in_parts(queue, move |batch, queue| batch.truncate_part(queue, before)))
    }

    fn end<'a>(&'a self, queue: &'a QueueName, at_once: bool) -> QueueFuture<'a, ()> {
        let queue = queue.clone();
        Box::pin(self.run(move |batch| {
            let book = batch.book(&queue)?;
            book.row.ended = true;
            book.row.ended_at_once |= at_once;
            batch.stirred.push(queue.clone());
            batch.write_row(&queue)
        }))
    }

    fn find<'a>(&'a self, queue: &'a QueueName, index: u64) -> QueueFuture<'a, Option<Whereabouts>> {
        let queue = queue.clone();
        Box::pin(self.run(move |batch| batch.find(&queue, index)))
    }

    fn count<'a>(&'a self, queue: &'a QueueName, priority: Option<u8>, tags: Tags) -> QueueFuture<'a, u64> {
        if !tags.is_empty() {
            let count = move |database: &Database, number| reading::count_tagged(database, number, priority, &tags);
            return Box::pin(self.read_with(queue, count));
        }
        let queue = queue.clone();
        Box::pin(self.run(move |batch| batch.count(&queue, priority)))
    }

    fn status<'a>(&'a self, queue: &'a QueueName) -> QueueFuture<'a, Status> {
        let queue = queue.clone();
        Box::pin(self.run(move |batch| batch.status(&queue)))
    }

    fn dead<'a>(&'a self, queue: &'a QueueName, from: u64, most: usize) -> QueueFuture<'a, Vec<DeadItem>> {
        Box::pin(self.read_with(queue, move |database, number| reading::dead(database, number, from, most)))
    }

    fn requeue<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64> {
        match indexes {
            None => Box::pin(self.in_parts(queue, |batch, queue| batch.requeue(queue, None))),
            some => {
                let queue = queue.clone();
                Box::pin(self.run(move |batch| batch.requeue(&queue, some.as_deref())))
            }
        }
    }

    fn purge<'a>(&'a self, queue: &'a QueueName, indexes: Option<Vec<u64>>) -> QueueFuture<'a, u64> {
        match indexes {
            None => Box::pin(self.in_parts(queue, |batch, queue| batch.purge(queue, None))),
            some => {
                let queue = queue.clone();
                Box::pin(self.run(move |batch| batch.purge(&queue, some.as_deref())))
            }
        }
    }

    fn glance(&self, queue: &QueueName) -> Option<Status> {
        let queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).map(|published| published.status.clone())
    }

    fn is_full(&self, queue: &QueueName) -> bool {
        let queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).is_some_and(|published| published.is_full)
    }

    fn arrivals(&self, queue: &QueueName) -> Option<watch::Receiver<u64>> {
        let queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).map(|published| published.arrivals.subscribe())
    }
}
