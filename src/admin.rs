//! The admin listener: the control API, health and metrics.
//!
//! It has a port of its own, and so an origin of its own for browsers. The control API needs a bearer token. Health and
//! metrics need none: every client that can reach the port may read them. `operations` has the tables of operations,
//! `api` handles a request from its path to its answer, `problem` has the errors, and `openapi` makes the document.

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
#[cfg(test)]
mod reference;
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

/// Most wrong tokens a second from one address.
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
    /// The gateway for names that are not services of this host.
    pub gateway: Option<Arc<Gateway>>,
    pub storage: Arc<Storage>,
    pub front: Front,
    pub log: LogWriter,
    pub scrapes: Scrapes,
    pub token: Token,
    /// Counts the wrong tokens that were sent to this listener.
    pub attempts: Attempts,
    /// The base URL of the services: `http://host:port`.
    pub data_url: String,
    /// True once the host shuts down.
    pub draining: watch::Receiver<bool>,
}

impl Answers for Admin {
    async fn answer(self: Arc<Self>, arrival: Arrival, seat: &Seat) -> Reply {
        api::handle(self, arrival, seat).await
    }
}

impl Admin {
    /// Serves operators until `end` becomes true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, end: watch::Receiver<bool>) {
        listener::serve(self, listener, end).await;
    }

    /// The name of the admin token in the audit log.
    fn token_name(&self) -> &'static str {
        "admin"
    }

    fn url(&self, service: &str) -> String {
        format!("{}/api/predict/{service}", self.data_url)
    }
}

/// The URL of a listener for a client on this machine. An unspecified address is replaced by loopback.
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
