//! The view of routes and upstreams for operators.

use std::time::Instant;

use super::Gateway;
use super::upstream::Upstream;
use crate::api::{ClusterView, GatewayView, RouteView, UpstreamState, UpstreamView};
use crate::telemetry::UpstreamSeen;

impl Gateway {
    /// Returns every cluster with the state of its upstreams, and every route.
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

    /// Returns the state of the upstreams as numbers.
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
            (true, _) => UpstreamState::Unhealthy.into(),
            (false, Some(_)) => UpstreamState::Ejected.into(),
            (false, None) => UpstreamState::Healthy.into(),
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
