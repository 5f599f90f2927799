//! The text of `/metrics`: the numbers of all services, of upstreams and of the host, in the formats of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::registry::Registry;

use super::families::{self, Family};
use super::histogram::Histogram;
use super::metrics::{Frequent, ServiceMetrics};
use super::plain::plain;
use super::queues::{self, QueueSeen, Times};
use super::upstreams::{self, UpstreamSeen};

/// A service at the moment of a scrape.
#[derive(Clone)]
pub struct Seen {
    pub service: String,
    pub metrics: Arc<ServiceMetrics>,
    pub instances: Vec<InstanceNumbers>,
    /// True if the service has workers that answer; `None` for anything that is not a service of this host.
    pub ready: Option<bool>,
    /// While a canary runs: version, status, and requests that ended with it.
    pub by_version: Vec<(u64, u16, u64)>,
    /// The queues of an asynchronous service.
    pub queues: Vec<QueueSeen>,
}

/// One instance of a service at one moment.
#[derive(Clone, Copy, Debug)]
pub struct InstanceNumbers {
    pub workers: usize,
    /// Workers at work or being replaced, stalled ones included.
    pub busy: usize,
    /// Workers that cannot be replaced at present.
    pub stalled: usize,
    /// Calls that wait for a worker.
    pub queued: usize,
}

impl Seen {
    /// Makes the entry of something without instances here: a gateway's route, or the requests that named no service.
    pub fn without_instances(service: String, metrics: Arc<ServiceMetrics>) -> Self {
        Self { service, metrics, instances: Vec::new(), ready: None, by_version: Vec::new(), queues: Vec::new() }
    }
}

/// The format in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    OpenMetrics,
}

/// Writes the text that `/metrics` answers.
pub fn exposition(
    services: Vec<Seen>,
    upstreams: Vec<UpstreamSeen>,
    host: HostNumbers,
    format: MetricsFormat,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(families::PREFIX);
    registry.register_collector(Box::new(View { services, upstreams, host }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(match format {
        MetricsFormat::Text => plain(&text),
        MetricsFormat::OpenMetrics => text,
    })
}

/// The numbers that belong to no service.
#[derive(Clone, Debug, Default)]
pub struct HostNumbers {
    /// Open connections of callers.
    pub connections: usize,
    /// Connections refused because their address had reached its limit.
    pub connections_turned_away: u64,
    pub log_lines_lost: u64,
    /// The times for writing changes of queues to the disk.
    pub queue_commits: Arc<Times>,
}

/// Codes of requests that were answered and not refused. The empty code is that of 200, and of the 204 to a preflight
/// request; the others are those of a status that a processor or an upstream chose.
pub(crate) const ANSWERS: [&str; 3] = ["", "processor_status", "upstream_status"];

struct View {
    services: Vec<Seen>,
    upstreams: Vec<UpstreamSeen>,
    host: HostNumbers,
}

impl Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("services", &self.services.len()).finish()
    }
}

