//! The gateway's file: the clusters of hosts, and the routes from services to clusters.
//!
//! It is read like a service file, with tables of keys, so that mistakes look the same: all of them at once, each with
//! its place, the value that was found and the values that are accepted. A file with mistakes makes no [`GatewaySpec`].

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::uri::PathAndQuery;
use serde_json::{Map, Value};

use super::{
    GatewayPolicy, HalfClose, json,
    keys::{self, KeyMatch, Table},
    kind::Kind,
    limits,
    mistakes::Mistakes,
    name::ServiceName,
    reader::{Given, Null, join},
    settings::Settings,
    table::ANSWER,
};

#[cfg(test)]
mod reference;
mod schema;
mod table;

pub use schema::gateway_schema;
use table::{CLUSTER, ROUTE, TOP, UPSTREAM};

/// The name of the route for all services without a route of their own.
pub const ANY_SERVICE: &str = "*";
/// Most upstreams of a cluster. Every request looks through all of them to choose one.
const MOST_UPSTREAMS: usize = 64;
const MOST_NAMES: usize = 10_000;
/// Paths that a host answers at its admin listener and not at its data listener.
const OF_ADMIN_LISTENERS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A gateway's file without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySpec {
    clusters: Vec<ClusterSpec>,
    routes: Vec<RouteSpec>,
}

/// A cluster: hosts that serve the same services, and the settings for requests to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    pub name: String,
    /// At least one; no two have the same address.
    pub upstreams: Vec<UpstreamSpec>,
    /// The longest time to establish a connection.
    pub connect_timeout: Duration,
    /// The longest time from the end of a request to the head of its answer.
    pub request_timeout: Duration,
    /// The longest time without a byte in the middle of a request or an answer.
    pub idle_timeout: Duration,
    /// The longest idle time of a connection.
    pub keep_alive: Duration,
    /// Most connections to each upstream. A connection carries one request at a time.
    pub max_connections: usize,
    /// Most requests that wait for a connection to one upstream.
    pub max_pending: usize,
    pub health_check: Option<HealthCheck>,
    pub ejection: Option<Ejection>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    pub address: Authority,
    /// The address for health checks, if it differs from `address`.
    pub health_address: Option<Authority>,
}

/// The settings of the health checks, which find out without requests whether an upstream can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is requested with GET; 2xx means healthy. Without a path, an upstream is healthy if it accepts a
    /// connection.
    pub path: Option<PathAndQuery>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Failed checks in a row that make an upstream unhealthy.
    pub unhealthy_threshold: u32,
    /// Successful checks in a row that make an upstream healthy again.
    pub healthy_threshold: u32,
}

/// The settings of ejection: an upstream whose requests fail gets no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    pub consecutive_failures: NonZeroU32,
    /// The length of the first ejection. Each further one is twice as long.
    pub time: Duration,
    pub max_time: Duration,
    /// The percentage of a cluster's upstreams that may be ejected at once.
    pub max_share: u32,
}

/// A route: the cluster for the requests of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The service's name, or [`ANY_SERVICE`].
    pub service: String,
    /// The name of an existing cluster.
    pub cluster: String,
    pub policy: GatewayPolicy,
    /// The meaning of a client's closing its sending side after its request.
    pub half_close: HalfClose,
}

/// A host and a port. The host may be a name, which is looked up for each new connection.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority(Box<str>);

impl Authority {
    const ACCEPTED: &'static str = "a host and a port such as 10.0.0.7:8080, [::1]:8080 or ml-1.internal:8080";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0) && port.bytes().all(|b| b.is_ascii_digit());
        let is_v6 = || host.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
        let is_label =
            |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let is_host = is_v6().is_some() || (host.len() <= 253 && host.split('.').all(is_label));
        (is_port && is_host).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GatewaySpec {
    /// # Errors
    /// All mistakes of the file.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let (value, mut mistakes) = json::parse(text)?;
        let spec = Self::read(&value, &mut mistakes);
        mistakes.settle(spec)
    }

    pub fn clusters(&self) -> &[ClusterSpec] {
        &self.clusters
    }

    /// The routes. Each names one of the clusters.
    pub fn routes(&self) -> &[RouteSpec] {
        &self.routes
    }

    /// Remarks on settings that are valid, but most likely not intended.
    pub fn remarks(&self) -> Vec<String> {
        let of_a_host = |cluster: &&ClusterSpec| {
            let path = cluster.health_check.as_ref().and_then(|check| check.path.as_ref());
            path.is_some_and(|path| OF_ADMIN_LISTENERS.contains(&path.path()))
        };
        let upstreams = self.clusters.iter().filter(of_a_host).flat_map(|cluster| {
            let bare = cluster.upstreams.iter().filter(|upstream| upstream.health_address.is_none());
            bare.map(move |upstream| (cluster, upstream))
        });
        let remark = |(cluster, upstream): (&ClusterSpec, &UpstreamSpec)| {
            format!(
                "clusters.{}: the upstream {} has no health_address, so health_check.path is requested at its data \
                 listener; a Bulkhead host has that path only at its admin listener, and would count as unhealthy",
                cluster.name, upstream.address
            )
        };
        upstreams.map(remark).collect()
    }

