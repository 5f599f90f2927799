//! The contract `wasi:http/handler` 0.3: the guest returns the head of its answer, and writes the body while the host
//! sends it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, WasiHttpView};

use super::{empty, head_of, request};
use crate::call::Call;
use crate::sandbox::fault::Fault;
use crate::sandbox::guest::{Answered, Failed};
use crate::sandbox::host::{HostState, Lent};
use crate::sandbox::settings::Settings;

pub(in crate::sandbox::entry) async fn call(
    service: &Service,
    store: &mut Store<HostState>,
    call: &Arc<Call>,
    settings: &Settings,
) -> wasmtime::Result<Answered> {
    let (parts, body) = request(call)?.into_parts();
    let authority = parts.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let path = parts.uri.path_and_query().cloned();
    let body = if call.upload.is_some() { Lent::new(body, store.data().lent()).boxed_unsync() } else { body };
    let headers = FieldMap::new_immutable(store.data_mut().http().hooks, parts.headers);
    // The future resolves when the guest has read the request. The host does not need that.
    let (request, _) = Request::new(parts.method, Some(Scheme::HTTP), authority, path, headers, None, body);
    store
        .run_concurrent(async |guest| {
            let answered = begin_answer(service, guest, request, call, settings).await?;
            // All tasks of a call run within the call, with its fuel and its deadline.
            poll_fn(|cx| guest.poll_no_interesting_tasks(cx)).await;
            let body_ended = match answered {
                Ok(ended) => ended,
                Err(failed) => return Ok(Err(failed)),
            };
            // The body of the answer may still be open: a stream of the guest, or a body of the host that the guest has
            // passed on, such as that of the request.
            if guest.with(|mut store| has_leftovers(&mut store) || store.data_mut().has_lent_bodies()) {
                // A dropped sender also means that the body has ended.
                let _ = body_ended.await;
            }
            Ok(Ok(Box::new(empty(StatusCode::OK))))
        })
        .await?
}

/// Lets the guest begin its answer. Returns a message that comes, or is lost, when the body has ended.
async fn begin_answer(
    service: &Service,
    guest: &Accessor<HostState>,
    request: Request,
    call: &Call,
    settings: &Settings,
) -> wasmtime::Result<Result<oneshot::Receiver<()>, Box<Failed>>> {
    let response = match service.handle(guest, request).await? {
        Ok(response) => response,
        Err(code) => return Ok(Err(Fault::Failure { status: None, message: format!("{code:?}") }.into())),
    };
    let (sent, is_sent) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    // The guest may ask whether its answer was sent.
    let outcome = async { is_sent.await.map_err(|_| Error::ConnectionTerminated) };
    let response = guest.with(|store| response.into_http(store, outcome))?;
    match (head_of(response.map(|body| Notifying { body, sent: Some(sent), _end: end })), settings.stream) {
        (Ok(answer), Some(limits)) => call.begin_answer(*answer, limits),
        (Ok(_), None) => {}
        (Err(fault), _) => return Ok(Err(fault.into())),
    }
    Ok(Ok(ended))
}

/// True if the guest has streams, futures or tasks.
fn has_leftovers(mut store: impl AsContextMut<Data = HostState>) -> bool {
    store.as_context_mut().concurrent_resource_table().is_some_and(|table| table.iter_mut().next().is_some())
}

/// A body that notifies the guest when it has been sent, and the host when it has ended.
struct Notifying {
    body: WasiBody,
    /// Dropped without a word if the body is not sent to its end.
    sent: Option<oneshot::Sender<()>>,
    _end: oneshot::Sender<()>,
}

impl Body for Notifying {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none()
            && let Some(sent) = self.sent.take()
        {
            // The receiver is gone if the guest has dropped its future.
            let _ = sent.send(());
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
