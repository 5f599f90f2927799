//! The thread that writes: it gathers operations, runs them, writes their changes to the log, and answers.
//!
//! While one batch is being written to the disk, the next gathers. So the number of operations for each write to the
//! disk grows with the load, and no operation waits for a timer.
//!
//! A transaction of the database goes on for many batches. It ends when a reader on another thread needs to see its
//! changes, or when the log is full: then it is synced, which is a checkpoint.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use redb::{Database, Durability, WriteTransaction};
use tokio::sync::OwnedSemaphorePermit;

use super::super::{Bounds, Clock, Delivery, Holder, Item, NewItem, Outcome, QueueError, QueueName};
use super::batch::{Batch, Books, Reply, Stop};
use super::files::Files;
use super::load::load;
use super::log::{self, Log};
use super::shared::Shared;
use super::tables::{Tables, write_mark};
use super::waiters::Taken;
use crate::failpoint;
use crate::telemetry::Times;

/// Most operations in one batch.
const MOST_JOBS: usize = 512;
/// The bytes of items at which a batch takes no further operation. Their changes have a copy of them.
const MOST_BYTES: usize = 8 << 20;
/// The longest wait for further operations.
const LONGEST_GATHER: Duration = Duration::from_millis(2);
/// The pause between two attempts to open a database that has failed.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// The time between two looks for old items.
const LOOK_FOR_OLD: Duration = Duration::from_secs(1);
/// The time between two looks for old idempotency keys.
const LOOK_FOR_OLD_KEYS: Duration = Duration::from_secs(60);

/// An operation. It adds its answer to the batch; an error is one of the storage.
pub(super) type Job = Box<dyn FnOnce(&mut Batch<'_, '_>) -> Result<(), redb::Error> + Send>;

/// Opens the files.
pub(super) type Opener = Box<dyn Fn() -> Result<Files, redb::Error> + Send>;

/// True if the disk has room for more items.
pub(super) type Space = Box<dyn FnMut() -> bool + Send>;

/// An operation, with its place among those that wait.
pub(super) struct Queued {
    pub(super) job: Job,
    /// The bytes of the item that it stores.
    pub(super) bytes: usize,
    /// `None` for a job that puts back the items of a caller that has left.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// The writing thread.
pub(super) struct Writer {
    pub(super) open: Opener,
    pub(super) jobs: Receiver<Queued>,
    pub(super) clock: Clock,
    pub(super) space: Space,
    pub(super) shared: Arc<Shared>,
    pub(super) books: Books,
    /// `None` while the database is opened again.
    pub(super) log: Option<Log>,
    /// The queues that are opened again with the database; `None` if it has not failed.
    pub(super) reopening: Option<Vec<(QueueName, Bounds)>>,
    /// True once the store is dropped.
    pub(super) is_over: bool,
    /// Operations that come before those of callers.
    pub(super) first: Vec<Job>,
    pub(super) answers: Answers,
    pub(super) looked_for_keys: Option<Instant>,
    pub(super) commits: Arc<Times>,
    /// The number of operations of the last batches, which falls slowly.
    pub(super) last_batch: usize,
    /// The time that the last write to the log took.
    pub(super) last_commit: Duration,
}

/// The answers that are sent once a batch is on disk.
#[derive(Default)]
pub(super) struct Answers {
    replies: Vec<Reply>,
    /// Queues that have new ready items.
    fresh: BTreeSet<QueueName>,
}

/// The reason why the writer cannot go on with the database.
struct Failed(QueueError);

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(io) if log::is_full(&io) => Self(QueueError::StorageFull),
            error => Self(QueueError::Unavailable(error.to_string())),
        }
    }
}

/// The end of a transaction.
enum Ending {
    /// Readers see the changes, which are in the log.
    Published,
    /// The changes are synced, and the log begins anew.
    Checkpoint,
    /// As a checkpoint, and the store was dropped.
    Over,
}

impl Writer {
    /// Opens the database.
    ///
    /// # Errors
    /// The database's own.
    pub(super) fn start(&mut self) -> Result<(), redb::Error> {
        let (database, log, books) = load((self.open)()?)?;
        self.books = books;
        self.log = Some(log);
        self.shared.is_behind.store(false, Ordering::Release);
        self.shared.set_database(Some(Arc::new(database)));
        Ok(())
    }

    /// Works until the store is dropped.
    pub(super) fn run(mut self) {
        loop {
            let Some(database) = self.shared.database() else {
                match self.refuse_for(REOPEN_PAUSE) {
                    RecvTimeoutError::Disconnected => return,
                    RecvTimeoutError::Timeout => self.reopen(),
                }
                continue;
            };
            let ending = catch_unwind(AssertUnwindSafe(|| self.work(&database))).unwrap_or_else(|_| {
                Err(Failed(QueueError::Unavailable("the database is damaged: it has failed an assertion".into())))
            });
            drop(database);
            match ending {
                Ok(Ending::Over) => return self.shared.set_database(None),
                Ok(Ending::Published | Ending::Checkpoint) => {}
                Err(Failed(why)) => {
                    self.fail(&why);
                    // Right after the end of the store, the log has everything.
                    if self.is_over {
                        return;
                    }
                    // After a second failure in a row, `refuse_for` waits a while.
                    if self.reopening.is_none() {
                        self.reopen();
                    }
                }
            }
        }
    }

