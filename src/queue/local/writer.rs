//! The thread that writes: it gathers operations, runs them in one transaction, and answers after the commit.
//!
//! While one batch is being written to the disk, the next gathers. So the number of operations for each write to the
//! disk grows with the load, and no operation waits for a timer.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{Database, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::{Bounds, Clock, Delivery, Holder, Item, NewItem, Outcome, QueueError, QueueName, Status};
use super::batch::{Batch, Books, Reply, Stop};
use super::load::load;
use super::tables::Tables;
use crate::failpoint;
use crate::telemetry::Times;

/// Most operations in one transaction.
const MOST_JOBS: usize = 512;
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

/// Opens the database.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, redb::Error> + Send>;

/// True if the disk has room for more items.
pub(super) type Space = Box<dyn FnMut() -> bool + Send>;

/// An operation, with its place among those that wait.
pub(super) struct Queued {
    pub(super) job: Job,
    /// `None` for a job that puts back the items of a caller that has left.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// The parts of the store that callers read without the writer.
#[derive(Default)]
pub(super) struct Shared {
    /// The database, for reading; `None` while it is being opened again.
    pub(super) database: Mutex<Option<Arc<Database>>>,
    pub(super) queues: Mutex<HashMap<QueueName, Published>>,
}

/// The state of an open queue after the last commit.
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

    fn set_database(&self, database: Option<Arc<Database>>) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
    }

    /// The number of an open queue.
    pub(super) fn number(&self, queue: &QueueName) -> Option<u32> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).get(queue).map(|published| published.number)
    }
}

/// The writing thread.
pub(super) struct Writer {
    pub(super) open: Opener,
    pub(super) jobs: Receiver<Queued>,
    pub(super) clock: Clock,
    pub(super) space: Space,
    pub(super) shared: Arc<Shared>,
    pub(super) books: Books,
    /// The open queues, while the database is opened again.
    pub(super) reopening: Vec<(QueueName, Bounds)>,
    pub(super) looked_for_keys: Option<Instant>,
    pub(super) commits: Arc<Times>,
    /// The number of operations of the last batches, which falls slowly.
    pub(super) last_batch: usize,
    /// The time that the last commit took.
    pub(super) last_commit: Duration,
}

/// The reason why a batch has failed.
struct Failed(QueueError);

impl Writer {
    /// Opens the database for the first time.
    ///
    /// # Errors
    /// The database's own.
    pub(super) fn start(&mut self) -> Result<(), redb::Error> {
        let database = (self.open)()?;
        self.books = load(&database)?;
        self.shared.set_database(Some(Arc::new(database)));
        Ok(())
    }

