//! The build of versions: from a stored record to guests that can answer, while the running version serves.

use std::sync::Arc;

use super::guest::{LogSink, guest_settings, make};
use super::version::Version;
use crate::failpoint;
use crate::policy::{LimitOf, Policy};
use crate::registry::change::apply::OnFailure;
use crate::registry::change::{ChangeError, Progress, Report, Step};
use crate::registry::service::Service;
use crate::registry::{Registry, store_name};
use crate::sandbox::{CompileError, InitializeError, PrepareError, Prepared, Ready, Settings};
use crate::storage::{Record, StorageError};

impl Registry {
    /// Compiles, initialises and warms up the current version of `record`. `on_failure` decides about a failed warm-up.
    pub(in crate::registry) async fn build(
        &self,
        record: &Record,
        service: &Service,
        on_failure: OnFailure,
        progress: &Progress,
    ) -> Result<Arc<Version>, ChangeError> {
        let version = self.build_cold(record, service, progress).await?;
        match self.warm_up(record, &version, 0..version.instances().len(), progress).await {
            Err(error) if on_failure == OnFailure::GoOn => {
                let reason = error.reason();
                tracing::warn!(service = service.name(), version = version.number, reason, "the warm-up failed");
            }
            outcome => outcome?,
        }
        Ok(version)
    }

    async fn build_cold(
        &self,
        record: &Record,
        service: &Service,
        progress: &Progress,
    ) -> Result<Arc<Version>, ChangeError> {
        let spec = record.file.parsed()?.shared_spec();
        // The compiler compares the bytes with the digest. It reads none of them if the machine code is kept.
        let processor = record.processor.as_ref().ok_or(ChangeError::NoProcessor)?;
        let wasm = self.storage.artifacts().unverified_file(&processor.sha256).await?;
        let model_dir = self.storage.model_dir(&record.model).await?;
        progress(Report::Begun(Step::Compile));
        let store = self.stores.store(&store_name(record));
        let settings =
            Settings { image: record.image.clone(), ..guest_settings(&spec, model_dir, service.outbound(), store) };
        let (name, metrics) = (service.name().to_owned(), Arc::clone(service.metrics()));
        let sink = Arc::new(LogSink { service: name, version: record.version, metrics });
        let sha256 = processor.sha256.as_str();
        let prepared = self.sandbox.prepare(&wasm, sha256, settings, sink).await;
        let prepared = prepared.map_err(|error| of_preparing(error, sha256))?;
        failpoint::reach("deploy.compiled");
        let ready = self.make_ready(prepared, progress).await?;
        let (metrics, executor) = (Arc::clone(service.metrics()), Arc::clone(&self.executor));
        let state = service.state();
        let before = state.phase.serving().and_then(|serving| serving.versions().next());
        let policy = Policy::of(LimitOf::Service, spec.gateway_policy(), before.map(|version| version.policy()));
        let version = Version::bring_up(record.version, spec, policy, ready, executor, metrics).await?;
        failpoint::reach("deploy.initialized");
        Ok(version)
    }

    /// Initialises a first guest and takes a snapshot of it, unless guests already start from an image. A failed
    /// snapshot is reported and does not stop the deploy.
    async fn make_ready(&self, prepared: Prepared, progress: &Progress) -> Result<Ready, InitializeError> {
        let uninitialized = match prepared {
            Prepared::FromImage(program) => return Ok(Ready { program, first: None, no_snapshot: None }),
            Prepared::ToInitialize(uninitialized) => uninitialized,
        };
        progress(Report::Begun(Step::Initialize));
        let first = make(&self.executor, uninitialized.program()).await?;
        if uninitialized.wants_snapshot() {
            progress(Report::Begun(Step::Snapshot));
        }
        let ready = self.sandbox.make_ready(uninitialized, first).await;
        if let Some(reason) = &ready.no_snapshot {
            progress(Report::Notice(format!("no snapshot: {reason}")));
        }
        Ok(ready)
    }

    /// Returns the record with another version of the service as the current one.
    pub(in crate::registry) async fn record_of(&self, record: &Record, number: u64) -> Result<Record, ChangeError> {
        if number == record.version {
            return Ok(record.clone());
        }
        Ok(record.with_version(&self.history(&record.name).await?.version(number)?))
    }
}

/// Converts an error. If the file has changed since its upload, the disk is at fault and not the author.
fn of_preparing(error: PrepareError, sha256: &str) -> ChangeError {
    match error {
        PrepareError::Compile(CompileError::Changed(found)) => StorageError::Damaged {
            part: "the processor".into(),
            sha256: sha256.to_owned(),
            reason: format!("its bytes hash to {found}"),
        }
        .into(),
        other => other.into(),
    }
}
