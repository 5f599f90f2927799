//! The table of all metrics. The exposition and the reference page are made from it.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The beginning of every name.
pub(super) const PREFIX: &str = "bulkhead";

/// The metrics of one name.
pub(super) struct Family {
    /// The name without [`PREFIX`] and without the ending that its type and unit give it.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: Option<Unit>,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

impl Family {
    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricType::Counter, unit: None, labels, help }
    }

    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricType::Gauge, unit: None, labels, help }
    }

    /// A gauge of a time.
    const fn age(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricType::Gauge, unit: Some(Unit::Seconds), labels, help }
    }

    /// A histogram of times.
    const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricType::Histogram, unit: Some(Unit::Seconds), labels, help }
    }

    /// A histogram of numbers.
    const fn sizes(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricType::Histogram, unit: None, labels, help }
    }

    /// Writes the description. The samples follow.
    pub(super) fn begin<'e>(
        &'static self,
        encoder: &'e mut DescriptorEncoder<'_>,
    ) -> Result<MetricEncoder<'e>, fmt::Error> {
        encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.kind)
    }

    /// The labels of a sample, in the order of the table.
    pub(super) fn labels<'v, const N: usize>(&self, values: [&'v str; N]) -> [(&'static str, &'v str); N] {
        std::array::from_fn(|index| (self.labels[index], values[index]))
    }
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(pub(super) static $id: Family = Family::$kind($name, &$labels, $help);)*
        /// Every family, in the order of the exposition.
        #[cfg(test)]
        pub(super) static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    REQUESTS_ACCEPTED = counter "requests_accepted" ["service"] "requests that came in";
    FUEL = counter "fuel" ["service"] "fuel used by requests";
    INITIALIZE_FAILURES = counter "initialize_failures" ["service"] "guests that could not be made";
    LOG_DROPPED = counter "log_dropped" ["service"] "log lines of processors beyond the limit of a request";
    REQUESTS_MIRRORED = counter "requests_mirrored" ["service"]
        "requests that came in as copies of requests for other services";
    MIRROR_DROPPED = counter "mirror_dropped" ["service"]
        "copies of requests dropped because their target had no room, or because too many were under way";
    MIRROR_SENT = counter "mirror_sent" ["service"]
        "copies of this service's requests that were sent to another service";
    REQUESTS = counter "requests" ["service", "status"]
        "requests by the status they ended with; 499 means the client left first";
    VERSION_REQUESTS = counter "version_requests" ["service", "version", "status"]
        "requests since a canary began, by the version that was chosen and by status";
    REFUSALS = counter "refusals" ["service", "code"]
        "requests without an answer from a processor or an upstream, by code";
    INSTANCE_RESTARTS = counter "instance_restarts" ["service", "fault"] "guests given up and replaced, by fault";
    GUESTS_RECYCLED = counter "guests_recycled" ["service", "reason"]
        "intact guests replaced between two requests, by reason";
    REQUEST_RECEIVE = seconds "request_receive" ["service"]
        "from the first byte of a request until its body is there and decoded";
    REQUEST_QUEUE = seconds "request_queue" ["service"]
        "waiting for a worker, or at a gateway for a connection to an upstream";
    REQUEST_RUN = seconds "request_run" ["service"] "in the processor, or at a gateway with the upstream";
    BATCH_SIZE = sizes "batch_size" ["service"] "requests in a batch";
    SERVICE_READY = gauge "service_ready" ["service"]
        "1 if the service has workers that answer, 0 if it is starting, stopped, could not be brought up, or all its workers are stalled";
    WORKERS = gauge "workers" ["service", "instance"] "workers of an instance";
    WORKERS_BUSY = gauge "workers_busy" ["service", "instance"]
        "workers at work or being replaced, the stalled ones included";
    WORKERS_STALLED = gauge "workers_stalled" ["service", "instance"] "workers that cannot be replaced for now";
    QUEUE_DEPTH = gauge "queue_depth" ["service", "instance"] "calls waiting for a worker";
    QUEUED_ITEMS = gauge "queued_items" ["service", "queue", "state"]
        "items of an asynchronous service's queues: ready, leased, delayed (to be delivered again), or dead";
    QUEUED_ITEMS_READY = gauge "queued_items_ready" ["service", "queue", "priority"] "ready items by priority";
    QUEUED_ITEMS_OLDEST = age "queued_items_oldest_age" ["service", "queue"]
        "age of the oldest item that is not dead";
    QUEUED_ITEMS_PUT = counter "queued_items_put" ["service", "queue"] "items that were put";
    QUEUED_ITEMS_DELIVERED = counter "queued_items_delivered" ["service", "queue"] "deliveries to consumers";
    QUEUED_ITEMS_REDELIVERED = counter "queued_items_redelivered" ["service", "queue"]
        "deliveries of items that had been delivered before";
    QUEUED_ITEMS_FINISHED = counter "queued_items_finished" ["service", "queue"]
        "items that a consumer finished or took out";
    QUEUED_ITEMS_DIED = counter "queued_items_died" ["service", "queue"] "items that became dead letters";
    QUEUED_ITEMS_EXPIRED = counter "queued_items_expired" ["service", "queue"]
        "items removed because they were older than queue.retention_s";
    UPSTREAM_HEALTHY = gauge "upstream_healthy" ["cluster", "upstream"] "1 if checks find the upstream healthy";
    UPSTREAM_EJECTED = gauge "upstream_ejected" ["cluster", "upstream"]
        "1 if it is ejected because requests to it failed";
    UPSTREAM_ACTIVE = gauge "upstream_active" ["cluster", "upstream"] "requests that have a connection to it";
    UPSTREAM_IDLE_CONNECTIONS = gauge "upstream_idle_connections" ["cluster", "upstream"] "idle connections to it";
    UPSTREAM_PENDING = gauge "upstream_pending" ["cluster", "upstream"] "requests that wait for a connection to it";
    UPSTREAM_REQUESTS = counter "upstream_requests" ["cluster", "upstream"] "requests sent to it";
    UPSTREAM_RETRIED = counter "upstream_retried" ["cluster", "upstream"] "requests sent to it that were retried";
    UPSTREAM_EJECTIONS = counter "upstream_ejections" ["cluster", "upstream"] "number of times it was ejected";
    UPSTREAM_FAILURES = counter "upstream_failures" ["cluster", "upstream", "reason"]
        "requests without an answer from it, by reason";
    CONNECTIONS = gauge "connections" [] "open connections of callers";
    CONNECTIONS_TURNED_AWAY = counter "connections_turned_away" []
        "connections refused because their address had reached its limit";
    QUEUE_COMMIT = seconds "queue_commit" [] "writing a batch of changes of the queues to the disk";
    LOG_LINES_LOST = counter "log_lines_lost" [] "log lines lost because the log could not be written fast enough";
}
