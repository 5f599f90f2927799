//! The means that all outgoing requests of a host share: its threads, its connections, and its root certificates.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::tls;

/// Most connections of all services at once.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// Most names that are looked up at once. A look-up holds a thread until the system's resolver gives up.
const MAX_LOOKUPS: usize = 16;

/// The outgoing requests of a host.
#[derive(Debug)]
pub struct Pool {
    /// Where connections run: beside the threads of the callers' requests, which must not wait for them.
    runtime: Handle,
    connections: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    /// Made for the first request that needs it. A failure is tried again with the next request.
    tls: OnceCell<Arc<ClientConfig>>,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Task<T> {
    /// Waits for the end of the task. `None` if it panicked, or if its runtime has ended.
    pub(super) async fn ended(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl Pool {
    pub fn new(runtime: Handle) -> Self {
        let (connections, lookups) = (Semaphore::new(MAX_CONNECTIONS), Semaphore::new(MAX_LOOKUPS));
        Self { runtime, connections: Arc::new(connections), lookups: Arc::new(lookups), tls: OnceCell::new() }
    }

    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(self.runtime.spawn(work))
    }

    /// Returns the place of one more connection; `None` if there are as many as there may be.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Looks up a name.
    pub(super) async fn lookup(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let found = self.runtime.spawn_blocking(move || {
            // A look-up that nobody waits for any more keeps its place, because it keeps its thread.
            let _place = place;
            Ok((host.as_str(), port).to_socket_addrs()?.collect())
        });
        found.await.map_err(io::Error::other)?
    }

    /// Returns the TLS connector.
    ///
    /// # Errors
    /// A sentence, if no root certificate can be read.
    pub(super) async fn tls(&self) -> Result<TlsConnector, String> {
        let made = self.tls.get_or_try_init(|| async {
            // Reads a hundred files.
            self.runtime.spawn_blocking(tls::config).await.map_err(|error| error.to_string())?
        });
        Ok(TlsConnector::from(Arc::clone(made.await?)))
    }
}