    /// Works with one transaction of the database.
    fn work(&mut self, database: &Database) -> Result<Ending, Failed> {
        let mut transaction = database.begin_write()?;
        let ending = self.batches(&transaction)?;
        let began = Instant::now();
        match ending {
            Ending::Published => {
                transaction.set_durability(Durability::None).map_err(redb::Error::from)?;
                transaction.commit().inspect_err(|_| {
                    // The batch is in the log already, so its callers are told of it in any case.
                    self.answer();
                })?;
            }
            Ending::Checkpoint | Ending::Over => {
                let mark = self.log()?.mark();
                write_mark(&transaction, mark)?;
                transaction.commit()?;
                self.commits.record(began.elapsed());
                self.log()?.restart();
            }
        }
        self.shared.is_behind.store(false, Ordering::Release);
        self.answer();
        Ok(ending)
    }

    /// Runs one batch after the other, until the transaction must end. The last batch is answered after that.
    fn batches(&mut self, transaction: &WriteTransaction) -> Result<Ending, Failed> {
        let mut tables = Tables::open(transaction)?;
        let mut is_changed = false;
        loop {
            let Some(jobs) = self.gather() else {
                self.is_over = true;
                return Ok(Ending::Over);
            };
            let publish = self.fill(&mut tables, jobs)?;
            let changes = tables.take_changes();
            if !changes.is_empty() {
                is_changed = true;
                failpoint::is_full("queues.commit").map_err(redb::Error::Io)?;
                let began = Instant::now();
                if !self.log()?.append(&changes).map_err(redb::Error::Io)? {
                    return Ok(Ending::Checkpoint);
                }
                self.shared.is_behind.store(true, Ordering::Release);
                self.last_commit = began.elapsed();
                self.commits.record(self.last_commit);
            }
            tables.keep_memory(changes);
            if publish && is_changed {
                return Ok(Ending::Published);
            }
            self.answer();
        }
    }

    fn log(&mut self) -> Result<&mut Log, Failed> {
        self.log.as_mut().ok_or_else(|| Failed(super::unavailable()))
    }

    /// Gathers the operations that have arrived; `None` once the store is dropped.
    ///
    /// If the last batch had several, it waits a little for as many again. Callers that put one item after the other
    /// send the next one when the last is answered. Without the wait, they would split into two groups, and each group
    /// would wait for the sync of the other.
    fn gather(&mut self) -> Option<Vec<Job>> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        let mut bytes = 0;
        let mut gathered = match self.wait() {
            Ok(queued) => {
                bytes += queued.bytes;
                vec![queued.job]
            }
            Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        let expected = self.last_batch.min(MOST_JOBS);
        let until = Instant::now() + (self.last_commit / 4).min(LONGEST_GATHER);
        while gathered.len() < MOST_JOBS && bytes < MOST_BYTES {
            let next = match self.jobs.try_recv() {
                Ok(queued) => Some(queued),
                Err(_) if (2..expected).contains(&gathered.len()) => {
                    self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
                }
                Err(_) => None,
            };
            match next {
                Some(queued) => {
                    bytes += queued.bytes;
                    gathered.push(queued.job);
                }
                None => break,
            }
        }
        // Falls slowly, so that one small batch between large ones changes little.
        self.last_batch = gathered.len().max(self.last_batch - self.last_batch.div_ceil(8));
        Some(gathered)
    }

    /// Waits for an operation, or until something is due.
    fn wait(&self) -> Result<Queued, RecvTimeoutError> {
        let now = self.clock.read().0;
        let timers = self.books.values().filter_map(|book| book.timers.first()).map(|(at, _)| *at).min();
        let timer = timers.map(|at| at.saturating_duration_since(now));
        let has_retention =
            self.books.values().any(|book| book.bounds.is_some_and(|bounds| bounds.retention.is_some()));
        let old = has_retention.then_some(LOOK_FOR_OLD);
        match [timer, old].into_iter().flatten().min() {
            Some(pause) => self.jobs.recv_timeout(pause),
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Refuses the operations that arrive in this time. A job that is dropped tells its caller.
    fn refuse_for(&self, time: Duration) -> RecvTimeoutError {
        let until = Instant::now() + time;
        loop {
            match self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(refused) => drop(refused),
                Err(end) => return end,
            }
        }
    }

    /// Runs operations. Returns true if readers must see the changes before the operations are answered.
    fn fill(&mut self, tables: &mut Tables<'_>, jobs: Vec<Job>) -> Result<bool, redb::Error> {
        let (now, wall_ms) = self.clock.read();
        let mut batch = Batch {
            tables,
            books: &mut self.books,
            now,
            wall_ms,
            has_space: (self.space)(),
            publish: false,
            fresh: Vec::new(),
            stirred: Vec::new(),
            replies: &mut self.answers.replies,
        };
        settled(batch.due())?;
        if self.looked_for_keys.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_FOR_OLD_KEYS) {
            // Many are removed in several batches.
            let is_more = batch.drop_old_keys().or_else(|stop| settled(Err(stop)).map(|()| false))?;
            self.looked_for_keys = (!is_more).then_some(now);
        }
        for job in jobs {
            job(&mut batch)?;
        }
        let fresh = &mut self.answers.fresh;
        while !batch.fresh.is_empty() || !batch.stirred.is_empty() {
            fresh.extend(batch.fresh.iter().map(|(queue, _)| queue.clone()));
            batch.serve()?;
        }
        for queue in fresh.iter() {
            // The highest index of a queue is written once for all its puts.
            settled(batch.write_row(queue))?;
        }
        let touched = batch.books.iter().filter(|(_, book)| book.touched).map(|(queue, _)| queue.clone());
        for queue in touched.collect::<Vec<_>>() {
            settled(batch.note_oldest(&queue))?;
        }
        Ok(batch.publish)
    }

