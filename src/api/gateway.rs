//! The routes to other hosts, and the state of these hosts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;

/// The clusters and routes of a gateway.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GatewayView {
    pub clusters: Vec<ClusterView>,
    pub routes: Vec<RouteView>,
}

/// A route: the cluster for the requests of a service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The name of the service; `*` stands for every service without a route of its own.
    pub service: String,
    pub cluster: String,
}

/// A cluster: hosts that serve the same services.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClusterView {
    pub name: String,
    pub upstreams: Vec<UpstreamView>,
}

/// A host behind the gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamView {
    /// The address: host and port.
    pub address: String,
    pub state: Word<UpstreamState>,
    /// The error of the last failed check, while the upstream is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Milliseconds until an ejected upstream gets requests again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// Requests that have a connection to the upstream.
    pub active: usize,
    /// Idle connections to the upstream.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests sent to the upstream so far.
    pub requests: u64,
    /// The number of these requests that were then sent again.
    pub retried: u64,
    /// Requests that got no answer from the upstream, by reason.
    pub failures: BTreeMap<String, u64>,
    /// The number of times that the upstream was ejected because requests to it failed.
    pub ejections: u64,
}

/// The state of an upstream. Only a healthy one gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamState {
    Healthy,
    /// Its health checks fail.
    Unhealthy,
    /// Requests to it failed; it gets none for a while.
    Ejected,
}
