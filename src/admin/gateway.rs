//! The admin listener of a gateway without a host: health, metrics and upstreams. It changes nothing and shows no
//! secret, so it needs no token.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Reply;
use super::api::{finish, json_reply, text_reply};
use super::listener::{self, Answers};
use super::metrics;
use super::operations::TEXT;
use super::problem::Problem;
use super::scrapes::Scrapes;
use super::seats::Seat;
use crate::front::{Arrival, Front};
use crate::gateway::Gateway;
use crate::telemetry::{HostNumbers, LogWriter, Seen, UpstreamSeen};

/// The admin listener of a gateway.
pub struct GatewayAdmin {
    pub gateway: Arc<Gateway>,
    pub front: Front,
    pub log: LogWriter,
    pub scrapes: Scrapes,
    /// True once the gateway shuts down.
    pub draining: watch::Receiver<bool>,
}

impl Answers for GatewayAdmin {
    async fn answer(self: Arc<Self>, arrival: Arrival, _: &Seat) -> Reply {
        finish(self.find(arrival).await)
    }
}

impl GatewayAdmin {
    /// Serves operators until `end` becomes true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, end: watch::Receiver<bool>) {
        listener::serve(self, listener, end).await;
    }

    async fn find(&self, arrival: Arrival) -> Result<Reply, Problem> {
        let Arrival { method, uri, headers, fault, .. } = arrival;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let path = uri.path();
        if !["/healthz", "/readyz", "/metrics", "/api/v1/upstreams"].contains(&path) {
            return Err(Problem::not_found_at_a_gateway(path));
        }
        if !matches!(method, Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let text = |status, text: &'static str| Ok(text_reply(status, HeaderValue::from_static(TEXT), text));
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if *self.draining.borrow() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" if self.gateway.is_settled() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not_ready\n"),
            "/metrics" => self.metrics(&headers).await,
            _ => json_reply(StatusCode::OK, &self.gateway.description()),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Result<Reply, Problem> {
        metrics::reply(headers, &self.scrapes, || self.look()).await
    }

    fn look(&self) -> (Vec<Seen>, Vec<UpstreamSeen>, HostNumbers) {
        let mut seen = self.gateway.seen();
        let nobody = Arc::clone(self.front.nobody());
        seen.push(Seen::without_instances(String::new(), nobody));
        let numbers = HostNumbers {
            connections: self.front.connections(),
            connections_turned_away: self.front.connections_turned_away(),
            log_lines_lost: self.log.lost(),
            ..HostNumbers::default()
        };
        (seen, self.gateway.upstreams_seen(), numbers)
    }
}
