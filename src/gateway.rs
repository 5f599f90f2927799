//! Forwarding to other hosts: the route of each service, and the way of a request to an upstream and of its answer
//! back.
//!
//! A [`Route`] leads to a `cluster` of upstreams. One that can be used (`health`, `checks`) is picked, and the request
//! gets a connection to it (`upstream`, `link`). The request is sent whole or as it arrives (`outgoing`), and the
//! answer is passed on as it arrives (`relay`). A request that may have been worked on is not sent again (`forward`).
//! The front knows nothing of these steps, and nothing here knows what a caller is told: the front turns a [`Failure`]
//! into a refusal.

mod checks;
mod cluster;
mod failure;
mod forward;
mod headers;
mod health;
mod link;
mod outgoing;
#[cfg(test)]
pub(crate) mod reference;
mod relay;
mod table;
mod tracked;
mod upstream;
mod view;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub use self::failure::{Failure, Reset};
pub use self::forward::{ForwardProgress, Inbound, Outbound};
pub use self::relay::{CutOff, Relay};
use self::table::Table;
pub use self::upstream::Upstream;
use crate::config::{GatewaySpec, HalfClose};
use crate::policy::{InFlight, Limited, Policy};
use crate::telemetry::{Seen, ServiceMetrics};
use crate::threads::ShardRef;

/// The interval at which idle connections are checked.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// All routes of one process, and the upstreams behind them.
pub struct Gateway {
    table: ArcSwap<Table>,
    /// The metrics of every service that ever had a route, so that no count is lost when a route is removed.
    accounts: Mutex<BTreeMap<String, Arc<ServiceMetrics>>>,
    /// The name of this process in `Via`. A request that already names it has been here before.
    via: String,
}

/// The route of the requests for one service.
pub struct Route {
    service: Box<str>,
    cluster: Arc<cluster::Cluster>,
    policy: Policy,
    half_close: HalfClose,
    metrics: Arc<ServiceMetrics>,
    via: Box<str>,
}

impl Gateway {
    /// Starts the health checks, and the check of idle connections. Must be called within the runtime.
    pub fn start(spec: &GatewaySpec) -> Arc<Self> {
        let mut id = [0; 4];
        // Two gateways with one name would take each other's requests for their own. Without randomness, this cannot be
        // prevented.
        let _ = getrandom::fill(&mut id);
        let via = format!("bulkhead-{:08x}", u32::from_ne_bytes(id));
        let gateway = Self { table: ArcSwap::default(), accounts: Mutex::default(), via };
        gateway.change(spec);
        let gateway = Arc::new(gateway);
        tokio::spawn(sweep(Arc::downgrade(&gateway)));
        gateway
    }

    /// Replaces the routes. Requests under way are finished as they began. Clusters that stay the same keep their
    /// connections and their known health.
    pub fn change(&self, spec: &GatewaySpec) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let table = Table::of(spec, &self.table.load(), &self.via, |service| {
            Arc::clone(accounts.entry(service.to_owned()).or_default())
        });
        self.table.store(Arc::new(table));
    }

    /// Returns the route of a service: its own, or the one for all others.
    pub fn find(&self, service: &str) -> Option<ShardRef<Route>> {
        self.table.load().find(service)
    }

    /// True if the health of every upstream is known.
    pub fn is_settled(&self) -> bool {
        self.table.load().clusters().all(|cluster| cluster.is_settled())
    }

    /// Returns the metrics of every route.
    pub fn seen(&self) -> Vec<Seen> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |(service, metrics): (&String, &Arc<ServiceMetrics>)| {
            Seen::without_instances(service.clone(), Arc::clone(metrics))
        };
        accounts.iter().map(seen).collect()
    }

    /// Returns the number of requests that came in, and of those that have ended, over all routes.
    pub fn account(&self) -> (u64, u64) {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        accounts.values().map(|metrics| metrics.account()).fold((0, 0), sum)
    }
}

impl Route {
    /// Returns the service's name, or `*`.
    pub fn service(&self) -> &str {
        &self.service
    }

    pub fn metrics(&self) -> &Arc<ServiceMetrics> {
        &self.metrics
    }

    /// Returns the addresses of the upstreams that can be used now; `None` if one of them was given by name.
    pub fn addresses(&self) -> Option<Vec<SocketAddr>> {
        let now = Instant::now();
        let usable = self.cluster.upstreams().iter().filter(|upstream| upstream.health.is_available(now));
        usable.map(|upstream| upstream.address().parse().ok()).collect()
    }

    /// Returns the treatment of a client that closes its sending side after its request.
    pub fn half_close(&self) -> HalfClose {
        self.half_close
    }

    /// Checks the limits of the route, before anything is done for a request.
    pub fn enter(&self) -> Result<InFlight, Limited> {
        self.policy.enter()
    }

    /// Describes a failure in Envoy's words, with the cluster. If a limit was reached, also names the limit and its
    /// key.
    pub fn explain(&self, failure: Failure) -> String {
        let spec = &self.cluster.spec;
        let cluster = format!("cluster {:?}", spec.name);
        match failure {
            Failure::NoHealthyUpstream => {
                format!("{failure} in {cluster}; GET /api/v1/upstreams on the gateway's admin listener says why")
            }
            Failure::TimedOut => {
                let limit = spec.request_timeout.as_millis();
                format!("{failure}: {cluster} did not answer within {limit} ms (request_timeout_ms)")
            }
            Failure::Reset { reason: Reset::ConnectionTimeout, .. } => {
                let limit = spec.connect_timeout.as_millis();
                format!("{failure} ({cluster}, {limit} ms, connect_timeout_ms)")
            }
            Failure::Reset { reason: Reset::Overflow, .. } => {
                let limit = spec.max_pending;
                format!("{failure} ({cluster}, {limit} requests wait for a connection to an upstream, max_pending)")
            }
            Failure::Reset { .. } => format!("{failure} ({cluster})"),
            Failure::Stalled => {
                let limit = spec.idle_timeout.as_millis();
                format!("nothing more of the request's body came for {limit} ms (idle_timeout_ms of {cluster})")
            }
            Failure::Request(_) | Failure::Circle => failure.to_string(),
        }
    }

    /// Gets an upstream's answer. Dropping the future closes the connection to the upstream. `progress` records how far
    /// the request came.
    ///
    /// # Errors
    /// There is no answer that could be passed on.
    pub async fn forward(&self, inbound: Inbound<'_>, progress: &mut ForwardProgress) -> Result<Outbound, Failure> {
        forward::forward(&self.cluster, inbound, &self.via, progress).await
    }
}

/// Closes unneeded idle connections, until the gateway is dropped.
async fn sweep(gateway: Weak<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(gateway) = gateway.upgrade() else { return };
        let table = gateway.table.load_full();
        for upstream in table.clusters().flat_map(|cluster| cluster.upstreams()) {
            poll_fn(|cx| {
                upstream.sweep(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
}
