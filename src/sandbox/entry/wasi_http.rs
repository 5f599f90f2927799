//! The contract `wasi:http/incoming-handler` 0.2, for components that were written for other hosts.
//!
//! Every answer begins as a stream: the guest sets the head of its answer and goes on writing the body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::super::fault::Fault;
use super::super::guest::Answered;
use super::super::host::HostState;
use super::super::program::LinkError;
use super::super::settings::Settings;
use super::Contract;
use super::answer;
use crate::call::{Answer, Body, Call, Cut, Upload, UploadFault};

/// The interface that such a component exports, without its version.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// True if the component is one of `wasi:http`.
pub(super) fn is_exported(pre: &InstancePre<HostState>) -> bool {
    let component = pre.component().component_type();
    component.exports(pre.engine()).any(|(name, _)| name.starts_with(HANDLER))
}

pub(super) fn find(pre: &InstancePre<HostState>, settings: &Settings) -> Result<Contract, LinkError> {
    if settings.batching {
        let text =
            "it is a component of wasi:http, which answers one request at a time: take out metadata.rpc.batching";
        return Err(LinkError(text.into()));
    }
    let found = ProxyIndices::new(pre).map(Contract::WasiHttp);
    found.map_err(|error| {
        LinkError(format!("it exports wasi:http/incoming-handler, but not as WASI 0.2 has it: {error:#}"))
    })
}

pub(super) async fn call(
    proxy: &Proxy,
    store: &mut Store<HostState>,
    call: &Arc<Call>,
    settings: &Settings,
) -> wasmtime::Result<Answered> {
    let (request, declined) = (request(call)?, Arc::new(Mutex::new(None)));
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let answering = {
        let (call, declined, limits) = (Arc::clone(call), Arc::clone(&declined), settings.stream);
        move |response: Result<Response<HyperOutgoingBody>, ErrorCode>| match response.map(head_of) {
            Ok(Ok(answer)) => {
                if let Some(limits) = limits {
                    call.begin_answer(*answer, limits);
                }
            }
            Ok(Err(fault)) => set(&declined, fault),
            Err(code) => set(&declined, Fault::Failure { status: None, message: format!("{code}") }),
        }
    };
    let outparam = view.new_response_outparam_from_callback(answering)?;
    let called = proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, outparam).await;
    let fault = declined.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(fault) = fault {
        return Ok(Err(fault.into()));
    }
    called?;
    let reason = match (call.streaming.has_begun(), store.data_mut().has_unfinished_body()) {
        (false, _) => "it returned without an answer",
        (true, true) => "it returned without finishing the body of its answer",
        // The caller has the answer, or gets it from the call.
        (true, false) => return Ok(Ok(Box::new(empty(StatusCode::OK)))),
    };
    Ok(Err(Fault::BadAnswer { reason: reason.into() }.into()))
}

fn set(declined: &Mutex<Option<Fault>>, fault: Fault) {
    *declined.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
}

fn empty(status: StatusCode) -> Answer {
    Answer { status, content_type: None, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
}

/// Makes the request as the guest sees it: its path is the part after the service's name.
fn request(call: &Call) -> wasmtime::Result<Request<WasiBody>> {
    let path = match call.path() {
        "" => "/",
        path => path,
    };
    let target = match call.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let body = match call.upload.as_ref().and_then(Upload::take) {
        Some(arriving) => arriving.map_err(error_of).boxed_unsync(),
        None => Full::new(call.body.clone()).map_err(|never| match never {}).boxed_unsync(),
    };
    let mut request = Request::builder().method(call.method.clone()).uri(target).body(body)?;
    request.headers_mut().extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    // Calls of the host itself have no `Host`, nor have some of HTTP/1.0. The interface wants an authority.
    request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    Ok(request)
}

/// Returns the error that the guest gets for a body that breaks off.
fn error_of(fault: UploadFault) -> Error {
    match fault {
        UploadFault::TooLarge { limit } => Error::HttpRequestBodySize(Some(limit as u64)),
        UploadFault::Broken(_) => Error::ConnectionTerminated,
    }
}

/// Checks the head of a response.
fn head_of(response: Response<HyperOutgoingBody>) -> Result<Box<Answer>, Fault> {
    let (parts, body) = response.into_parts();
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut answer = answer::head_of(parts.status, parts.headers)?;
    let body = body.map_err(|error| Cut::by_guest(format!("the body of its answer was given up: {error}")));
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(answer::trailers_of(trailers)),
        Err(frame) => frame,
    });
    // A head that declares no bytes would be the whole answer, before the guest has ended it.
    answer.body = Body::Stream(match length.filter(|length| *length > 0) {
        Some(left) => DeclaredLength { body, left }.boxed_unsync(),
        None => body.boxed_unsync(),
    });
    Ok(Box::new(answer))
}

/// A body whose length the guest has declared. A guest that writes another number of bytes is cut off.
struct DeclaredLength<B> {
    body: B,
    /// The bytes that are still to come.
    left: u64,
}

impl<B: hyper::body::Body<Data = Bytes, Error = Cut> + Unpin> hyper::body::Body for DeclaredLength<B> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let left = self.left;
        let is_short = match &frame {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = left.checked_sub(size) else {
                    let cause = "it wrote more than the content-length of its answer".to_owned();
                    return Poll::Ready(Some(Err(Cut::by_guest(cause))));
                };
                self.left = left;
                frame.is_trailers() && left > 0
            }
            Some(Err(_)) | None => left > 0,
        };
        Poll::Ready(if is_short {
            let cause = format!("its body ended {left} bytes before the content-length of its answer");
            Some(Err(Cut::by_guest(cause)))
        } else {
            frame
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
