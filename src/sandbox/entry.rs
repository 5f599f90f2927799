//! The contracts by which a host calls a guest, one in each file. The rest of the sandbox sees calls and answers.

mod answer;
mod batch;
mod processor;
mod wasi_http;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

#[cfg(any(test, feature = "fuzz"))]
pub(super) use self::answer::check;
pub(super) use self::answer::head;
pub(super) use self::wasi_http::{HANDLER, INCOMING_HANDLER};
use super::bindings::batch::{BatchProcessor, BatchProcessorIndices};
use super::bindings::{Processor, ProcessorIndices};
use super::guest::{Answered, Failed};
use super::host::HostState;
use super::program::LinkError;
use super::settings::Settings;
use crate::call::Call;

/// The contract of a program, with the indices of its exports.
pub(super) enum Contract {
    Processor(ProcessorIndices),
    /// A processor that also takes several requests at once.
    Batch(ProcessorIndices, BatchProcessorIndices),
    /// A component of `wasi:http` 0.2, written for any host.
    IncomingHandler(ProxyIndices),
    /// A component of `wasi:http` 0.3.
    Handler(ServiceIndices),
}

/// The exports of one guest.
pub(super) enum Entry {
    Processor(Processor),
    Batch(Processor, BatchProcessor),
    IncomingHandler(Proxy),
    Handler(Service),
}

impl Contract {
    /// True for a component of `wasi:http`, which streams its requests and its answers.
    pub(super) fn is_wasi_http(&self) -> bool {
        matches!(self, Self::IncomingHandler(_) | Self::Handler(_))
    }

    /// True if a guest answers several requests in turn unless the service file says otherwise. Authors of components
    /// of `wasi:http` 0.2 expect a new instance for each request.
    pub(super) fn reuses_guests(&self) -> bool {
        !matches!(self, Self::IncomingHandler(_))
    }

    /// Finds the contract by the exports of the component.
    ///
    /// # Errors
    /// Says which export is missing, and how to add it.
    pub(super) fn of(pre: &InstancePre<HostState>, settings: &Settings) -> Result<Self, LinkError> {
        if let Some(found) = wasi_http::find(pre, settings) {
            return found;
        }
        let processor = ProcessorIndices::new(pre).map_err(|error| {
            LinkError(format!(
                "it is a component, but not a processor: {error:#}; the world `processor` of guest-sdk/wit lists the \
                 exports, and `bulkhead new` makes a project that has them"
            ))
        })?;
        if settings.batching { batch::find(pre, processor) } else { Ok(Self::Processor(processor)) }
    }

    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> wasmtime::Result<Entry> {
        Ok(match self {
            Self::Processor(processor) => Entry::Processor(processor.load(store, instance)?),
            Self::Batch(processor, batch) => {
                Entry::Batch(processor.load(&mut *store, instance)?, batch.load(store, instance)?)
            }
            Self::IncomingHandler(proxy) => Entry::IncomingHandler(proxy.load(store, instance)?),
            Self::Handler(service) => Entry::Handler(service.load(store, instance)?),
        })
    }
}

impl Entry {
    /// Calls the guest's `initialize`. The inner error is the guest's own.
    pub(super) async fn initialize(
        &self,
        store: &mut Store<HostState>,
        settings: &Settings,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::Processor(processor) | Self::Batch(processor, _) => {
                processor::initialize(processor, store, settings).await
            }
            Self::IncomingHandler(_) | Self::Handler(_) => Ok(Ok(())),
        }
    }

    /// Lets the guest answer a call. The outer error means that the call did not return.
    pub(super) async fn call(
        &self,
        store: &mut Store<HostState>,
        call: &Arc<Call>,
        settings: &Settings,
    ) -> wasmtime::Result<Answered> {
        match self {
            Self::Processor(processor) | Self::Batch(processor, _) => {
                processor::call(processor, store, call, settings).await
            }
            Self::IncomingHandler(proxy) => {
                Box::pin(wasi_http::incoming_handler::call(proxy, store, call, settings)).await
            }
            Self::Handler(service) => Box::pin(wasi_http::handler::call(service, store, call, settings)).await,
        }
    }

    /// Lets the guest answer several calls at once: all in their order, or none.
    ///
    /// # Panics
    /// If the contract has no batches. Only a service that batches makes batches.
    pub(super) async fn call_batch(
        &self,
        store: &mut Store<HostState>,
        calls: &[Arc<Call>],
        settings: &Settings,
    ) -> wasmtime::Result<Result<Vec<Answered>, Box<Failed>>> {
        match self {
            Self::Batch(_, batch) => batch::call(batch, store, calls, settings).await,
            Self::Processor(_) | Self::IncomingHandler(_) | Self::Handler(_) => {
                unreachable!("only a service that batches makes batches")
            }
        }
    }
}
