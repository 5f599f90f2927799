//! The table of metrics for the reference page, and the proof that it has what `/metrics` answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_pages::generated::{code, prose, table};
use prometheus_client::metrics::MetricType;

use super::families::{ALL, Family, PREFIX};
use super::{HostNumbers, InstanceNumbers, MetricsFormat, QueueSeen, Seen, ServiceMetrics, UpstreamSeen, exposition};

impl Family {
    /// The name as a scraper in the text format sees it.
    fn exposed(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let ending = if matches!(self.kind, MetricType::Counter) { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{ending}", self.name)
    }

    fn row(&self) -> [String; 4] {
        let labels: Vec<_> = self.labels.iter().map(code).collect();
        [code(self.exposed()), self.kind.as_str().to_owned(), labels.join(", "), prose(self.help)]
    }
}

/// The table of metrics in parts: those of services, of upstreams, and of the process.
pub(crate) fn tables() -> [(&'static str, String); 3] {
    let rows = |wanted: fn(&Family) -> bool| {
        let header = ["name", "type", "labels", "meaning"];
        table(header, ALL.iter().filter(|family| wanted(family)).map(|family| family.row()))
    };
    let parts = [
        ("services", rows(|family| family.labels.contains(&"service"))),
        ("upstreams", rows(|family| family.labels.contains(&"upstream"))),
        ("process", rows(|family| family.labels.is_empty())),
    ];
    let told: usize = parts.iter().map(|(_, text)| text.lines().count() - 2).sum();
    assert_eq!(told, ALL.len(), "each family is in one of the tables");
    parts
}

/// Writes every family with a sample at least, and compares names, types, meanings and labels with the table.
#[test]
fn the_table_has_every_metric_with_its_labels_and_no_other() {
    let text = exposition(vec![service()], vec![upstream()], HostNumbers::default(), MetricsFormat::Text).unwrap();
    let lines = |keyword: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword));
        lines.map(|line| line.trim_end_matches('.').to_owned()).collect()
    };
    let of_table = |value: fn(&Family) -> &str| -> BTreeSet<String> {
        ALL.iter().map(|family| format!("{} {}", family.exposed(), value(family))).collect()
    };
    for (written, known) in [
        (lines("# TYPE "), of_table(|family| family.kind.as_str())),
        (lines("# HELP "), of_table(|family| family.help)),
    ] {
        let unknown: Vec<_> = written.difference(&known).collect();
        assert!(unknown.is_empty(), "src/telemetry/families.rs does not have {unknown:?}, which /metrics writes");
        let unwritten: Vec<_> = known.difference(&written).collect();
        assert!(unwritten.is_empty(), "/metrics does not write {unwritten:?}, which src/telemetry/families.rs has");
    }
    for family in ALL {
        let name = family.exposed();
        let is_its = |rest: &str| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{");
        let sample = text.lines().find(|line| line.strip_prefix(&name).is_some_and(is_its));
        let sample = sample.unwrap_or_else(|| panic!("/metrics has no sample of {name}"));
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
        let labels: BTreeSet<&str> = labels.filter(|label| *label != "le").collect();
        assert_eq!(labels, family.labels.iter().copied().collect(), "{sample}");
    }
}

/// A service for which everything has been counted.
fn service() -> Seen {
    let metrics = Arc::new(ServiceMetrics::default());
    metrics.accepted();
    metrics.settled(450, Some("queue_full"));
    metrics.received(Duration::ZERO);
    metrics.queued(Duration::ZERO);
    metrics.ran(Duration::ZERO, Some(1));
    metrics.batched(2);
    metrics.restarted("panic");
    metrics.recycled("memory");
    let instances = vec![InstanceNumbers { workers: 1, busy: 0, stalled: 0, queued: 0 }];
    let queues = vec![QueueSeen { queue: "input", ready: vec![(0, 1)], ..QueueSeen::default() }];
    Seen { service: "echo".into(), metrics, instances, ready: Some(true), by_version: vec![(2, 200, 3)], queues }
}

fn upstream() -> UpstreamSeen {
    UpstreamSeen {
        cluster: "ml".into(),
        address: "10.0.0.7:8080".into(),
        is_healthy: true,
        is_ejected: false,
        active: 0,
        idle: 0,
        pending: 0,
        requests: 1,
        retried: 0,
        ejections: 0,
        failures: vec![("overflow", 1)],
    }
}
