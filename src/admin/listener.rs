//! Takes operators' connections, and serves each in a task of its own.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Reply;

/// Connections at once; operators are few.
const MAX_CONNECTIONS: usize = 256;
/// A head must be complete in this time; it is also how long a connection may rest.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers operators.
pub(super) trait Answers: Send + Sync + 'static {
    fn answer(self: Arc<Self>, peer: IpAddr, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// Serves operators until `end` turns true.
pub(super) async fn serve(admin: Arc<impl Answers>, listener: TcpListener, mut end: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = ended(&mut end) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (admin, end) = (Arc::clone(&admin), end.clone());
                tokio::spawn(async move {
                    let _place = place;
                    connection(admin, stream, peer.ip(), end).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no admin connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(admin: Arc<impl Answers>, stream: TcpStream, peer: IpAddr, mut end: watch::Receiver<bool>) {
    let service = service_fn(|request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.answer(peer, request).await) }
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

async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}
