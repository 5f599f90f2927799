//! Active health checks: one task per upstream checks whether it can be used, independently of requests.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::health::HealthChange;
use super::link::{Link, Patience};
use super::outgoing::Outgoing;
use super::upstream::Upstream;
use crate::config::{Authority, HealthCheck};

/// The first pause between checks, until an upstream is first found healthy. The pause doubles each time, up to the
/// interval. It is short because the upstream may be starting together with the gateway.
const SOON: Duration = Duration::from_millis(100);

/// Checks `upstream` until the task is aborted, or the upstream is dropped.
pub(super) fn start(cluster: &str, upstream: &Arc<Upstream>, check: HealthCheck) -> AbortHandle {
    let (cluster, upstream) = (cluster.to_owned(), Arc::downgrade(upstream));
    tokio::spawn(run(cluster, upstream, check)).abort_handle()
}

async fn run(cluster: String, upstream: Weak<Upstream>, check: HealthCheck) {
    let mut soon = SOON;
    while let Some(upstream) = upstream.upgrade() {
        let outcome = match timeout(check.timeout, probe(&upstream.health_address, &check)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} ms", check.timeout.as_millis())),
        };
        let why = outcome.clone().err().unwrap_or_default();
        let address = upstream.address();
        match upstream.health.checked(outcome, &check) {
            Some(HealthChange::Unhealthy) => tracing::warn!(cluster, upstream = address, why, "upstream is unhealthy"),
            Some(HealthChange::Healthy) => tracing::info!(cluster, upstream = address, "upstream is healthy again"),
            None => {}
        }
        let pause = if upstream.health.has_been_well() { check.interval } else { check.interval.min(soon) };
        soon = soon.saturating_mul(2);
        drop(upstream);
        sleep(pause).await;
    }
}

async fn probe(address: &Authority, check: &HealthCheck) -> Result<(), String> {
    let Some(path) = &check.path else {
        // A connection shows enough: a host that drains stops accepting connections first, and accepting does not
        // depend on any of its services.
        return TcpStream::connect(address.as_str()).await.map(|_| ()).map_err(|error| error.to_string());
    };
    let mut link = Link::connect(address).await.map_err(|error| error.to_string())?;
    let patience = Patience { answer: check.timeout, idle: check.timeout };
    match link.send(request(address, path), patience, Instant::now()).await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("{path} answered {}", response.status().as_u16())),
        Err(unanswered) => Err(unanswered.failure.to_string()),
    }
}

fn request(address: &Authority, path: &PathAndQuery) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::Whole(bytes::Bytes::new()));
    *request.uri_mut() = Uri::from(path.clone());
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(address.as_str()) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("bulkhead-gateway"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}