    /// Tells callers and readers of a batch that is on disk.
    fn answer(&mut self) {
        let Answers { replies, fresh } = std::mem::take(&mut self.answers);
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for (queue, book) in self.books.iter_mut().filter(|(_, book)| book.touched) {
            book.touched = false;
            let Some(published) = queues.get_mut(queue) else { continue };
            published.is_full = book.room() == 0;
            published.status = book.status();
            if fresh.contains(queue) {
                published.arrivals.send_modify(|count| *count += 1);
            }
        }
        drop(queues);
        // A caller that has left leaves work behind.
        self.first.extend(replies.into_iter().filter_map(|reply| reply(Ok(()))));
        if self.reopening.take().is_some() {
            tracing::info!("the queues' database is open again");
        }
    }

    /// Refuses all operations that are not on disk, and closes the files.
    fn fail(&mut self, why: &QueueError) {
        tracing::error!(error = why.to_string(), "the queues' database has failed; it is opened again");
        std::mem::take(&mut self.answers).replies.into_iter().for_each(|reply| drop(reply(Err(why))));
        for book in self.books.values_mut() {
            book.waiters.refuse_all(why);
        }
        self.log = None;
        self.shared.set_database(None);
    }

    /// Opens the files again, with the same bounds of the queues.
    fn reopen(&mut self) {
        // After a second failure the books may have lost their bounds already.
        let open = self.books.iter().filter_map(|(queue, book)| Some((queue.clone(), book.bounds?)));
        let bounds = self.reopening.get_or_insert_with(|| open.collect()).clone();
        match catch_unwind(AssertUnwindSafe(|| self.start())) {
            Ok(Ok(())) => {
                // Items that are put back need their queue.
                let open = move |batch: &mut Batch<'_, '_>| {
                    bounds.iter().try_for_each(|(queue, bounds)| settled(batch.open(queue, *bounds)))
                };
                self.first.insert(0, Box::new(open));
            }
            Ok(Err(error)) => tracing::error!(error = error.to_string(), "the queues' database cannot be opened"),
            Err(_) => tracing::error!("the queues' database is damaged and cannot be opened"),
        }
    }
}

/// The error of the storage in a step that cannot be refused.
fn settled(step: Result<(), Stop>) -> Result<(), redb::Error> {
    match step {
        Ok(()) | Err(Stop::Refused(_)) => Ok(()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Puts back items whose caller has left before it got them.
pub(super) fn restore(queue: QueueName, items: Vec<Taken>) -> Job {
    Box::new(move |batch| {
        for (item, state) in items {
            let Item { index, priority, tags, target, headers, data, put_at_ms } = item;
            let item = NewItem { priority, tags, target, headers, data };
            let restored = batch.insert(&queue, index, &item, put_at_ms);
            settled(restored.and_then(|()| batch.keep_state(&queue, index, state)))?;
        }
        Ok(())
    })
}

/// Gives back items whose consumer has left before it got them.
pub(super) fn give_back(queue: QueueName, deliveries: Vec<Delivery>) -> Job {
    Box::new(move |batch| {
        for delivery in deliveries {
            let holder = Holder::Lease(delivery.lease);
            settled(batch.settle(&queue, delivery.item.index, &holder, Outcome::Returned).map(drop))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::{LocalQueues, QueueStore};
    use super::*;

    /// The database is closed and opened again, although the panic has left a transaction of it.
    #[tokio::test]
    async fn a_panic_of_an_operation_loses_nothing_and_the_queues_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalQueues::open(&dir.path().join("queues.redb"), Clock::system()).unwrap();
        let queue = QueueName::input("s");
        let bounds = Bounds { length: 9, payload: 9, deliveries: 3, retention: None };
        store.open(&queue, bounds).await.unwrap();
        store.put(&queue, NewItem::default(), None).await.unwrap();
        let panicked = store.run(|_| -> Result<(), Stop> { panic!("asked to") }).await;
        assert!(matches!(panicked, Err(QueueError::Unavailable(_))), "{panicked:?}");
        let second = store.put(&queue, NewItem::default(), None).await.unwrap();
        assert_eq!((second.index, store.status(&queue).await.unwrap().live()), (2, 2));
    }
}
