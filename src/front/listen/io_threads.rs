//! The threads that serve connections. Each has a runtime of its own, and a connection stays on its thread.
//!
//! Threads that share a runtime take each other's work: a thread that finds two ready connections wakes another thread
//! for the second, and that connection's memory moves to another processor. Without this, an echo costs an eighth less.
//! Sharing helps when short work waits behind long work. That is rare here, because long work moves to the background
//! after its first slice ([`crate::admission::Executor`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Threads for name lookups, which block.
const BLOCKING_THREADS: usize = 16;

/// The running threads. They end at the latest when this is dropped.
pub struct IoThreads {
    threads: Vec<IoThread>,
    /// The position at which the next choice begins.
    next: AtomicUsize,
    /// Tells the threads to end. Its receivers are gone once the last thread has ended.
    end: watch::Sender<bool>,
}

struct IoThread {
    runtime: Handle,
    /// The number of connections that it serves.
    connections: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn start(count: usize) -> io::Result<Self> {
        let (end, told) = watch::channel(false);
        let threads =
            (0..count.max(1)).map(|number| IoThread::start(number, told.clone())).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: AtomicUsize::new(0), end })
    }

    /// Serves a connection on the thread that has the fewest.
    pub(in crate::front) fn serve<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let IoThread { runtime, connections } = self.choose();
        let counted = Counted::count(connections);
        // Until now, the accepting runtime watched the socket. From here on, the thread's own runtime does.
        let stream = stream.into_std();
        runtime.spawn(async move {
            let _counted = counted;
            match stream.and_then(TcpStream::from_std) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        });
    }

    /// Returns the thread with the fewest connections; among equals, each in turn.
    fn choose(&self) -> &IoThread {
        let (count, first) = (self.threads.len(), self.next.fetch_add(1, Ordering::Relaxed));
        let in_turn = (0..count).map(|step| &self.threads[first.wrapping_add(step) % count]);
        in_turn.min_by_key(|thread| thread.connections.load(Ordering::Relaxed)).expect("there is at least one thread")
    }

    /// Cuts off the connections that still run, and waits for the threads to end, but no longer than `patience`.
    pub async fn end(&self, patience: Duration) {
        self.end.send_replace(true);
        if tokio::time::timeout(patience, self.end.closed()).await.is_err() {
            tracing::warn!(patience_ms = patience.as_millis() as u64, "a network thread does not end");
        }
    }
}

impl IoThread {
    fn start(number: usize, mut told: watch::Receiver<bool>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().max_blocking_threads(BLOCKING_THREADS).enable_all().build()?;
        let handle = runtime.handle().clone();
        let work = move || {
            let _ = runtime.block_on(told.wait_for(|end| *end));
            // The thread's connections end here, before the end of the thread becomes visible.
            runtime.shutdown_background();
            drop(told);
        };
        thread::Builder::new().name(format!("io-{number}")).spawn(work)?;
        Ok(Self { runtime: handle, connections: Arc::default() })
    }
}

/// A connection that a thread serves or is about to serve.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn count(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread::ThreadId;

    use tokio::net::TcpListener;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    struct Bench {
        threads: IoThreads,
        listener: TcpListener,
        began: mpsc::UnboundedSender<ThreadId>,
        told: mpsc::UnboundedReceiver<ThreadId>,
    }

    impl Bench {
        async fn new(count: usize) -> Self {
            let (began, told) = mpsc::unbounded_channel();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { threads: IoThreads::start(count).unwrap(), listener, began, told }
        }

        /// Returns the thread that serves a new connection, and a sender. The connection lives as long as the sender.
        async fn connect(&mut self) -> (ThreadId, oneshot::Sender<()>) {
            let address = self.listener.local_addr().unwrap();
            let (client, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
            let (ends, ended) = oneshot::channel();
            let began = self.began.clone();
            self.threads.serve(accepted.unwrap().0, async move |stream| {
                let _both = (stream, client);
                began.send(thread::current().id()).unwrap();
                let _ = ended.await;
            });
            (self.told.recv().await.unwrap(), ends)
        }
    }

    #[tokio::test]
    async fn connections_go_where_there_are_the_fewest() {
        let mut bench = Bench::new(3).await;
        let mut open = Vec::new();
        for _ in 0..9 {
            open.push(bench.connect().await);
        }
        let mut by_thread: HashMap<ThreadId, usize> = HashMap::new();
        open.iter().for_each(|(thread, _)| *by_thread.entry(*thread).or_default() += 1);
        assert!(by_thread.len() == 3 && by_thread.values().all(|count| *count == 3), "{by_thread:?}");
        // A thread that has lost its connections gets the next ones.
        let quiet = open[0].0;
        let counts = bench.threads.threads.iter().map(|thread| Arc::clone(&thread.connections)).collect::<Vec<_>>();
        open.retain(|(thread, _)| *thread != quiet);
        while !counts.iter().any(|connections| connections.load(Ordering::Relaxed) == 0) {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            let (thread, ends) = bench.connect().await;
            assert_eq!(thread, quiet);
            open.push((thread, ends));
        }
    }

    #[tokio::test]
    async fn what_still_runs_is_dropped_when_the_threads_end() {
        let mut bench = Bench::new(2).await;
        let (_, mut ends) = bench.connect().await;
        assert!(!ends.is_closed());
        bench.threads.end(Duration::from_secs(60)).await;
        ends.closed().await;
        assert_eq!(bench.threads.end.receiver_count(), 0, "no thread is left");
    }
}