    fn read(value: &Value, mistakes: &mut Mistakes) -> Self {
        let such_as = "{\"clusters\": {…}, \"routes\": {…}}";
        let top = match value {
            Value::Object(top) => top,
            other => {
                mistakes.add("", format!("found {}, expected an object such as {such_as}", Kind::Any.shown(other)));
                return Self { clusters: Vec::new(), routes: Vec::new() };
            }
        };
        for key in top.keys() {
            unknown(TOP, key, key, mistakes);
        }
        let named = |section: &str, mistakes: &mut Mistakes| named(section, top.get(section), mistakes);
        let clusters = named("clusters", mistakes);
        let routes = named("routes", mistakes);
        let clusters: Vec<ClusterSpec> =
            clusters.iter().map(|(name, value)| ClusterSpec::read(name, value, mistakes)).collect();
        let routes = routes.iter().filter_map(|(service, value)| RouteSpec::read(service, value, &clusters, mistakes));
        let routes = routes.collect();
        Self { clusters, routes }
    }
}

/// The parts of a section, by name. At least one is required.
fn named(section: &str, value: Option<&Value>, mistakes: &mut Mistakes) -> Map<String, Value> {
    match value {
        Some(Value::Object(parts)) if parts.len() > MOST_NAMES => {
            mistakes.add(section, format!("found {} names, expected at most {MOST_NAMES}", parts.len()));
        }
        Some(Value::Object(parts)) if !parts.is_empty() => return parts.clone(),
        None | Some(Value::Null) => mistakes.add(section, "missing, expected an object with at least one name"),
        Some(other) => {
            let found = if other.is_object() { "no name in it".to_owned() } else { Kind::Any.shown(other) };
            mistakes.add(section, format!("found {found}, expected an object with at least one name"));
        }
    }
    Map::new()
}

/// Notes a key that is not in the table. Names may contain dots here, so a key cannot be flattened.
fn unknown(table: Table, key: &str, path: &str, mistakes: &mut Mistakes) {
    if matches!(keys::find_in(table, key), KeyMatch::Key(_)) || mistakes.is_full() {
        return;
    }
    mistakes.add(path, keys::unknown(table, key));
}

impl ClusterSpec {
    fn read(name: &str, value: &Value, mistakes: &mut Mistakes) -> Self {
        let path = join("clusters", name);
        if ServiceName::parse(name).is_err() {
            mistakes.add(&path, format!("a cluster's name is {}", ServiceName::ACCEPTED));
        }
        let mut own = Mistakes::default();
        let given = Given::of(CLUSTER, value, Null::Absent, "{\"upstreams\": [\"10.0.0.7:8080\"]}", &mut own);
        let settings = Settings(&given);
        limits::required(&settings, &mut own);
        let upstreams = upstreams(&settings, &mut own);
        let health_check = health_check(&settings, &mut own);
        let ejection = ejection(&settings, &mut own);
        mistakes.absorb(&path, own);
        Self {
            name: name.to_owned(),
            upstreams,
            connect_timeout: settings.millis("connect_timeout_ms"),
            request_timeout: settings.millis("request_timeout_ms"),
            idle_timeout: settings.millis("idle_timeout_ms"),
            keep_alive: settings.millis("keep_alive_ms"),
            max_connections: settings.small("max_connections"),
            max_pending: settings.small("max_pending"),
            health_check,
            ejection,
        }
    }
}

fn upstreams(settings: &Settings<'_>, mistakes: &mut Mistakes) -> Vec<UpstreamSpec> {
    let such_as = "a list of addresses such as [\"10.0.0.7:8080\"]";
    let list = match settings.given("upstreams") {
        Some(Value::Array(list)) if (1..=MOST_UPSTREAMS).contains(&list.len()) => list,
        Some(other) => {
            let found = Kind::Any.shown(&other);
            mistakes.add("upstreams", format!("found {found}, expected {such_as}, 1 to {MOST_UPSTREAMS} of them"));
            return Vec::new();
        }
        None => return Vec::new(),
    };
    let mut upstreams: Vec<UpstreamSpec> = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let path = format!("upstreams[{index}]");
        let Some(upstream) = UpstreamSpec::read(&path, item, mistakes) else { continue };
        if upstreams.iter().any(|other| other.address == upstream.address) {
            mistakes.add(&path, format!("the upstream {} is given twice", upstream.address));
        }
        upstreams.push(upstream);
    }
    upstreams
}

