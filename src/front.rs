//! The data listener: HTTP requests in, HTTP responses out.
//!
//! `listen` accepts connections and serves them on its I/O threads. `http1` and `http2` parse what they receive into an
//! [`arrival`] and send the `reply`. `handle` has the steps in between.

mod arrival;
mod authority;
mod body;
mod handle;
mod head;
pub(crate) mod http1;
mod http2;
mod listen;
pub(crate) mod local;
mod mirror;
mod queue;
#[cfg(test)]
mod reference;
mod reply;
mod route;
mod rules;
mod services;
mod target;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use self::arrival::{Arrival, Ends};
use self::body::offload::Offload;
pub(crate) use self::handle::ClientGone;
use self::handle::Handler;
pub(crate) use self::head::{HeadFault, of_a_head};
pub use self::http1::Patience;
pub(crate) use self::listen::accept::not_accepted;
use self::listen::addresses::Addresses;
pub use self::listen::connection::ConnectionLimits;
use self::listen::connection::Listening;
pub use self::listen::descriptors::{Descriptors, Each};
pub(crate) use self::listen::drain::Drain;
pub use self::listen::io_threads::IoThreads;
pub(crate) use self::listen::linger::Lingering;
pub(crate) use self::reply::content::Content;
pub(crate) use self::rules::Rules;
pub use self::services::Services;
use crate::admission::Executor;
use crate::auth::Attempts;
use crate::outcome::Ledger;
use crate::telemetry::{LogWriter, ServiceMetrics};

/// The data listener's state, shared by all its connections. Cloning gives another handle.
#[derive(Clone)]
pub struct Front(Arc<Listening>);

impl Front {
    /// Creates the state. Bodies are compressed and decompressed in the background of `executor`, as many at once as
    /// there are cores. `advertise` is the address at which clients reach the host, if not the local one of their
    /// connections.
    pub fn new(
        services: Services,
        executor: Arc<Executor>,
        log: LogWriter,
        limits: ConnectionLimits,
        advertise: Option<SocketAddr>,
    ) -> Self {
        let ledger = Arc::new(Ledger { log, nobody: Arc::default(), ending: AtomicBool::new(false) });
        let attempts = Attempts::new(limits.failed_logins);
        let offload = Offload::new(executor, std::thread::available_parallelism().map_or(1, usize::from));
        let handler = Handler { services, ledger, attempts, offload, advertise };
        let (open, turned_away, addresses) = (AtomicUsize::new(0), AtomicU64::new(0), Addresses::default());
        let lingering = Lingering::new(limits.total);
        Self(Arc::new(Listening { handler, limits, open, addresses, turned_away, lingering }))
    }

    /// Serves callers on `threads` until `drain` turns true; returns when the last of them has been served.
    pub async fn serve(&self, listener: TcpListener, threads: Arc<IoThreads>, drain: watch::Receiver<bool>) {
        Arc::clone(&self.0).serve(listener, threads, Drain::new(drain)).await;
    }

    /// Marks the host as ending with requests under way. A request dropped after that counts as 503, not 499.
    pub fn cut_off(&self) {
        self.0.handler.ledger.ending.store(true, Ordering::Relaxed);
    }

    /// Returns the log and the metrics of requests.
    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.0.handler.ledger)
    }

    /// Returns the number of connections open now.
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Returns the number of connections refused so far because their address had reached its limit.
    pub fn connections_turned_away(&self) -> u64 {
        self.0.turned_away.load(Ordering::Relaxed)
    }

    /// Returns the metrics of requests that named no existing service.
    pub fn nobody(&self) -> &Arc<ServiceMetrics> {
        &self.0.handler.ledger.nobody
    }
}
