//! The contract `bulkhead:processor`, world `batch-processor`: `process-batch` beside the exports of a processor.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::super::bindings::ProcessorIndices;
use super::super::bindings::batch::{BatchProcessor, BatchProcessorIndices};
use super::super::bindings::bulkhead::processor::types::Request;
use super::super::fault::Fault;
use super::super::guest::{Answered, Failed};
use super::super::host::HostState;
use super::super::program::LinkError;
use super::super::settings::Settings;
use super::{Contract, processor};
use crate::call::Call;

const MISSING: &str = "metadata.rpc.batching is true, and the processor does not export process-batch (the world \
    batch-processor; in Rust, `bulkhead_guest::export_batch!` instead of `export!`)";

pub(super) fn find(pre: &InstancePre<HostState>, processor: ProcessorIndices) -> Result<Contract, LinkError> {
    let batch = BatchProcessorIndices::new(pre).map_err(|_| LinkError(MISSING.to_owned()))?;
    Ok(Contract::Batch(processor, batch))
}

pub(super) async fn call(
    batch: &BatchProcessor,
    store: &mut Store<HostState>,
    calls: &[Arc<Call>],
    settings: &Settings,
) -> wasmtime::Result<Result<Vec<Answered>, Box<Failed>>> {
    let requests: Vec<Request<'_>> = calls.iter().map(|call| processor::request(call)).collect();
    let returned = batch.call_process_batch(store, &requests).await?;
    if returned.len() != calls.len() {
        let reason = format!("process-batch returned {} results for {} requests", returned.len(), calls.len());
        return Ok(Err(Fault::BadAnswer { reason }.into()));
    }
    Ok(Ok(returned.into_iter().map(|returned| processor::checked(returned, settings)).collect()))
}
