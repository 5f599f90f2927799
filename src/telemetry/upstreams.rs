//! The metrics of a gateway's upstreams.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use super::exposition::encode_gauge;
use super::families::{self, Family};

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

pub(super) fn encode(upstreams: &[UpstreamSeen], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Gauge = (&'static Family, fn(&UpstreamSeen) -> usize);
    type Counter = (&'static Family, fn(&UpstreamSeen) -> u64);
    let gauges: [Gauge; 5] = [
        (&families::UPSTREAM_HEALTHY, |seen| usize::from(seen.is_healthy)),
        (&families::UPSTREAM_EJECTED, |seen| usize::from(seen.is_ejected)),
        (&families::UPSTREAM_ACTIVE, |seen| seen.active),
        (&families::UPSTREAM_IDLE_CONNECTIONS, |seen| seen.idle),
        (&families::UPSTREAM_PENDING, |seen| seen.pending),
    ];
    let counters: [Counter; 3] = [
        (&families::UPSTREAM_REQUESTS, |seen| seen.requests),
        (&families::UPSTREAM_RETRIED, |seen| seen.retried),
        (&families::UPSTREAM_EJECTIONS, |seen| seen.ejections),
    ];
    for (family, value) in gauges {
        let mut samples = family.begin(encoder)?;
        for seen in upstreams {
            let labels = family.labels([&seen.cluster, &seen.address]);
            encode_gauge(samples.encode_family(&labels)?, value(seen))?;
        }
    }
    for (family, value) in counters {
        let mut samples = family.begin(encoder)?;
        for seen in upstreams {
            let labels = family.labels([&seen.cluster, &seen.address]);
            samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value(seen), None)?;
        }
    }
    let mut samples = families::UPSTREAM_FAILURES.begin(encoder)?;
    for seen in upstreams {
        for (reason, count) in seen.failures.iter().filter(|(_, count)| *count > 0) {
            let labels = families::UPSTREAM_FAILURES.labels([&seen.cluster, &seen.address, reason]);
            samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    Ok(())
}
