//! The creation of a version's guests: their settings from the service file, and their log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::admission::Executor;
use crate::call::{RequestId, StreamLimits};
use crate::config::{Fuel, ServiceSpec};
use crate::keyvalue::Store;
use crate::outbound::{Client, Share};
use crate::sandbox::{Fault, Guest, InitializeError, Level, LineSink, Program, Settings};
use crate::telemetry::ServiceMetrics;

/// Creates a guest in the background, because its `initialize` may take long.
pub(in crate::registry) async fn make(executor: &Executor, program: &Arc<Program>) -> Result<Guest, InitializeError> {
    let program = Arc::clone(program);
    match executor.background().spawn(async move { program.instantiate().await }).await {
        Ok(made) => made,
        Err(error) => Err(InitializeError::Host(error.to_string())),
    }
}

/// Returns the guests' settings in a service file.
pub(crate) fn guest_settings(
    spec: &ServiceSpec,
    model_dir: Option<PathBuf>,
    outbound: &Share,
    keyvalue: Store,
) -> Settings {
    let sandbox = spec.sandbox();
    let metered = |fuel| match fuel {
        Fuel::Metered(fuel) => Some(fuel),
        Fuel::Unlimited => None,
    };
    let batching = spec.rpc().batching.is_some();
    let stream = StreamLimits { idle: sandbox.stream_idle, total: sandbox.stream_total };
    Settings {
        fuel: metered(sandbox.fuel),
        stream_fuel: metered(sandbox.stream_fuel),
        memory_limit: usize::try_from(sandbox.memory_bytes).unwrap_or(usize::MAX),
        envs: spec.envs().to_vec(),
        model_dir,
        model_entry: spec.model().entry.clone(),
        model_config: spec.model().config.clone(),
        initialize_timeout: sandbox.initialize_timeout,
        max_response_bytes: sandbox.max_response_bytes,
        stream: (!batching).then_some(stream),
        outbound: (!sandbox.allow_hosts.is_empty()).then(|| Client::new(outbound.clone(), sandbox.allow_hosts.clone())),
        keyvalue: Some(keyvalue),
        max_partial_bytes: spec.queue().map_or(0, |queue| queue.max_payload_bytes),
        log_bytes: sandbox.log_bytes_per_request,
        max_requests: sandbox.max_requests_per_instance.map(|max| max.get().into()),
        batching,
        image: None,
    }
}

/// The log of a version's guests, which is written to the host's log.
pub(in crate::registry) struct LogSink {
    pub(in crate::registry) service: String,
    pub(in crate::registry) version: u64,
    pub(in crate::registry) metrics: Arc<ServiceMetrics>,
}

impl LineSink for LogSink {
    fn line(&self, request: Option<RequestId>, level: Level, text: &str) {
        let (service, version) = (self.service.as_str(), self.version);
        let request_id = request.as_ref().map(RequestId::as_str).unwrap_or_default();
        // The level of an event is fixed at its call site, hence one call for each level.
        match level {
            Level::Error => tracing::error!(target: "processor", service, version, request_id, "{text}"),
            Level::Warn => tracing::warn!(target: "processor", service, version, request_id, "{text}"),
            Level::Info => tracing::info!(target: "processor", service, version, request_id, "{text}"),
            Level::Debug => tracing::debug!(target: "processor", service, version, request_id, "{text}"),
            Level::Trace => tracing::trace!(target: "processor", service, version, request_id, "{text}"),
        }
    }

    fn dropped(&self, request: Option<RequestId>, count: u64) {
        self.metrics.log_dropped(count);
        let request_id = request.as_ref().map(RequestId::as_str).unwrap_or_default();
        tracing::warn!(target: "processor", service = self.service, request_id, count, "log lines dropped: the request has used up its log bytes");
    }

    fn fault(&self, request: Option<RequestId>, fault: &Fault, stack: &str) {
        let (service, version, kind) = (self.service.as_str(), self.version, fault.kind());
        let request_id = request.as_ref().map(RequestId::as_str).unwrap_or_default();
        let frames = (!stack.is_empty()).then(|| stack.replace('\n', " <- "));
        let stack = frames.as_deref();
        tracing::warn!(target: "processor", service, version, request_id, fault = kind, stack, "{fault}");
    }
}
