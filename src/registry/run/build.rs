//! From what is kept of a service to versions that can answer, without anybody noticing.

use std::sync::Arc;

use super::guest::{LogSink, guest_settings};
use super::image;
use super::version::Version;
use crate::config::ServiceFile;
use crate::failpoint;
use crate::policy::{LimitOf, Policy};
use crate::registry::Registry;
use crate::registry::change::apply::OnFailure;
use crate::registry::change::{ChangeError, Progress, Report, Step};
use crate::registry::service::Service;
use crate::sandbox::{CompileError, PrepareError, Settings};
use crate::storage::{Record, StorageError};

impl Registry {
    /// Compiles, initialises and warms up what `record` makes current. A failed warm-up is `on_failure`'s to judge.
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
        let file = ServiceFile::from_value(&record.file)?;
        // The compiler compares the bytes with the digest, and reads none where the machine code is kept.
        let wasm = self.storage.artifacts().unverified_file(&record.processor.sha256).await?;
        let model_dir = self.storage.model_dir(&record.model).await?;
        progress(Report::Begun(Step::Compile));
        let image = image::name(file.spec(), &record.processor.sha256, &record.model);
        let settings = Settings { image, ..guest_settings(file.spec(), model_dir) };
        let (name, metrics) = (service.name().to_owned(), Arc::clone(service.metrics()));
        let sink = Arc::new(LogSink { service: name, version: record.version, metrics });
        let sha256 = record.processor.sha256.as_str();
        let prepared = self.sandbox.prepare(&wasm, sha256, settings, sink).await;
        let prepared = prepared.map_err(|error| of_preparing(error, sha256))?;
        failpoint::reach("deploy.compiled");
        let ready = image::make_ready(&self.sandbox, &self.executor, prepared, progress).await?;
        let (metrics, executor) = (Arc::clone(service.metrics()), Arc::clone(&self.executor));
        let (spec, state) = (file.spec().clone(), service.state());
        let before = state.phase.serving().and_then(|serving| serving.versions().next());
        let policy = Policy::of(LimitOf::Service, spec.gateway_policy(), before.map(|version| version.policy()));
        let version = Version::bring_up(record.version, spec, policy, ready, executor, metrics).await?;
        failpoint::reach("deploy.initialized");
        Ok(version)
    }

    /// The record with another of the service's versions in it.
    pub(in crate::registry) async fn record_of(&self, record: &Record, number: u64) -> Result<Record, ChangeError> {
        if number == record.version {
            return Ok(record.clone());
        }
        Ok(record.with_version(&self.history(&record.name).await?.version(number)?))
    }
}

/// If the file has changed since its upload, the fault is the disk's and not the author's.
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
