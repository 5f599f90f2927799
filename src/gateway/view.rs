//! Routes and upstreams as operators see them.

use std::collections::BTreeMap;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::Gateway;
use super::upstream::Upstream;
use crate::telemetry::UpstreamSeen;

/// What a gateway has behind it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct GatewayView {
    pub clusters: Vec<ClusterView>,
    pub routes: Vec<RouteView>,
}

/// Where the requests for a service go.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RouteView {
    /// The service's name; `*` is every service without a route of its own.
    pub service: String,
    pub cluster: String,
}

/// Hosts that answer for the same services.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClusterView {
    pub name: String,
    pub upstreams: Vec<UpstreamView>,
}

/// One host behind the gateway.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpstreamView {
    pub address: String,
    pub state: UpstreamState,
    /// What the last failed check said, while it is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it is still left out, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// Requests that have a connection to it.
    pub active: usize,
    /// Connections to it that rest.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests sent to it so far.
    pub requests: u64,
    /// Of these, those that were tried once more.
    pub retried: u64,
    /// Requests that got no answer of it, by reason.
    pub failures: BTreeMap<String, u64>,
    /// How often it was left out because its requests failed.
    pub ejections: u64,
}

/// Whether an upstream gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamState {
    Healthy,
    /// Its checks fail.
    Unhealthy,
    /// Its requests fail; it is left out for a while.
    Ejected,
}

impl Gateway {
    /// Every cluster with the state of its upstreams, and every route.
    pub fn description(&self) -> GatewayView {
        let (table, now) = (self.table.load_full(), Instant::now());
        let clusters = table.clusters().map(|cluster| ClusterView {
            name: cluster.spec.name.clone(),
            upstreams: cluster.upstreams().iter().map(|upstream| view(upstream, now)).collect(),
        });
        let routes = table
            .routes()
            .into_iter()
            .map(|route| RouteView { service: route.service().to_owned(), cluster: route.cluster.spec.name.clone() });
        GatewayView { clusters: clusters.collect(), routes: routes.collect() }
    }

    /// The same as numbers.
    pub fn upstreams_seen(&self) -> Vec<UpstreamSeen> {
        let (table, now) = (self.table.load_full(), Instant::now());
        let of_cluster = |cluster: &std::sync::Arc<super::cluster::Cluster>| {
            let seen = |upstream| UpstreamSeen { cluster: cluster.spec.name.clone(), ..numbers(upstream, now) };
            cluster.upstreams().iter().map(|upstream| seen(upstream)).collect::<Vec<_>>()
        };
        table.clusters().flat_map(of_cluster).collect()
    }
}

fn view(upstream: &Upstream, now: Instant) -> UpstreamView {
    let (tally, health) = (upstream.tally(), &upstream.health);
    let ejected_for = health.ejected_for(now);
    UpstreamView {
        address: upstream.address().to_owned(),
        state: match (health.is_unhealthy(), ejected_for) {
            (true, _) => UpstreamState::Unhealthy,
            (false, Some(_)) => UpstreamState::Ejected,
            (false, None) => UpstreamState::Healthy,
        },
        message: health.why_unhealthy(),
        ejected_for_ms: ejected_for.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        active: tally.active,
        idle: tally.idle,
        pending: tally.pending,
        requests: tally.requests,
        retried: tally.retried,
        failures: tally.failures.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        ejections: health.ejections(),
    }
}

fn numbers(upstream: &Upstream, now: Instant) -> UpstreamSeen {
    let tally = upstream.tally();
    UpstreamSeen {
        cluster: String::new(),
        address: upstream.address().to_owned(),
        is_healthy: !upstream.health.is_unhealthy(),
        is_ejected: upstream.health.ejected_for(now).is_some(),
        active: tally.active,
        idle: tally.idle,
        pending: tally.pending,
        requests: tally.requests,
        retried: tally.retried,
        ejections: upstream.health.ejections(),
        failures: tally.failures,
    }
}