impl UpstreamSpec {
    /// Reads an upstream: an address, or an object that may also have an address for health checks.
    fn read(path: &str, item: &Value, mistakes: &mut Mistakes) -> Option<Self> {
        let mut authority = |path: &str, value: Option<&Value>| {
            let read = value.and_then(|value| Authority::parse(value.as_str()?));
            if read.is_none() {
                let found =
                    value.map_or_else(|| "missing".to_owned(), |value| format!("found {}", Kind::Any.shown(value)));
                mistakes.add(path, format!("{found}, expected {}", Authority::ACCEPTED));
            }
            read
        };
        let Value::Object(parts) = item else {
            return Some(Self { address: authority(path, Some(item))?, health_address: None });
        };
        let address = authority(&join(path, "address"), parts.get("address"));
        let given = parts.get("health_address").filter(|value| !value.is_null());
        let health_address = given.map(|value| authority(&join(path, "health_address"), Some(value)));
        for key in parts.keys() {
            unknown(UPSTREAM, key, &join(path, key), mistakes);
        }
        Some(Self { address: address?, health_address: health_address.flatten() })
    }
}

fn health_check(settings: &Settings<'_>, mistakes: &mut Mistakes) -> Option<HealthCheck> {
    let path = settings.text("health_check.path").and_then(|text| {
        let path = PathAndQuery::try_from(text.as_str()).ok().filter(|_| text.starts_with('/'));
        if path.is_none() {
            let found = Kind::Any.shown(&text.into());
            mistakes.add("health_check.path", format!("found {found}, expected a path such as /readyz"));
        }
        path
    });
    let interval = settings.millis("health_check.interval_ms");
    (!interval.is_zero()).then(|| HealthCheck {
        path,
        interval,
        timeout: settings.millis("health_check.timeout_ms"),
        unhealthy_threshold: settings.small("health_check.unhealthy_threshold"),
        healthy_threshold: settings.small("health_check.healthy_threshold"),
    })
}

fn ejection(settings: &Settings<'_>, mistakes: &mut Mistakes) -> Option<Ejection> {
    let (time, max_time) = (settings.millis("ejection.time_ms"), settings.millis("ejection.max_time_ms"));
    if time > max_time && !mistakes.at("ejection.time_ms") && !mistakes.at("ejection.max_time_ms") {
        let message =
            format!("{} ms are more than ejection.max_time_ms, {} ms", time.as_millis(), max_time.as_millis());
        mistakes.add("ejection.time_ms", message);
    }
    let consecutive_failures = NonZeroU32::new(settings.small("ejection.consecutive_failures"))?;
    let max_share = settings.small("ejection.max_share_percent");
    Some(Ejection { consecutive_failures, time, max_time, max_share })
}

impl RouteSpec {
    /// Reads a route: the name of a cluster, or an object that may also have limits.
    fn read(service: &str, value: &Value, clusters: &[ClusterSpec], mistakes: &mut Mistakes) -> Option<Self> {
        let path = join("routes", service);
        // A service of a group is called `group.service`.
        if service != ANY_SERVICE
            && (service.split('.').count() > 2 || service.split('.').any(|p| ServiceName::parse(p).is_err()))
        {
            mistakes.add(
                &path,
                format!("a service's name is {}; `group.service` and `*` are names as well", ServiceName::ACCEPTED),
            );
        }
        let mut own = Mistakes::default();
        let (cluster, policy, half_close) = match value {
            Value::String(cluster) => (Some(cluster.clone()), GatewayPolicy::default(), HalfClose::Leave),
            other => {
                let given =
                    Given::of(ROUTE, other, Null::Absent, "{\"cluster\": \"ml\", \"rate_limit\": 100}", &mut own);
                let settings = Settings(&given);
                limits::required(&settings, &mut own);
                let limit = |path| NonZeroU32::new(settings.small(path));
                let policy =
                    GatewayPolicy { rate_limit: limit("rate_limit"), concurrency_limit: limit("concurrency_limit") };
                let answers = settings.text("half_close").as_deref() == Some(ANSWER);
                let half_close = if answers { HalfClose::Answer } else { HalfClose::Leave };
                (settings.text("cluster"), policy, half_close)
            }
        };
        if let Some(cluster) = &cluster
            && !clusters.iter().any(|known| known.name == *cluster)
        {
            let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).take(10).collect();
            let place = if value.is_string() { "" } else { "cluster" };
            let found = Kind::Any.shown(&cluster.as_str().into());
            own.add(place, format!("found {found}, expected one of the clusters: {}", names.join(", ")));
        }
        mistakes.absorb(&path, own);
        Some(Self { service: service.to_owned(), cluster: cluster?, policy, half_close })
    }
}

#[cfg(test)]
mod tests;
