//! The `wasi:http` interfaces.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::fields::{Entries, Fields, link_fields, size_of_entries, size_of_values, told};
use super::{HostState, WASI_02, replace};
use crate::config::AllowedHosts;
use crate::outbound::{Client, Failure, Timeouts};
use crate::sandbox::lines::{Level, Lines};

/// Most bytes that a guest writes at once, and that wait for the caller together with as many that are on their way.
const PIECE: usize = 32 << 10;
/// Most bytes of a set of headers, as it is in the host's memory.
const MAX_FIELDS: usize = 64 << 10;

/// Most requests that a guest may send while it answers one.
const MAX_REQUESTS: usize = 32;

/// The host's side of a guest's `wasi:http`.
pub(super) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// Sends the guest's requests.
struct Hooks {
    /// `None` if the service may send none.
    client: Option<Client>,
    /// The number of requests that the guest may still send in this call.
    left: usize,
    /// True once the guest has sent a request, or has tried to.
    has_sent: bool,
    /// Ends the connections of the present call when it is dropped; `None` if there are none.
    call: Option<watch::Sender<()>>,
    /// Copied into every body that the host gives to the guest.
    lent: Arc<()>,
    lines: Lines,
}

impl Http {
    pub(super) fn new(client: Option<Client>, lines: &Lines) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS);
        Self {
            context,
            hooks: Hooks {
                client,
                left: MAX_REQUESTS,
                has_sent: false,
                call: None,
                lent: Arc::default(),
                lines: lines.clone(),
            },
        }
    }

    pub(super) fn begin_call(&mut self) {
        self.hooks.left = MAX_REQUESTS;
    }

    /// Ends what the call has left: a response that is kept has no end otherwise.
    pub(super) fn end_call(&mut self) {
        self.hooks.call = None;
    }

    pub(super) fn has_sent(&self) -> bool {
        self.hooks.has_sent
    }
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    link_fields!(linker, ("http/types", WASI_02), types, entries, "[method]fields.entries");
    Ok(())
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.context }
    }
}

impl HostState {
    /// Returns the mark of the bodies that the host gives to the guest.
    pub(in crate::sandbox) fn lent(&self) -> Arc<()> {
        Arc::clone(&self.http.hooks.lent)
    }

    /// True if there are bodies that the host has given to the guest: in its hands, or in those of the host again.
    pub(in crate::sandbox) fn has_lent_bodies(&self) -> bool {
        Arc::strong_count(&self.http.hooks.lent) > 1
    }

    /// True if the guest holds the body of a message that it has not finished.
    pub(in crate::sandbox) fn has_unfinished_body(&mut self) -> bool {
        self.table.iter_mut().any(|entry| (entry as &dyn Any).is::<HostOutgoingBody>())
    }
}

/// A body of the host in the hands of a guest, which may make it the body of its answer without reading it.
pub(in crate::sandbox) struct Lent<B> {
    body: B,
    _lent: Arc<()>,
}

impl<B> Lent<B> {
    pub(in crate::sandbox) fn new(body: B, lent: Arc<()>) -> Self {
        Self { body, _lent: lent }
    }
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an outgoing request. If nobody wants the rest of it, because the request was denied or answered early, a
/// task discards what the guest still writes. Otherwise its write would fail, and hide the answer from the guest.
struct Upload(Option<WasiBody>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(WasiBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), WasiBody::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut body), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            // It ends with the guest at the latest.
            runtime.spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        }
    }
}

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Sending), Error>;

impl Hooks {
    /// Counts a request. The error is a sentence for the log of the request that is being answered.
    fn admit(&mut self, uri: &Uri) -> Result<Client, (Error, String)> {
        self.has_sent = true;
        let Some(client) = self.client.clone() else {
            let denied = AllowedHosts::default().target(uri).err().unwrap_or_default();
            return Err((Error::HttpRequestDenied, denied));
        };
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            (Error::ConnectionLimitReached, format!("{MAX_REQUESTS} requests in one call are the limit"))
        })?;
        Ok(client)
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sending: Sending,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (admitted, lines) = (self.admit(request.uri()), self.lines.clone());
        let request = request.map(|body| Upload(Some(body)));
        let timeouts = options.map_or_else(Timeouts::default, timeouts);
        let mut call = self.call.get_or_insert_with(|| watch::channel(()).0).subscribe();
        let lent = Arc::clone(&self.lent);
        Box::new(async move {
            let sent = match admitted {
                Ok(client) => {
                    // It changes only by its end.
                    let call_ended = async move { drop(call.changed().await) };
                    let sent = client.send(request, timeouts, call_ended).await;
                    sent.map_err(|why| (error_of(&why), why.to_string()))
                }
                Err(refused) => Err(refused),
            };
            match sent {
                Ok(response) => {
                    let response =
                        response.map(|body| Lent::new(body, lent).map_err(|why| error_of(&why)).boxed_unsync());
                    Ok((response, Box::new(std::future::ready(Ok(()))) as Sending))
                }
                Err((error, why)) => {
                    lines.log(Level::Warn, &format!("an outgoing request failed: {why}"));
                    Err(error)
                }
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// Returns the guest's own timeouts, where they are shorter than the host's.
fn timeouts(options: RequestOptions) -> Timeouts {
    let most = Timeouts::default();
    let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options;
    let within = |own: Option<Duration>, most: Duration| own.map_or(most, |own| own.min(most));
    Timeouts {
        connect: within(connect_timeout, most.connect),
        head: within(first_byte_timeout, most.head),
        idle: within(between_bytes_timeout, most.idle),
    }
}

/// Returns the error code that the guest gets.
fn error_of(failure: &Failure) -> Error {
    match failure {
        Failure::Denied(_) => Error::HttpRequestDenied,
        Failure::Unknown { .. } => Error::DnsError { rcode: None, info_code: None },
        Failure::Private { .. } => Error::DestinationIpProhibited,
        Failure::TooManyConnections(_) | Failure::TooManyOfAll(_) => Error::ConnectionLimitReached,
        Failure::Connect(_) => Error::ConnectionRefused,
        Failure::ConnectTimeout(_) => Error::ConnectionTimeout,
        Failure::Tls(_) => Error::TlsProtocolError,
        Failure::HeadTimeout(_) => Error::HttpResponseTimeout,
        Failure::Idle(_) => Error::ConnectionReadTimeout,
        Failure::Protocol(_) => Error::HttpProtocolError,
        Failure::Ending => Error::ConnectionTerminated,
    }
}