    /// Works until the store is dropped.
    pub(super) fn run(mut self) {
        loop {
            let mut gathered = Vec::new();
            match self.wait() {
                Ok(queued) => gathered.push(queued),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.gather(&mut gathered);
            let Some(database) = self.shared.database() else {
                // The jobs are dropped, which tells their callers.
                drop(gathered);
                self.reopen();
                continue;
            };
            let (jobs, places): (Vec<Job>, Vec<_>) =
                gathered.into_iter().map(|queued| (queued.job, queued.place)).unzip();
            let mut left = self.batch(&database, jobs);
            // The jobs of the callers that have left are run at once.
            while let Some(work) = left.take_if(|work| !work.is_empty()) {
                left = self.batch(&database, work);
            }
            drop(database);
            if left.is_none() {
                self.reopen();
            }
            drop(places);
        }
    }

    /// Gathers the operations that have arrived. If the last batch had several, waits a little for as many again.
    /// Callers that put one item after the other send the next one when the last is answered. Without the wait, they
    /// would split into two groups, and each group would wait for the sync of the other.
    fn gather(&mut self, gathered: &mut Vec<Queued>) {
        let expected = self.last_batch.min(MOST_JOBS);
        let until = Instant::now() + (self.last_commit / 4).min(LONGEST_GATHER);
        while gathered.len() < MOST_JOBS {
            let next = match self.jobs.try_recv() {
                Ok(queued) => Some(queued),
                Err(_) if (2..expected).contains(&gathered.len()) => {
                    self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
                }
                Err(_) => None,
            };
            match next {
                Some(queued) => gathered.push(queued),
                None => break,
            }
        }
        // Falls slowly, so that one small batch between large ones changes little.
        self.last_batch = gathered.len().max(self.last_batch - self.last_batch.div_ceil(8));
    }

    /// Waits for an operation, or until something is due.
    fn wait(&self) -> Result<Queued, RecvTimeoutError> {
        let now = self.clock.read().0;
        let timers = self.books.values().filter_map(|book| book.timers.first()).map(|(at, _)| *at).min();
        let timer = timers.map(|at| at.saturating_duration_since(now));
        let has_retention =
            self.books.values().any(|book| book.bounds.is_some_and(|bounds| bounds.retention.is_some()));
        let old = has_retention.then_some(LOOK_FOR_OLD);
        let reopen = self.shared.database().is_none().then_some(REOPEN_PAUSE);
        match [timer, old, reopen].into_iter().flatten().min() {
            Some(pause) => self.jobs.recv_timeout(pause),
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Runs operations in one transaction. Returns the jobs that put back the items of callers that have left; `None`
    /// if the storage has failed.
    fn batch(&mut self, database: &Database, jobs: Vec<Job>) -> Option<Vec<Job>> {
        let mut replies = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.transact(database, jobs, &mut replies)));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Failed(QueueError::Unavailable("the database is damaged: reading it has failed an assertion".into())))
        });
        match outcome {
            Ok(()) => Some(replies.into_iter().filter_map(|reply| reply(Ok(()))).collect()),
            Err(Failed(why)) => {
                tracing::error!(error = why.to_string(), "the queues' database has failed; it is opened again");
                replies.into_iter().for_each(|reply| drop(reply(Err(&why))));
                for book in self.books.values_mut() {
                    book.waiters.refuse_all(&why);
                }
                self.shared.set_database(None);
                None
            }
        }
    }

    fn transact(&mut self, database: &Database, jobs: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), Failed> {
        let transaction = database.begin_write().map_err(|error| failed(&error.into()))?;
        let (changed, fresh) = self.fill(&transaction, jobs, replies).map_err(|error| failed(&error))?;
        if changed {
            failpoint::is_full("queues.commit").map_err(|error| failed(&redb::Error::Io(error)))?;
            let began = Instant::now();
            transaction.commit().map_err(|error| failed(&error.into()))?;
            self.last_commit = began.elapsed();
            self.commits.record(self.last_commit);
        } else {
            transaction.abort().map_err(|error| failed(&error.into()))?;
        }
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
        Ok(())
    }

    /// Runs the operations. Returns true if there is something to commit, and the queues that have new ready items.
    fn fill(
        &mut self,
        transaction: &WriteTransaction,
        jobs: Vec<Job>,
        replies: &mut Vec<Reply>,
    ) -> Result<(bool, BTreeSet<QueueName>), redb::Error> {
        let (now, wall_ms) = self.clock.read();
        let mut batch = Batch {
            tables: Tables::open(transaction)?,
            books: &mut self.books,
            now,
            wall_ms,
            has_space: (self.space)(),
            changed: false,
            fresh: Vec::new(),
            stirred: Vec::new(),
            replies: Vec::new(),
        };
        let result = (|| -> Result<BTreeSet<QueueName>, redb::Error> {
            settled(batch.due())?;
            if self.looked_for_keys.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_FOR_OLD_KEYS) {
                self.looked_for_keys = Some(now);
                settled(batch.drop_old_keys())?;
            }
            for job in jobs {
                job(&mut batch)?;
            }
            let mut fresh = BTreeSet::new();
            while !batch.fresh.is_empty() || !batch.stirred.is_empty() {
                fresh.extend(batch.fresh.iter().map(|(queue, _)| queue.clone()));
                batch.serve()?;
            }
            for queue in &fresh {
                // The highest index of a queue is written once for all its puts.
                settled(batch.write_row(queue))?;
            }
            let touched = batch.books.iter().filter(|(_, book)| book.touched).map(|(queue, _)| queue.clone());
            for queue in touched.collect::<Vec<_>>() {
                settled(batch.note_oldest(&queue))?;
            }
            Ok(fresh)
        })();
        replies.append(&mut batch.replies);
        Ok((batch.changed, result?))
    }

    /// Opens the database again, with the same bounds of the queues.
    fn reopen(&mut self) {
        // After a second failure the books may have lost their bounds already.
        if self.reopening.is_empty() {
            let bounds = self.books.iter().filter_map(|(queue, book)| Some((queue.clone(), book.bounds?)));
            self.reopening = bounds.collect();
        }
        let bounds = self.reopening.clone();
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = (self.open)()?;
            let books = load(&database)?;
            Ok::<_, redb::Error>((database, books))
        }));
        match opened {
            Ok(Ok((database, books))) => {
                self.books = books;
                let database = Arc::new(database);
                let open = move |batch: &mut Batch<'_, '_>| {
                    bounds.iter().try_for_each(|(queue, bounds)| settled(batch.open(queue, *bounds)))
                };
                if self.batch(&database, vec![Box::new(open)]).is_some() {
                    tracing::info!("the queues' database is open again");
                    self.reopening.clear();
                    self.shared.set_database(Some(database));
                }
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

fn failed(error: &redb::Error) -> Failed {
    match error {
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Failed(QueueError::StorageFull),
        _ => Failed(QueueError::Unavailable(error.to_string())),
    }
}

/// Puts back items whose caller has left before it got them.
pub(super) fn restore(queue: QueueName, items: Vec<Item>) -> Job {
    Box::new(move |batch| {
        for item in items {
            let Item { index, priority, tags, target, headers, data, put_at_ms } = item;
            let item = NewItem { priority, tags, target, headers, data };
            settled(batch.insert(&queue, index, &item, put_at_ms))?;
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
