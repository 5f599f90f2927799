//! Every key of a gateway's file, by the object that has it.

use crate::config::{
    keys::{Key, Table},
    kind::Kind::{self, Any, Integer, Location, Word},
    table::{ANSWER, LEAVE},
};

const fn whole(least: u64, most: u64, unit: &'static str) -> Kind {
    Integer { least, most, unit }
}

pub(super) const TOP: Table = &[
    Key::used("clusters", Any)
        .means("The clusters, by names of your choice. A cluster is a set of hosts that serve the same services."),
    Key::used("routes", Any)
        .means("The cluster for each service, by the service's name; `*` stands for all other services."),
];

pub(super) const UPSTREAM: Table = &[
    Key::used("address", Any).required().means("The address of the host's data listener."),
    Key::used("health_address", Any).means("The address for health checks, such as that of the host's admin listener."),
];

pub(super) const CLUSTER: Table = &[
    Key::used("upstreams", Any)
        .required()
        .means("The data listeners of the hosts: `host:port`, or `{\"address\": …, \"health_address\": …}`."),
    Key::used("connect_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("2000", "a reachable host accepts in milliseconds, also across a continent")
        .means("The longest time to establish a connection.")
        .at_limit("503 `upstream_failed`, reason `connection timeout`; another upstream is tried first"),
    Key::used("request_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("15000", "as in Envoy; a host's own 408 comes after 5 s")
        .means("The longest time from the end of a request to the head of its answer.")
        .at_limit("504 `gateway_timeout`; the connection is closed, so that the upstream stops the request"),
    Key::used("idle_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("300000", "as in Envoy: an event stream may be silent for a while")
        .means("The longest time without a byte in the middle of a request or an answer.")
        .at_limit("a request gets 408 `deadline_exceeded`; an answer is truncated"),
    Key::used("keep_alive_ms", whole(0, 3_600_000, "ms"))
        .default("30000", "as in EAS's gateways; a host closes idle connections after 75 s, and must not be the first to close")
        .means("The longest idle time of a connection to an upstream.")
        .at_limit("the connection is closed, without an effect on callers"),
    Key::used("max_connections", whole(1, 100_000, "connections"))
        .default("1024", "as in Envoy")
        .means("Most connections to one upstream. Each carries one request at a time.")
        .at_limit("further requests wait"),
    Key::used("max_pending", whole(0, 100_000, "requests"))
        .default("1024", "as in Envoy")
        .means("Most requests that wait for a connection to one upstream.")
        .at_limit("503 `upstream_failed`, reason `overflow`"),
    Key::used("health_check.path", Location)
        .means("The path that is requested with GET; 2xx means healthy. Without it, an upstream is healthy if it accepts a connection."),
    Key::used("health_check.interval_ms", whole(0, 3_600_000, "ms"))
        .default("5000", "a host that has failed gets no requests after 15 s, even if there are no calls")
        .means("The time between two checks of an upstream; 0 switches the checks off."),
    Key::used("health_check.timeout_ms", whole(1, 3_600_000, "ms"))
        .default("1000", "a slower upstream is of no use to callers either")
        .means("The longest time of one check."),
    Key::used("health_check.unhealthy_threshold", whole(1, 100, "checks"))
        .default("3", "one lost packet is no reason to give up a host")
        .means("Failed checks in a row after which an upstream gets no requests. If the very first check fails, one is enough.")
        .at_limit("no requests to the upstream; if no other is left, 503 `no_healthy_upstream`"),
    Key::used("health_check.healthy_threshold", whole(1, 100, "checks"))
        .default("2", "an upstream that comes and goes has not recovered yet")
        .means("Successful checks in a row after which an upstream gets requests again."),
    Key::used("ejection.consecutive_failures", whole(0, 1_000_000, "requests"))
        .default("5", "as in Envoy")
        .means("Failed requests in a row (no connection, no answer, 502, 504) after which an upstream is ejected: it gets no requests for a while. 0 switches ejection off.")
        .at_limit("no requests to the upstream for `ejection.time_ms`"),
    Key::used("ejection.time_ms", whole(1, 3_600_000, "ms"))
        .default("30000", "as in Envoy")
        .means("The length of the first ejection of an upstream. Each further one is twice as long."),
    Key::used("ejection.max_time_ms", whole(1, 3_600_000, "ms"))
        .default("300000", "as in Envoy")
        .means("The longest ejection."),
    Key::used("ejection.max_share_percent", whole(0, 100, "%"))
        .default("50", "if most upstreams seem to fail, the fault may be elsewhere, and the rest could not carry the load")
        .means("The percentage of a cluster's upstreams that may be ejected at once. The only upstream of a cluster is ejected only with 100.")
        .at_limit("no further upstream is ejected"),
];

pub(super) const ROUTE: Table = &[
    Key::used("cluster", Location).required().means("The name of the cluster."),
    Key::used("rate_limit", whole(0, 1_000_000_000, "requests/s"))
        .default("0", "hosts have limits of their own")
        .means("Most requests a second for the service; 0 means no limit.")
        .at_limit("429 `rate_limited` with `Retry-After`"),
    Key::used("concurrency_limit", whole(0, 1_000_000_000, "requests"))
        .default("0", "hosts have queues of their own")
        .means("Most requests for the service at once; 0 means no limit.")
        .at_limit("429 `rate_limited`"),
    Key::used("half_close", Word(&[LEAVE, ANSWER]))
        .default("\"leave\"", "a client that closes only its sending side looks like one that has disconnected, for which work should stop at once")
        .means("The meaning of a client that closes its sending side after its request. `leave`: it counts as disconnected; its request ends and counts as 499. `answer`: its request is answered; only a reset or a failed write counts as a disconnect."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_means_and_every_default_has_a_reason() {
        for key in [TOP, UPSTREAM, CLUSTER, ROUTE].into_iter().flatten() {
            assert!(!key.meaning.is_empty(), "{}", key.path);
            assert_eq!(key.default.is_some(), !key.because.is_empty(), "the default of {}", key.path);
        }
    }
}
