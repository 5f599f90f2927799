//! The contract `bulkhead:processor`, world `processor`: `initialize` and `process`.

use wasmtime::Store;

use super::super::bindings::Processor;
use super::super::bindings::bulkhead::processor::types::{Failure, Model, Request, Response};
use super::super::guest::Answered;
use super::super::host::HostState;
use super::super::settings::Settings;
use super::super::wasi::MODEL_DIR;
use super::answer;
use crate::call::Call;

pub(super) async fn initialize(
    processor: &Processor,
    store: &mut Store<HostState>,
    settings: &Settings,
) -> wasmtime::Result<Result<(), String>> {
    let model = Model {
        dir: settings.model_dir.as_ref().map(|_| MODEL_DIR),
        entry: settings.model_entry.as_deref(),
        config: &settings.model_config,
    };
    processor.call_initialize(store, model).await
}

pub(super) async fn call(
    processor: &Processor,
    store: &mut Store<HostState>,
    call: &Call,
    settings: &Settings,
) -> wasmtime::Result<Answered> {
    let returned = processor.call_process(store, request(call)).await?;
    Ok(checked(returned, settings))
}

pub(super) fn request(call: &Call) -> Request<'_> {
    Request {
        method: call.method.as_str(),
        path: call.path(),
        query: call.uri.query(),
        content_type: call.content_type(),
        body: &call.body,
    }
}

pub(super) fn checked(returned: Result<Response, Failure>, settings: &Settings) -> Answered {
    match returned {
        Ok(response) => Ok(Box::new(answer::check(response, settings.max_response_bytes)?)),
        Err(failure) => Err(answer::failure(failure).into()),
    }
}
