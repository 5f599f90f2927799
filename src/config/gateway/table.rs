//! Every key of a gateway's file, by the object it stands in.

use crate::config::{
    keys::{Key, Table},
    kind::Kind::{self, Any, Integer, Location, Word},
    table::{ANSWER, LEAVE},
};

const fn whole(least: u64, most: u64, unit: &'static str) -> Kind {
    Integer { least, most, unit }
}

pub(super) const TOP: Table = &[
    Key::used("clusters", Any).means("Hosts that answer for the same services, by a name of your choice."),
    Key::used("routes", Any).means("Which cluster answers for a service, by the service's name; `*` is every other."),
];

pub(super) const UPSTREAM: Table = &[
    Key::used("address", Any).required().means("The host's data listener."),
    Key::used("health_address", Any).means("Where its health is asked for, such as its admin listener."),
];

pub(super) const CLUSTER: Table = &[
    Key::used("upstreams", Any)
        .required()
        .means("The data listeners of the hosts: `host:port`, or `{\"address\": …, \"health_address\": …}`."),
    Key::used("connect_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("2000", "a host that is there accepts in milliseconds, also across a continent")
        .means("How long a new connection may take.")
        .at_limit("503 `upstream_failed`, reason `connection timeout`; another upstream is tried first"),
    Key::used("request_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("15000", "as in Envoy; a host's own 408 comes after 5 s")
        .means("From the moment a request is sent whole to the head of its answer.")
        .at_limit("504 `gateway_timeout`; the upstream's connection is closed, so that it stops working on it"),
    Key::used("idle_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("300000", "as in Envoy: an event stream may be silent for a while")
        .means("How long a request or an answer may stand still once it has begun.")
        .at_limit("a request: 408 `deadline_exceeded`; an answer is cut off"),
    Key::used("keep_alive_ms", whole(0, 3_600_000, "ms"))
        .default("30000", "as EAS's gateways; a host closes what has rested for 75 s, and must not be first")
        .means("How long a connection to an upstream may rest between two requests.")
        .at_limit("it is closed; nobody notices"),
    Key::used("max_connections", whole(1, 100_000, "connections"))
        .default("1024", "as in Envoy")
        .means("Requests to one upstream at once; each has a connection of its own.")
        .at_limit("further requests wait"),
    Key::used("max_pending", whole(0, 100_000, "requests"))
        .default("1024", "as in Envoy")
        .means("Requests that may wait for a connection to one upstream.")
        .at_limit("503 `upstream_failed`, reason `overflow`"),
    Key::used("health_check.path", Location)
        .means("What is asked for with GET, where 2xx is well; without it, accepting a connection is."),
    Key::used("health_check.interval_ms", whole(0, 3_600_000, "ms"))
        .default("5000", "a host that is gone gets no requests after 15 s, even if nobody calls")
        .means("The time between two checks of an upstream; 0 checks nothing."),
    Key::used("health_check.timeout_ms", whole(1, 3_600_000, "ms"))
        .default("1000", "what takes longer is no use to callers either")
        .means("How long one check may take."),
    Key::used("health_check.unhealthy_threshold", whole(1, 100, "checks"))
        .default("3", "one lost packet is no reason")
        .means("Failed checks in a row after which an upstream gets no requests; of the first check, one is enough.")
        .at_limit("no requests to it; if that leaves none, 503 `no_healthy_upstream`"),
    Key::used("health_check.healthy_threshold", whole(1, 100, "checks"))
        .default("2", "one that comes and goes is not back yet")
        .means("Good checks in a row after which it gets requests again."),
    Key::used("ejection.consecutive_failures", whole(0, 1_000_000, "requests"))
        .default("5", "as in Envoy")
        .means("Failed requests in a row (no connection, no answer, 502, 504) after which an upstream is left out; 0 leaves out nobody.")
        .at_limit("no requests to it for `ejection.time_ms`"),
    Key::used("ejection.time_ms", whole(1, 3_600_000, "ms"))
        .default("30000", "as in Envoy")
        .means("How long it is left out the first time; each further time it is twice as long."),
    Key::used("ejection.max_time_ms", whole(1, 3_600_000, "ms"))
        .default("300000", "as in Envoy")
        .means("The longest it is left out."),
    Key::used("ejection.max_share_percent", whole(0, 100, "%"))
        .default("50", "when most seem to fail, the fault may be elsewhere, and the rest could not bear the load")
        .means("How many of a cluster's upstreams may be left out at once; a single one never is, unless this is 100.")
        .at_limit("nobody else is left out"),
];

pub(super) const ROUTE: Table = &[
    Key::used("cluster", Location).required().means("Which cluster answers."),
    Key::used("rate_limit", whole(0, 1_000_000_000, "requests/s"))
        .default("0", "hosts have limits of their own")
        .means("Requests a second for the service; 0 is no limit.")
        .at_limit("429 `rate_limited` with `Retry-After`"),
    Key::used("concurrency_limit", whole(0, 1_000_000_000, "requests"))
        .default("0", "hosts have queues of their own")
        .means("Requests for the service under way at once; 0 is no limit.")
        .at_limit("429 `rate_limited`"),
    Key::used("half_close", Word(&[LEAVE, ANSWER]))
        .default("\"leave\"", "a client that closes its sending side looks the same as one that has gone, whose work is to stop at once")
        .means("A client that closes its sending side after its request: `leave` takes it for gone, ends its request and counts 499; `answer` answers it, and then only a reset or a failed write is leaving."),
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
