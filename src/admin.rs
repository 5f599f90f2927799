//! The admin listener: the control API, health and metrics.
//!
//! Its own origin and port, and a bearer token on everything that tells or changes something. Health and metrics are
//! open: whoever can reach the port is meant to watch. `operations` are the
//! tables of what can be asked for, `api` the line a request walks, `problem` its errors, `openapi` the document of it all.

mod api;
mod conditions;
mod deploy;
mod gateway;
mod listener;
mod metrics;
mod nearest;
mod numbers;
mod openapi;
mod operation;
mod operations;
mod problem;
mod query;
mod scrapes;
mod seats;
mod undertaking;
mod view;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::channel::Channel;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::auth::Attempts;
use crate::config::Token;
use crate::front::{Arrival, Content, Front};
use crate::gateway::Gateway;
use crate::registry::Registry;
use crate::storage::Storage;
use crate::telemetry::LogWriter;

/// Wrong tokens a second from one address.
pub const MAX_FAILED_LOGINS: NonZeroU32 = NonZeroU32::new(10).unwrap();

pub use self::gateway::GatewayAdmin;
use self::listener::Answers;
pub(crate) use self::openapi::text as openapi;
pub use self::scrapes::Scrapes;
use self::seats::Seat;

type Reply = http::Response<Content<Channel<Bytes>>>;

/// The control plane of one host.
pub struct Admin {
    pub registry: Arc<Registry>,
    /// Where the names go that are no services here.
    pub gateway: Option<Arc<Gateway>>,
    pub storage: Arc<Storage>,
    pub front: Front,
    pub log: LogWriter,
    pub scrapes: Scrapes,
    pub token: Token,
    /// Wrong tokens tried here.
    pub attempts: Attempts,
    /// Where callers find services: `http://host:port`.
    pub data_url: String,
    /// True once the host is going away.
    pub draining: watch::Receiver<bool>,
}

impl Answers for Admin {
    async fn answer(self: Arc<Self>, arrival: Arrival, seat: &Seat) -> Reply {
        api::handle(self, arrival, seat).await
    }
}

impl Admin {
    /// Serves operators until `end` turns true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, end: watch::Receiver<bool>) {
        listener::serve(self, listener, end).await;
    }

    /// What the audit log calls the token that was shown.
    fn token_name(&self) -> &'static str {
        "admin"
    }

    fn url(&self, service: &str) -> String {
        format!("{}/api/predict/{service}", self.data_url)
    }
}

/// The address as a client on this machine would write it: an unspecified one is reached through loopback.
pub fn reachable(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}
