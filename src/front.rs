//! HTTP in, HTTP out: the data listener.
//!
//! `connection` takes sockets and `io_threads` serves them; `http1` and `http2` make an [`arrival`] of what comes over one
//! and send the `reply`; `handle` is the line a request walks in between.

mod accept;
mod addresses;
mod arrival;
mod aside;
mod authority;
mod body;
mod compress;
mod connection;
mod cors;
mod date;
mod digest;
mod drain;
mod handle;
mod head;
pub(crate) mod http1;
mod http2;
mod io_threads;
mod linger;
pub(crate) mod local;
mod mirror;
mod packing;
mod problem;
mod relayed;
mod render;
mod reply;
mod route;
mod rules;
mod services;
mod stall;
mod target;
mod turned_away;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use self::accept::not_accepted;
use self::addresses::Addresses;
pub(crate) use self::arrival::{Arrival, Ends};
use self::aside::Aside;
pub use self::connection::ConnectionLimits;
use self::connection::Listening;
pub(crate) use self::drain::Drain;
pub(crate) use self::handle::ClientGone;
use self::handle::Line;
pub(crate) use self::head::{HeadFault, of_a_head};
pub use self::http1::Patience;
pub use self::io_threads::IoThreads;
pub(crate) use self::linger::Lingering;
pub(crate) use self::relayed::Content;
pub(crate) use self::rules::Rules;
pub use self::services::Services;
use crate::admission::Lanes;
use crate::auth::Attempts;
use crate::outcome::Ledger;
use crate::telemetry::{LogWriter, ServiceMetrics};

/// The data listener's state, shared by all its connections. Cloning gives another handle.
#[derive(Clone)]
pub struct Front(Arc<Listening>);

impl Front {
    /// Bodies are compressed and the like in `lanes`' background, as many at once as there are cores. `advertise` is where clients reach the host, if not where their connections end.
    pub fn new(
        services: Services,
        lanes: Arc<Lanes>,
        log: LogWriter,
        limits: ConnectionLimits,
        advertise: Option<SocketAddr>,
    ) -> Self {
        let ledger = Arc::new(Ledger { log, nobody: Arc::default(), ending: AtomicBool::new(false) });
        let attempts = Attempts::new(limits.failed_logins);
        let aside = Aside::new(lanes, std::thread::available_parallelism().map_or(1, usize::from));
        let line = Line { services, ledger, attempts, aside, advertise };
        let (open, turned_away, addresses) = (AtomicUsize::new(0), AtomicU64::new(0), Addresses::default());
        let lingering = Lingering::new(limits.total);
        Self(Arc::new(Listening { line, limits, open, addresses, turned_away, lingering }))
    }

    /// Serves callers on `threads` until `drain` turns true; returns when the last of them has been served.
    pub async fn serve(&self, listener: TcpListener, threads: Arc<IoThreads>, drain: watch::Receiver<bool>) {
        Arc::clone(&self.0).serve(listener, threads, Drain::new(drain)).await;
    }

    /// The host ends with requests under way: they are accounted as cut off by it, not as left by their clients.
    pub fn cut_off(&self) {
        self.0.line.ledger.ending.store(true, Ordering::Relaxed);
    }

    /// Connections open at this moment.
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Connections refused so far because their address had as many as it may.
    pub fn connections_turned_away(&self) -> u64 {
        self.0.turned_away.load(Ordering::Relaxed)
    }

    /// The account of requests that named no service that exists.
    pub fn nobody(&self) -> &Arc<ServiceMetrics> {
        &self.0.line.ledger.nobody
    }
}
