//! The `wasi:http` interfaces.

use std::any::Any;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{HeaderError, Host as _, HostFields};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::{HeaderResult, add_only_http_to_linker_async};
use wasmtime_wasi_http::{
    Error, FieldMap, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::{HOST_CALL, HostState, WASI_02, replace};
use crate::outbound::{Client, Failure, Timeouts};
use crate::sandbox::lines::{Level, Lines};

/// Most bytes that a guest writes at once, and that wait for the caller together with as many that are on their way.
const PIECE: usize = 32 << 10;
/// Host work of copying one entry of a set of headers.
pub(super) const ENTRY: usize = 64;
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
    lines: Lines,
}

impl Http {
    pub(super) fn new(client: Option<Client>, lines: &Lines) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS);
        Self { context, hooks: Hooks { client, left: MAX_REQUESTS, has_sent: false, lines: lines.clone() } }
    }

    pub(super) fn begin_call(&mut self) {
        self.hooks.left = MAX_REQUESTS;
    }

    pub(super) fn has_sent(&self) -> bool {
        self.hooks.has_sent
    }
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)?;
    link_dear(linker)
}

/// Replaces the functions that copy sets of headers by functions that count their work.
fn link_dear(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    const TYPES: (&str, &str) = ("http/types", WASI_02);
    replace(linker, TYPES, "[method]fields.entries", |mut host, (fields,): (Resource<FieldMap>,)| {
        Box::new(async move {
            let state = host.data_mut();
            let entries = HostFields::entries(&mut state.http(), fields)?;
            state.work(entries.iter().map(|(name, value)| 2 * HOST_CALL + name.len() + value.len()).sum()).await;
            Ok((entries,))
        })
    })?;
    replace(linker, TYPES, "[method]fields.get", |mut host, (fields, name): (Resource<FieldMap>, String)| {
        Box::new(async move {
            let state = host.data_mut();
            let values = HostFields::get(&mut state.http(), fields, name)?;
            state.work(values.iter().map(|value| HOST_CALL + value.len()).sum()).await;
            Ok((values,))
        })
    })?;
    replace(linker, TYPES, "[static]fields.from-list", |mut host, (entries,): (Vec<(String, Vec<u8>)>,)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(entries.iter().map(|(name, value)| ENTRY + name.len() + value.len()).sum()).await;
            let mut view = state.http();
            let made = HostFields::from_list(&mut view, entries);
            Ok((told(&mut view, made)?,))
        })
    })?;
    // A set that is shared with a clone is copied before it is changed.
    replace(
        linker,
        TYPES,
        "[method]fields.append",
        |mut host, (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)| {
            Box::new(async move {
                let state = host.data_mut();
                state.work(state.size_of(&fields) + value.len()).await;
                let mut view = state.http();
                let appended = HostFields::append(&mut view, fields, name, value);
                Ok((told(&mut view, appended)?,))
            })
        },
    )?;
    replace(
        linker,
        TYPES,
        "[method]fields.set",
        |mut host, (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)| {
            Box::new(async move {
                let state = host.data_mut();
                let new: usize = values.iter().map(|value| ENTRY + value.len()).sum();
                state.work(state.size_of(&fields) + new).await;
                let mut view = state.http();
                let set = HostFields::set(&mut view, fields, name, values);
                Ok((told(&mut view, set)?,))
            })
        },
    )?;
    replace(linker, TYPES, "[method]fields.delete", |mut host, (fields, name): (Resource<FieldMap>, String)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(state.size_of(&fields)).await;
            let mut view = state.http();
            let deleted = HostFields::delete(&mut view, fields, name);
            Ok((told(&mut view, deleted)?,))
        })
    })
}

/// Separates the error that the guest gets from one that ends it.
fn told<T>(view: &mut WasiHttpCtxView<'_>, result: HeaderResult<T>) -> wasmtime::Result<Result<T, HeaderError>> {
    match result {
        Ok(made) => Ok(Ok(made)),
        Err(error) => view.convert_header_error(error).map(Err),
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.context }
    }
}

impl HostState {
    /// Returns the host work of copying a set of headers.
    pub(super) fn size_of(&self, fields: &Resource<FieldMap>) -> usize {
        self.table.get(fields).map_or(0, |fields| fields.len() * ENTRY)
    }

    /// True if the guest holds the body of a message that it has not finished.
    pub(in crate::sandbox) fn has_unfinished_body(&mut self) -> bool {
        self.table.iter_mut().any(|entry| (entry as &dyn Any).is::<HostOutgoingBody>())
    }
}

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Sending), Error>;

impl Hooks {
    /// Counts a request. The error is a sentence for the log of the request that is being answered.
    fn admit(&mut self) -> Result<Client, (Error, String)> {
        self.has_sent = true;
        let client = self.client.clone().ok_or_else(|| {
            (Error::HttpRequestDenied, "the service may send no requests (sandbox.allow_hosts)".to_owned())
        })?;
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
        let (admitted, lines) = (self.admit(), self.lines.clone());
        let timeouts = options.map_or_else(Timeouts::default, timeouts);
        Box::new(async move {
            let sent = match admitted {
                Ok(client) => client.send(request, timeouts).await.map_err(|why| (error_of(&why), why.to_string())),
                Err(refused) => Err(refused),
            };
            match sent {
                Ok(response) => {
                    let response = response.map(|body| body.map_err(|why| error_of(&why)).boxed_unsync());
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
        Failure::TooManyConnections | Failure::TooManyOfAll(_) => Error::ConnectionLimitReached,
        Failure::Connect(_) => Error::ConnectionRefused,
        Failure::ConnectTimeout(_) => Error::ConnectionTimeout,
        Failure::Tls(_) => Error::TlsProtocolError,
        Failure::HeadTimeout(_) => Error::HttpResponseTimeout,
        Failure::Idle(_) => Error::ConnectionReadTimeout,
        Failure::Protocol(_) => Error::HttpProtocolError,
        Failure::Ending => Error::ConnectionTerminated,
    }
}
