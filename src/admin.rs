//! The admin listener: the control API, health and metrics.
//!
//! Its own origin and port, and a bearer token on everything that tells or changes something. Health and metrics are
//! open: whoever can reach the port is meant to watch. `operations` are the
//! tables of what can be asked for, `api` the line a request walks, `problem` its errors, `openapi` the document of it all.

mod api;
mod conditions;
mod deploy;
mod openapi;
mod operation;
mod operations;
mod problem;
mod query;
mod view;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full, channel::Channel};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::auth::Attempts;
use crate::config::Token;
use crate::front::Front;
use crate::registry::Registry;
use crate::storage::Storage;
use crate::telemetry::LogWriter;

/// Connections at once; operators are few.
const MAX_CONNECTIONS: usize = 256;
/// A head must be complete in this time; it is also how long a connection may rest.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Wrong tokens a second from one address: operators do not come through a gateway.
pub const MAX_FAILED_LOGINS: NonZeroU32 = NonZeroU32::new(10).unwrap();
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) use self::openapi::text as openapi;

type Reply = http::Response<Either<Full<Bytes>, Channel<Bytes>>>;

/// The control plane of one host.
pub struct Admin {
    pub registry: Arc<Registry>,
    pub storage: Arc<Storage>,
    pub front: Front,
    pub log: LogWriter,
    pub token: Token,
    /// Wrong tokens tried here.
    pub attempts: Attempts,
    /// Where callers find services: `http://host:port`.
    pub data_url: String,
    /// True once the host is going away.
    pub draining: watch::Receiver<bool>,
}

impl Admin {
    /// Serves operators until `end` turns true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut end: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = ended(&mut end) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (admin, end) = (Arc::clone(&self), end.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        admin.connection(stream, peer.ip(), end).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no admin connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr, mut end: watch::Receiver<bool>) {
        let service = service_fn(|request| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(api::handle(admin, peer, request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(64 << 10);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "admin connection ended");
                }
            }
            () = ended(&mut end) => {}
        }
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

async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}
