//! Routes to other hosts, and the state of those.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;

/// What a gateway has behind it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GatewayView {
    pub clusters: Vec<ClusterView>,
    pub routes: Vec<RouteView>,
}

/// Where the requests for a service go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The service's name; `*` is every service without a route of its own.
    pub service: String,
    pub cluster: String,
}

/// Hosts that answer for the same services.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClusterView {
    pub name: String,
    pub upstreams: Vec<UpstreamView>,
}

/// One host behind the gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamView {
    /// Its host and port.
    pub address: String,
    pub state: Word<UpstreamState>,
    /// What the last failed check said, while it is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it is still left out, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// Requests that have a connection to it.
    pub active: usize,
    /// Connections to it that rest.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests sent to it so far.
    pub requests: u64,
    /// Of these, those that were tried once more.
    pub retried: u64,
    /// Requests that got no answer of it, by reason.
    pub failures: BTreeMap<String, u64>,
    /// How often it was left out because its requests failed.
    pub ejections: u64,
}

/// Whether an upstream gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamState {
    Healthy,
    /// Its checks fail.
    Unhealthy,
    /// Its requests fail; it is left out for a while.
    Ejected,
}
