//! The admin listener of a gateway that is no host: health, metrics, and its upstreams. There is nothing to change and
//! nothing secret, so there is no token.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Reply;
use super::api::{json_reply, text_reply};
use super::listener::{self, Answers};
use super::operations::{METRICS, TEXT};
use super::problem::Problem;
use crate::front::Front;
use crate::gateway::Gateway;
use crate::telemetry::{HostNumbers, LogWriter, Seen, exposition};

/// What the operators of a gateway see.
pub struct GatewayAdmin {
    pub gateway: Arc<Gateway>,
    pub front: Front,
    pub log: LogWriter,
    /// True once the gateway is going away.
    pub draining: watch::Receiver<bool>,
}

impl Answers for GatewayAdmin {
    async fn answer(self: Arc<Self>, _: IpAddr, request: Request<Incoming>) -> Reply {
        let mut reply = self.find(&request).unwrap_or_else(|problem| problem.reply());
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }
}

impl GatewayAdmin {
    /// Serves operators until `end` turns true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, end: watch::Receiver<bool>) {
        listener::serve(self, listener, end).await;
    }

    fn find<B: Body>(&self, request: &Request<B>) -> Result<Reply, Problem> {
        let path = request.uri().path();
        if !["/healthz", "/readyz", "/metrics", "/api/v1/upstreams"].contains(&path) {
            return Err(Problem::not_found(path));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let text = |status, text: &'static str| Ok(text_reply(status, HeaderValue::from_static(TEXT), text));
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if *self.draining.borrow() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" if self.gateway.is_settled() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not_ready\n"),
            "/metrics" => self.metrics(),
            _ => json_reply(StatusCode::OK, &self.gateway.description()),
        }
    }

    fn metrics(&self) -> Result<Reply, Problem> {
        let mut seen = self.gateway.seen();
        let nobody = Arc::clone(self.front.nobody());
        seen.push(Seen { service: String::new(), metrics: nobody, instances: Vec::new(), by_version: Vec::new() });
        let numbers = HostNumbers {
            connections: self.front.connections(),
            connections_turned_away: self.front.connections_turned_away(),
            log_lines_lost: self.log.lost(),
        };
        let text =
            exposition(seen, self.gateway.upstreams_seen(), numbers).map_err(|error| Problem::internal(&error))?;
        Ok(text_reply(StatusCode::OK, HeaderValue::from_static(METRICS), text))
    }
}
