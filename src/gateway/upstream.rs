//! A host behind the gateway: its connections, its health, and the counts of its requests.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};

use super::failure::{Failure, Reset};
use super::health::Health;
use super::link::Link;
use crate::config::{Authority, ClusterSpec};
use crate::threads::PerThread;

pub struct Upstream {
    pub(super) address: Authority,
    pub(super) health_address: Authority,
    pub(super) health: Health,
    limits: Limits,
    /// One permit for each request that may have a connection.
    slots: Semaphore,
    /// The number of requests that wait for a permit.
    pending: AtomicUsize,
    /// Idle connections, each with the thread that made it, so that threads neither wait for nor wake each other.
    idle: PerThread<Mutex<Links>>,
    counts: PerThread<Counts>,
    failures: [AtomicU64; Reset::COUNT],
    timeouts: AtomicU64,
    retried: AtomicU64,
}

/// Boxed, because a connection is large and moves with every request.
type Links = Vec<Box<Link>>;

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Duration,
    keep_alive: Duration,
    connections: usize,
    pending: usize,
}

/// A connection leased to one request. Dropping the lease closes the connection; giving it back keeps it.
pub(super) struct Lease {
    link: Option<Box<Link>>,
    upstream: Arc<Upstream>,
    /// True if the connection has had other requests before.
    pub(super) is_reused: bool,
}

/// The state and the counts of an upstream at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) active: usize,
    pub(super) idle: usize,
    pub(super) pending: usize,
    pub(super) requests: u64,
    pub(super) retried: u64,
    pub(super) failures: Vec<(&'static str, u64)>,
}

impl Upstream {
    pub(super) fn new(address: &Authority, health_address: Option<&Authority>, cluster: &ClusterSpec) -> Self {
        Self {
            address: address.clone(),
            health_address: health_address.unwrap_or(address).clone(),
            health: Health::new(),
            limits: Limits {
                connect: cluster.connect_timeout,
                keep_alive: cluster.keep_alive,
                connections: cluster.max_connections,
                pending: cluster.max_pending,
            },
            slots: Semaphore::new(cluster.max_connections),
            pending: AtomicUsize::new(0),
            idle: PerThread::default(),
            counts: PerThread::default(),
            failures: [const { AtomicU64::new(0) }; Reset::COUNT],
            timeouts: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }

    /// Returns its address, as it was given.
    pub fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Returns the number of requests under way and waiting.
    pub(super) fn load(&self) -> usize {
        self.active() + self.pending.load(Ordering::Relaxed)
    }

    fn active(&self) -> usize {
        self.limits.connections.saturating_sub(self.slots.available_permits())
    }

    /// Leases a connection for a request: an idle one, or a new one. At the limit of connections, the request waits in
    /// turn.
    pub(super) async fn lease(self: &Arc<Self>, now: Instant, deadline: Instant) -> Result<Lease, Failure> {
        match self.slots.try_acquire() {
            Ok(slot) => slot.forget(),
            Err(_) => self.wait_for_slot(deadline).await?,
        }
        self.counts.mine().requests.fetch_add(1, Ordering::Relaxed);
        let mut lease = Lease { link: None, upstream: Arc::clone(self), is_reused: true };
        while let Some(mut link) = self.take_idle() {
            let is_fresh = link.has_rested(now) < self.limits.keep_alive;
            if is_fresh && poll_fn(|cx| Poll::Ready(link.is_ready(cx))).await {
                lease.link = Some(link);
                return Ok(lease);
            }
        }
        lease.is_reused = false;
        let reason = match timeout(self.limits.connect, Link::connect(&self.address)).await {
            Ok(Ok(link)) => {
                lease.link = Some(Box::new(link));
                return Ok(lease);
            }
            Ok(Err(_)) => Reset::ConnectionFailure,
            Err(_) => Reset::ConnectionTimeout,
        };
        Err(Failure::reset(reason))
    }

    async fn wait_for_slot(&self, deadline: Instant) -> Result<(), Failure> {
        let one_more = |pending: usize| (pending < self.limits.pending).then_some(pending + 1);
        if self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(Failure::reset(Reset::Overflow));
        }
        let _pending = Pending(&self.pending);
        match timeout_at(deadline.into(), self.slots.acquire()).await {
            Ok(Ok(slot)) => {
                slot.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(Failure::reset(Reset::Overflow)),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Takes an idle connection: the one of this thread that was used last, or one of another thread.
    fn take_idle(&self) -> Option<Box<Link>> {
        // This lock is released before the others are taken, because it is among them.
        let mine = lock(self.idle.mine()).pop();
        mine.or_else(|| self.idle.all().find_map(|idle| lock(idle).pop()))
    }

    /// Closes connections that were idle for too long, or that the upstream has closed.
    pub(super) fn sweep(&self, cx: &mut Context<'_>) {
        let now = Instant::now();
        for idle in self.idle.all() {
            lock(idle).retain_mut(|link| link.has_rested(now) < self.limits.keep_alive && link.is_ready(cx));
        }
    }

    pub(super) fn count(&self, failure: Failure) {
        match failure {
            Failure::Reset { reason, .. } => {
                let index = Reset::ALL.iter().position(|known| *known == reason).unwrap_or_default();
                self.failures[index].fetch_add(1, Ordering::Relaxed);
            }
            Failure::TimedOut => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
            }
            Failure::NoHealthyUpstream | Failure::Stalled | Failure::Request(_) | Failure::Circle => {}
        }
    }

    /// Counts a request that was sent here and is retried.
    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tally(&self) -> Tally {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut failures: Vec<_> =
            Reset::ALL.iter().zip(&self.failures).map(|(reason, count)| (reason.name(), load(count))).collect();
        failures.push(("timeout", load(&self.timeouts)));
        Tally {
            active: self.active(),
            idle: self.idle.all().map(|idle| lock(idle).len()).sum(),
            pending: self.pending.load(Ordering::Relaxed),
            requests: self.counts.all().map(|counts| load(&counts.requests)).sum(),
            retried: load(&self.retried),
            failures,
        }
    }
}

impl Lease {
    /// Returns the connection. It is there until the lease is given back.
    pub(super) fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("a lease holds its connection until it ends")
    }

    /// Gives the connection back after a complete answer. It is kept if it can take another request.
    pub(super) fn give_back(mut self, cx: &mut Context<'_>) {
        let Some(mut link) = self.link.take() else { return };
        if link.is_ready(cx) {
            link.rest(Instant::now());
            // The connection is put back before the slot is free, so that the request that gets the slot finds it.
            lock(self.upstream.idle.at(link.home)).push(link);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The connection is closed before the slot is free, so that an upstream never has more connections than
        // allowed.
        self.link = None;
        self.upstream.slots.add_permits(1);
    }
}

struct Pending<'a>(&'a AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock(idle: &Mutex<Links>) -> MutexGuard<'_, Links> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
