//! Sends a request to an allowed host, on a connection of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::rustls::pki_types::ServerName;

use super::pool::{Share, Task};
use crate::config::{AllowedHosts, Target};

/// Most bytes of the head of a response.
const MAX_HEAD: usize = 64 << 10;

/// Longest life of a connection. It ends then even if nobody reads the response.
const LIFE: Duration = Duration::from_secs(600);

/// The client of one service.
#[derive(Clone, Debug)]
pub struct Client {
    share: Share,
    allowed: Arc<AllowedHosts>,
}

/// The times that bound a request. The time of the call that sends it bounds all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To look up the name, connect and shake hands.
    pub connect: Duration,
    /// From the request to the head of its response.
    pub head: Duration,
    /// Between two pieces of the response.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), head: LIFE, idle: LIFE }
    }
}

/// The reason why there is no response, or only the beginning of one.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The service may not send this request. The text says why.
    #[error("{0}")]
    Denied(String),
    #[error("{host} is not known")]
    Unknown { host: String },
    /// All addresses of a name are private or special, and the file does not name them.
    #[error("{host} leads to {address}, a private or special address, which is not in sandbox.allow_hosts")]
    Private { host: String, address: SocketAddr },
    #[error("the service has {0} connections, which is the limit")]
    TooManyConnections(usize),
    #[error("all services together have {0} connections, which is the limit")]
    TooManyOfAll(usize),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    #[error("no TLS connection: {0}")]
    Tls(String),
    #[error("no response within {} ms", .0.as_millis())]
    HeadTimeout(Duration),
    #[error("the response stood still for {} ms", .0.as_millis())]
    Idle(Duration),
    #[error("not a valid response: {0}")]
    Protocol(hyper::Error),
    #[error("the host ends")]
    Ending,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Client {
    pub fn new(share: Share, allowed: AllowedHosts) -> Self {
        Self { share, allowed: Arc::new(allowed) }
    }

    /// Sends a request and waits for the head of its response. Its URI is absolute, and it has a `Host`. The connection
    /// lasts `until` a future is ready, unless the response ends before.
    ///
    /// # Errors
    /// The service may not send the request, or there is no response.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Response<ResponseBody>, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let target = self.allowed.target(request.uri()).map_err(Failure::Denied)?;
        // The places are held for as long as there is a connection, whether or not its response is read.
        let places = self.share.places()?;
        let client = self.clone();
        let connecting = self.share.pool().spawn(async move {
            let connecting = timeout(timeouts.connect, client.connect(&target));
            let wire = connecting.await.unwrap_or(Err(Failure::ConnectTimeout(timeouts.connect)));
            wire.map(|wire| (wire, places))
        });
        let (wire, places) = connecting.ended().await.unwrap_or(Err(Failure::Ending))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let (mut sender, connection) = builder.handshake(TokioIo::new(wire)).await.map_err(Failure::Protocol)?;
        // The connection works while the guest waits for the response, and later while the guest reads it.
        let driver = self.share.pool().spawn(async move {
            let _places = places;
            // The response tells of an error as well, and of the end of this task.
            tokio::select! {
                _ = timeout(LIFE, connection) => {}
                () = until => {}
            }
        });
        let answering = timeout(timeouts.head, sender.send_request(in_origin_form(request)));
        let response = answering.await.map_err(|_| Failure::HeadTimeout(timeouts.head))?.map_err(Failure::Protocol)?;
        let idle = timeouts.idle;
        Ok(response.map(|incoming| ResponseBody { incoming, idle, timer: None, _driver: driver }))
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Wire>, Failure> {
        let found = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::from((address, target.port))],
            Err(_) => {
                let found = self.share.lookup(target.host.clone(), target.port).await;
                found.map_err(|_| Failure::Unknown { host: target.host.clone() })?
            }
        };
        let first = found.first().copied();
        let reachable = self.allowed.reachable(target, found.into_iter());
        if reachable.is_empty() {
            let host = target.host.clone();
            return Err(match first {
                Some(address) => Failure::Private { host, address },
                None => Failure::Unknown { host },
            });
        }
        let stream = TcpStream::connect(reachable.as_slice()).await.map_err(Failure::Connect)?;
        let _ = stream.set_nodelay(true);
        if !target.is_https {
            return Ok(Box::new(stream));
        }
        let connector = self.share.pool().tls().await.map_err(Failure::Tls)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|error| Failure::Tls(error.to_string()))?;
        let stream = connector.connect(name, stream).await.map_err(|error| Failure::Tls(error.to_string()))?;
        Ok(Box::new(stream))
    }
}

/// Takes scheme and authority out of the target, as a server expects it (RFC 9112 §3.2.1).
fn in_origin_form<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    request
}

/// The body of a response, with its connection.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    idle: Duration,
    /// Runs while the next piece is awaited.
    timer: Option<Pin<Box<Sleep>>>,
    _driver: Task<()>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Failure::Protocol)));
        }
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(idle)));
        timer.as_mut().poll(cx).map(|()| Some(Err(Failure::Idle(idle))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