impl Collector for View {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.requests(&mut encoder)?;
        self.times(&mut encoder)?;
        self.batches(&mut encoder)?;
        self.instances(&mut encoder)?;
        if self.services.iter().any(|seen| !seen.queues.is_empty()) {
            queues::encode(&self.services, &mut encoder)?;
        }
        if !self.upstreams.is_empty() {
            upstreams::encode(&self.upstreams, &mut encoder)?;
        }
        encode_gauge(families::CONNECTIONS.begin(&mut encoder)?, self.host.connections)?;
        let counters = [
            (&families::CONNECTIONS_TURNED_AWAY, self.host.connections_turned_away),
            (&families::LOG_LINES_LOST, self.host.log_lines_lost),
        ];
        let commits = Histogram::snapshot([self.host.queue_commits.histogram()].into_iter());
        families::QUEUE_COMMIT.begin(&mut encoder)?.encode_histogram::<NoLabelSet>(
            commits.sum_seconds,
            commits.count,
            &commits.buckets,
            None,
        )?;
        for (family, count) in counters {
            family.begin(&mut encoder)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

impl View {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of = |counter: fn(&ServiceMetrics) -> &AtomicU64| {
            move |seen: &Seen| counter(&seen.metrics).load(Ordering::Relaxed)
        };
        let accepted = |seen: &Seen| seen.metrics.sum(|frequent| &frequent.accepted);
        self.counter(encoder, &families::REQUESTS_ACCEPTED, accepted)?;
        let fuel = |seen: &Seen| seen.metrics.sum(|frequent| &frequent.fuel);
        self.counter(encoder, &families::FUEL, fuel)?;
        self.counter(encoder, &families::INITIALIZE_FAILURES, of(|m| &m.initialize_failures))?;
        self.counter(encoder, &families::LOG_DROPPED, of(|m| &m.log_dropped))?;
        self.counter(encoder, &families::REQUESTS_MIRRORED, of(|m| &m.mirrored))?;
        self.counter(encoder, &families::MIRROR_DROPPED, of(|m| &m.mirror_dropped))?;
        self.counter(encoder, &families::MIRROR_SENT, of(|m| &m.mirror_sent))?;

        let mut samples = families::REQUESTS.begin(encoder)?;
        for seen in &self.services {
            let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
            for ((status, _), count) in seen.metrics.ended() {
                *by_status.entry(status).or_default() += count;
            }
            for (status, count) in by_status {
                let status = status.to_string();
                let labels = families::REQUESTS.labels([&seen.service, &status]);
                samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut samples = families::VERSION_REQUESTS.begin(encoder)?;
        for seen in &self.services {
            for (version, status, count) in &seen.by_version {
                let (version, status) = (version.to_string(), status.to_string());
                let labels = families::VERSION_REQUESTS.labels([&seen.service, &version, &status]);
                samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        self.counts(encoder, &families::REFUSALS, |m| {
            let mut by_code = BTreeMap::new();
            for ((_, code), count) in m.ended() {
                *by_code.entry(code).or_default() += count;
            }
            by_code.retain(|code, _| !ANSWERS.contains(code));
            by_code
        })?;
        self.counts(encoder, &families::INSTANCE_RESTARTS, |m| m.restarts.entries().clone())?;
        self.counts(encoder, &families::GUESTS_RECYCLED, |m| m.recycled.entries().clone())
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &'static Family,
        value: impl Fn(&Seen) -> u64,
    ) -> fmt::Result {
        let mut samples = family.begin(encoder)?;
        for seen in &self.services {
            let labels = family.labels([&seen.service]);
            samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value(seen), None)?;
        }
        Ok(())
    }

    fn counts(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &'static Family,
        counts: impl Fn(&ServiceMetrics) -> BTreeMap<&'static str, u64>,
    ) -> fmt::Result {
        let mut samples = family.begin(encoder)?;
        for seen in &self.services {
            for (value, count) in counts(&seen.metrics) {
                let labels = family.labels([&seen.service, value]);
                samples.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Which = fn(&Frequent) -> &Histogram;
        let phases: [(&Family, Which); 3] = [
            (&families::REQUEST_RECEIVE, |m| &m.receive),
            (&families::REQUEST_QUEUE, |m| &m.queue),
            (&families::REQUEST_RUN, |m| &m.run),
        ];
        for (family, histogram) in phases {
            let mut samples = family.begin(encoder)?;
            for seen in &self.services {
                let snapshot = Histogram::snapshot(seen.metrics.by_thread.all().map(histogram));
                samples.encode_family(&family.labels([&seen.service]))?.encode_histogram::<NoLabelSet>(
                    snapshot.sum_seconds,
                    snapshot.count,
                    &snapshot.buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    /// Writes the sizes of batches. A service that does not batch has none.
    fn batches(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = families::BATCH_SIZE.begin(encoder)?;
        for seen in &self.services {
            let snapshot = seen.metrics.batches.snapshot();
            if snapshot.count > 0 {
                let labels = families::BATCH_SIZE.labels([&seen.service]);
                samples.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    snapshot.sum,
                    snapshot.count,
                    &snapshot.buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn instances(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Which = fn(&InstanceNumbers) -> usize;
        let gauges: [(&Family, Which); 4] = [
            (&families::WORKERS, |i| i.workers),
            (&families::WORKERS_BUSY, |i| i.busy),
            (&families::WORKERS_STALLED, |i| i.stalled),
            (&families::QUEUE_DEPTH, |i| i.queued),
        ];
        let mut samples = families::SERVICE_READY.begin(encoder)?;
        for (seen, ready) in self.services.iter().filter_map(|seen| Some((seen, seen.ready?))) {
            let labels = families::SERVICE_READY.labels([&seen.service]);
            encode_gauge(samples.encode_family(&labels)?, ready.into())?;
        }
        for (family, value) in gauges {
            let mut samples = family.begin(encoder)?;
            for seen in &self.services {
                for (index, instance) in seen.instances.iter().enumerate() {
                    let index = index.to_string();
                    let labels = family.labels([&seen.service, &index]);
                    encode_gauge(samples.encode_family(&labels)?, value(instance))?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn encode_gauge(mut encoder: MetricEncoder<'_>, value: usize) -> fmt::Result {
    encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn exposition_counts_every_outcome_under_its_status() {
        let metrics = Arc::new(ServiceMetrics::default());
        for (status, code) in [
            (200, None),
            (200, None),
            (499, Some("client_closed")),
            (450, Some("queue_full")),
            (422, Some("processor_status")),
        ] {
            metrics.accepted();
            metrics.settled(status, code);
        }
        metrics.mirror_sent();
        metrics.restarted("panic");
        metrics.recycled("memory");
        metrics.initialize_failed();
        assert_eq!(metrics.account(), (5, 5));
        metrics.ran(Duration::from_millis(2), Some(7));
        let seen = Seen {
            service: "echo".into(),
            metrics,
            instances: vec![InstanceNumbers { workers: 5, busy: 2, stalled: 1, queued: 1 }],
            ready: Some(true),
            by_version: vec![(2, 200, 3)],
            queues: vec![QueueSeen { queue: "input", ready: vec![(1, 4)], dead: 2, put: 9, ..QueueSeen::default() }],
        };
        let text = |format| {
            let numbers = HostNumbers { connections: 3, ..HostNumbers::default() };
            exposition(vec![seen.clone()], Vec::new(), numbers, format).unwrap()
        };
        let (plain, openmetrics) = (text(MetricsFormat::Text), text(MetricsFormat::OpenMetrics));
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let (text, same): (Vec<String>, Vec<String>) = (samples(&plain), samples(&openmetrics));
        assert_eq!(text, same);
        for (text, line) in [
            (&plain, "# TYPE bulkhead_requests_total counter"),
            (&plain, "# TYPE bulkhead_request_run_seconds histogram"),
            (&openmetrics, "# TYPE bulkhead_requests counter"),
            (&openmetrics, "# UNIT bulkhead_request_run_seconds seconds"),
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        assert!(openmetrics.ends_with("\n# EOF\n") && !plain.contains("# EOF") && !plain.contains("# UNIT"));
        for line in [
            "bulkhead_requests_accepted_total{service=\"echo\"} 5",
            "bulkhead_requests_total{service=\"echo\",status=\"200\"} 2",
            "bulkhead_requests_total{service=\"echo\",status=\"450\"} 1",
            "bulkhead_requests_total{service=\"echo\",status=\"499\"} 1",
            "bulkhead_refusals_total{service=\"echo\",code=\"queue_full\"} 1",
            "bulkhead_mirror_sent_total{service=\"echo\"} 1",
            "bulkhead_instance_restarts_total{service=\"echo\",fault=\"panic\"} 1",
            "bulkhead_guests_recycled_total{service=\"echo\",reason=\"memory\"} 1",
            "bulkhead_initialize_failures_total{service=\"echo\"} 1",
            "bulkhead_fuel_total{service=\"echo\"} 7",
            "bulkhead_request_run_seconds_bucket{le=\"0.0025\",service=\"echo\"} 1",
            "bulkhead_request_run_seconds_count{service=\"echo\"} 1",
            "bulkhead_request_run_seconds_bucket{le=\"+Inf\",service=\"echo\"} 1",
            "bulkhead_queue_depth{service=\"echo\",instance=\"0\"} 1",
            "bulkhead_workers_busy{service=\"echo\",instance=\"0\"} 2",
            "bulkhead_service_ready{service=\"echo\"} 1",
            "bulkhead_version_requests_total{service=\"echo\",version=\"2\",status=\"200\"} 3",
            "bulkhead_queued_items{service=\"echo\",queue=\"input\",state=\"dead\"} 2",
            "bulkhead_queued_items_ready{service=\"echo\",queue=\"input\",priority=\"1\"} 4",
            "bulkhead_queued_items_put_total{service=\"echo\",queue=\"input\"} 9",
            "bulkhead_connections 3",
        ] {
            assert!(text.iter().any(|found| found == line), "no line {line} in\n{plain}");
        }
        assert!(!plain.contains("processor_status"), "a status of the processor's choice is an answer:\n{plain}");
    }
}
