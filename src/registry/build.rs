//! From what is kept of a service to versions that can answer, without anybody noticing.

use std::sync::Arc;

use super::change::{ChangeError, Progress, Report, Step};
use super::service::Service;
use super::serving::Serving;
use super::version::{Version, guest_settings, log_sink};
use super::{Registry, blocking, image};
use crate::config::ServiceFile;
use crate::failpoint;
use crate::sandbox::Settings;
use crate::storage::Record;

impl Registry {
    /// Compiles and initialises what `record` makes current.
    pub(super) async fn build(
        &self,
        record: &Record,
        service: &Service,
        progress: &Progress,
    ) -> Result<Arc<Version>, ChangeError> {
        let file = ServiceFile::from_value(&record.file)?;
        let (storage, wanted) = (Arc::clone(&self.storage), record.clone());
        let (wasm, model_dir) =
            blocking(move || Ok((storage.artifact(&wanted.processor.sha256)?, storage.model_dir(&wanted.model)?)))
                .await?;
        progress(Report::Begun(Step::Compile));
        let image = image::name(file.spec(), &record.processor.sha256, &record.model);
        let settings = Settings { image, ..guest_settings(file.spec(), model_dir) };
        let sink = log_sink(service.name(), record.version, Arc::clone(service.metrics()));
        let prepared = self.sandbox.prepare(&wasm, record.processor.sha256.as_str(), settings, sink).await?;
        failpoint::reach("deploy.compiled");
        let ready = image::make_ready(&self.sandbox, &self.lanes, prepared, progress).await?;
        let (metrics, lanes) = (Arc::clone(service.metrics()), Arc::clone(&self.lanes));
        let version = Version::bring_up(record.version, file.spec().clone(), ready, lanes, metrics).await?;
        failpoint::reach("deploy.initialized");
        Ok(version)
    }

    /// Everything that answers the service's requests by its record: the current version, and the canary if there is
    /// one.
    pub(super) async fn build_serving(&self, record: &Record, service: &Service) -> Result<Serving, ChangeError> {
        let serving = Serving::alone(self.build(record, service, &|_| {}).await?);
        match self.build_canary(record, service).await? {
            Some((version, weight)) => Ok(serving.with_canary(version, weight)),
            None => Ok(serving),
        }
    }

    /// The same at the start of the host, where a canary that cannot be brought up is no reason to leave the current
    /// version down: it answers all requests then.
    pub(super) async fn serving_at_start(&self, record: &Record, service: &Service) -> Result<Serving, ChangeError> {
        let serving = Serving::alone(self.build(record, service, &|_| {}).await?);
        match self.build_canary(record, service).await {
            Ok(Some((version, weight))) => Ok(serving.with_canary(version, weight)),
            Ok(None) => Ok(serving),
            Err(error) => {
                let reason = error.reason();
                tracing::error!(service = service.name(), reason, "the canary cannot be brought up");
                Ok(serving)
            }
        }
    }

    async fn build_canary(
        &self,
        record: &Record,
        service: &Service,
    ) -> Result<Option<(Arc<Version>, u8)>, ChangeError> {
        let Some(canary) = record.canary else { return Ok(None) };
        let version = self.history(service.name()).await?.version(canary.version)?;
        let version = self.build(&record.with_version(&version), service, &|_| {}).await?;
        Ok(Some((version, canary.weight)))
    }
}
