//! The metrics of a gateway's upstreams.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::exposition::encode_gauge;

/// An upstream at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct UpstreamSeen {
    pub cluster: String,
    pub address: String,
    pub is_healthy: bool,
    pub is_ejected: bool,
    /// Requests that have a connection.
    pub active: usize,
    /// Idle connections.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    pub requests: u64,
    pub retried: u64,
    pub ejections: u64,
    pub failures: Vec<(&'static str, u64)>,
}

impl UpstreamSeen {
    fn labels(&self) -> [(&'static str, &str); 2] {
        [("cluster", self.cluster.as_str()), ("upstream", self.address.as_str())]
    }
}

pub(super) fn encode(upstreams: &[UpstreamSeen], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Gauge = (&'static str, &'static str, fn(&UpstreamSeen) -> usize);
    type Counter = (&'static str, &'static str, fn(&UpstreamSeen) -> u64);
    let gauges: [Gauge; 5] = [
        ("upstream_healthy", "1 if checks find the upstream healthy", |seen| usize::from(seen.is_healthy)),
        ("upstream_ejected", "1 if it is ejected because requests to it failed", |seen| usize::from(seen.is_ejected)),
        ("upstream_active", "requests that have a connection to it", |seen| seen.active),
        ("upstream_idle_connections", "idle connections to it", |seen| seen.idle),
        ("upstream_pending", "requests that wait for a connection to it", |seen| seen.pending),
    ];
    let counters: [Counter; 3] = [
        ("upstream_requests", "requests sent to it", |seen| seen.requests),
        ("upstream_retried", "requests sent to it that were retried", |seen| seen.retried),
        ("upstream_ejections", "number of times it was ejected", |seen| seen.ejections),
    ];
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for seen in upstreams {
            encode_gauge(family.encode_family(&seen.labels())?, value(seen))?;
        }
    }
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for seen in upstreams {
            family.encode_family(&seen.labels())?.encode_counter::<NoLabelSet, _, u64>(&value(seen), None)?;
        }
    }
    let help = "requests without an answer from it, by reason";
    let mut family = encoder.encode_descriptor("upstream_failures", help, None, MetricType::Counter)?;
    for seen in upstreams {
        for (reason, count) in seen.failures.iter().filter(|(_, count)| *count > 0) {
            let [cluster, upstream] = seen.labels();
            let labels = [cluster, upstream, ("reason", *reason)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    Ok(())
}
