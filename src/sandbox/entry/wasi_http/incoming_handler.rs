//! The contract `wasi:http/incoming-handler` 0.2.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode};
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::{empty, head_of, request};
use crate::call::Call;
use crate::sandbox::fault::Fault;
use crate::sandbox::guest::Answered;
use crate::sandbox::host::HostState;
use crate::sandbox::settings::Settings;

pub(in crate::sandbox::entry) async fn call(
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
