//! The contracts of `wasi:http`, for components that were written for other hosts: `incoming-handler` of version 0.2,
//! and `handler` of version 0.3.
//!
//! Every answer begins as a stream: the guest sets the head of its answer and goes on writing the body.

pub(super) mod handler;
pub(super) mod incoming_handler;

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;
use wasmtime_wasi_http::{Error, WasiBody};

use super::super::fault::Fault;
use super::super::host::HostState;
use super::super::program::LinkError;
use super::super::settings::Settings;
use super::Contract;
use super::answer;
use crate::call::{Answer, Body, Call, Cut, Upload, UploadFault};

/// The interfaces that such components export, without their patch versions.
pub(in crate::sandbox) const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.";
pub(in crate::sandbox) const HANDLER: &str = "wasi:http/handler@0.3.";

/// Finds the contract of a component of `wasi:http`; `None` for another component.
///
/// # Errors
/// If the component is not as its interface has it, or if the service batches.
pub(super) fn find(pre: &InstancePre<HostState>, settings: &Settings) -> Option<Result<Contract, LinkError>> {
    let component = pre.component().component_type();
    let exports = |interface: &str| component.exports(pre.engine()).any(|(name, _)| name.starts_with(interface));
    let found = if exports(INCOMING_HANDLER) {
        ProxyIndices::new(pre).map(Contract::IncomingHandler)
    } else if exports(HANDLER) {
        ServiceIndices::new(pre).map(Contract::Handler)
    } else {
        return None;
    };
    if settings.batching {
        let text =
            "it is a component of wasi:http, which answers one request at a time: take out metadata.rpc.batching";
        return Some(Err(LinkError(text.into())));
    }
    Some(found.map_err(|error| LinkError(format!("it exports a handler, but not as wasi:http has it: {error:#}"))))
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
        Some(arriving) => arriving.map_err(error_of).map_frame(filtered).boxed_unsync(),
        None => Full::new(call.body.clone()).map_err(|never| match never {}).boxed_unsync(),
    };
    let mut request = Request::builder().method(call.method.clone()).uri(target).body(body)?;
    request.headers_mut().extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    // Calls of the host itself have no `Host`, nor have some of HTTP/1.0. The interface wants an authority.
    request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    Ok(request)
}

/// Removes what must not be a trailer, and what components do not get as a header.
fn filtered(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers.remove(AUTHORIZATION);
            Frame::trailers(answer::trailers_of(trailers))
        }
        Err(frame) => frame,
    }
}

/// Returns the error that the guest gets for a body that breaks off.
fn error_of(fault: UploadFault) -> Error {
    match fault {
        UploadFault::TooLarge { limit } => Error::HttpRequestBodySize(Some(limit as u64)),
        UploadFault::Broken(_) => Error::ConnectionTerminated,
    }
}

/// Checks the head of a response.
fn head_of<B>(response: Response<B>) -> Result<Box<Answer>, Fault>
where
    B: hyper::body::Body<Data = Bytes, Error: Display> + Send + Unpin + 'static,
{
    let (parts, body) = response.into_parts();
    let length = parts.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut answer = answer::head_of(parts.status, parts.headers)?;
    let body = body.map_err(|error| Cut::by_guest(format!("the body of its answer was given up: {error}")));
    let body = body.map_frame(filtered);
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
