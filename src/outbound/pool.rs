//! The means that the outgoing requests of a host share: threads, connections, and root certificates. Each service has
//! a bounded share of them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::client::Failure;
use super::tls;

/// Most connections of a service at once, if the host has at least four times as many.
const MAX_CONNECTIONS: usize = 64;
/// Most names that are looked up at once, by all services and by one. A look-up holds a thread until the system's
/// resolver gives up.
const MAX_LOOKUPS: usize = 16;
const MAX_LOOKUPS_OF_ONE: usize = 4;

/// The outgoing requests of a host.
#[derive(Debug)]
pub struct Pool {
    /// Where connections run: beside the threads of the callers' requests, which must not wait for them.
    runtime: Handle,
    max_connections: usize,
    connections: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    /// Made for the first request that needs it. A failure is tried again with the next request.
    tls: OnceCell<Arc<ClientConfig>>,
}

/// A service's share of a pool: its versions and its webhooks use it together.
#[derive(Clone, Debug)]
pub struct Share {
    pool: Arc<Pool>,
    max_connections: usize,
    connections: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

/// The places of a connection among those of its service and of the host.
pub(super) type Places = [OwnedSemaphorePermit; 2];

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
    /// Makes a pool of so many connections, whose work is done by `runtime`.
    pub fn new(runtime: Handle, max_connections: usize) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(max_connections));
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Arc::new(Self { runtime, max_connections, connections, lookups, tls: OnceCell::new() })
    }

    /// Returns the share of one more service.
    pub fn share(self: &Arc<Self>) -> Share {
        // No service can take all connections of a host that has few.
        let max_connections = (self.max_connections / 4).clamp(2, MAX_CONNECTIONS);
        let connections = Arc::new(Semaphore::new(max_connections));
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS_OF_ONE));
        Share { pool: Arc::clone(self), max_connections, connections, lookups }
    }

    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(self.runtime.spawn(work))
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

impl Share {
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns the places of one more connection.
    ///
    /// # Errors
    /// If there are as many as there may be.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        let own = Arc::clone(&self.connections)
            .try_acquire_owned()
            .map_err(|_| Failure::TooManyConnections(self.max_connections))?;
        let of_all = Arc::clone(&self.pool.connections).try_acquire_owned();
        Ok([own, of_all.map_err(|_| Failure::TooManyOfAll(self.pool.max_connections))?])
    }

    /// Looks up a name. A service whose look-ups are slow waits for itself before it waits for others.
    pub(super) async fn lookup(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let own = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let of_all = Arc::clone(&self.pool.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let found = self.pool.runtime.spawn_blocking(move || {
            // A look-up that nobody waits for any more keeps its places, because it keeps its thread.
            let _places = [own, of_all];
            Ok((host.as_str(), port).to_socket_addrs()?.collect())
        });
        found.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_has_a_bounded_share_of_the_pool_and_its_copies_have_no_other() {
        let pool = Pool::new(Handle::current(), 8);
        let services = [pool.share(), pool.share(), pool.share(), pool.share(), pool.share()];
        let copy = services[0].clone();
        let mut held = vec![services[0].places().unwrap(), services[0].places().unwrap()];
        assert_eq!(copy.places().unwrap_err().to_string(), "the service has 2 connections, which is the limit");
        for service in &services[1..4] {
            held.extend([service.places().unwrap(), service.places().unwrap()]);
        }
        let refused = services[4].places().unwrap_err();
        assert_eq!(refused.to_string(), "all services together have 8 connections, which is the limit");
        held.pop();
        drop(services[4].places().unwrap());
        assert_eq!(Pool::new(Handle::current(), 1024).share().max_connections, 64);
    }

    #[tokio::test]
    async fn slow_lookups_of_a_service_do_not_keep_others_from_theirs() {
        let pool = Pool::new(Handle::current(), 1);
        let (service, other) = (pool.share(), pool.share());
        let slow = Arc::clone(&service.lookups).acquire_many_owned(4).await.unwrap();
        let waits = tokio::spawn({
            let service = service.clone();
            async move { service.lookup("localhost".into(), 80).await }
        });
        other.lookup("localhost".into(), 80).await.unwrap();
        assert!(!waits.is_finished());
        drop(slow);
        waits.await.unwrap().unwrap();
    }
}
