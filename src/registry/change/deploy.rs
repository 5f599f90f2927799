//! Changes that bring up a version: create, modify, and the return to an earlier version.
//!
//! All have the same steps: look up the files, make a plan, check it against the other services, and apply it.

use std::sync::Arc;

use super::effect::{self, Effect};
use super::plan::{Plan, Uploaded};
use super::request::{ChangeLock, ChangeRequest};
use super::{Change, ChangeError, Files, Progress, Report, Step};
use crate::config::ServiceFile;
use crate::registry::service::{Phase, Service};
use crate::registry::{Registry, now};
use crate::storage::Artifact;

impl Registry {
    pub async fn create(
        &self,
        request: &ChangeRequest,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        self.then_tidy(self.try_create(request, file, files, progress)).await
    }

    async fn try_create(
        &self,
        request: &ChangeRequest,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let name = file.spec().name().as_str().to_owned();
        let lock = match self.lock_to_create(&name, request).await {
            Err(ChangeError::Exists { .. }) => {
                let is_as_asked = |there: Arc<Service>| effect::is_as_asked(&there.state().record, file, &files);
                return Err(ChangeError::Exists { as_asked: self.find(&name).is_some_and(is_as_asked) });
            }
            lock => lock?,
        };
        progress(Report::Begun(Step::Check));
        let uploaded = self.uploaded(files).await?;
        let plan = Plan::create(file, uploaded, now())?;
        self.check_names(&plan.record)?;
        self.check_model(&plan.record, file.spec()).await?;
        self.check_mirror(&name, plan.record.mirror.as_ref())?;
        let service = Arc::new(Service::new(plan.record.clone(), Phase::Starting, self.outbound.share()));
        let applied = self.apply(&service, &lock, plan, progress).await;
        if applied.is_err() && self.find(&name).is_none() {
            // The guests have run, and may have written.
            self.remove_store(&service.state().record).await;
        }
        applied.map(|()| service)
    }

    pub async fn modify(
        &self,
        name: &str,
        request: &ChangeRequest,
        change: Change,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        self.then_tidy(self.try_modify(name, request, change, progress)).await
    }

    async fn try_modify(
        &self,
        name: &str,
        request: &ChangeRequest,
        change: Change,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        progress(Report::Begun(Step::Check));
        let state = service.state();
        let old = &state.record;
        if let Some(canary) = old.canary {
            return Err(ChangeError::CanaryUnderWay(canary));
        }
        let canary = match change.canary {
            None => None,
            Some(_) if state.phase.serving().is_none() => return Err(ChangeError::NotRunning(state.phase.name())),
            Some(weight) => Some(percent("weight", weight)?),
        };
        let before = old.file.parsed()?;
        let entry_before = before.spec().model().entry.clone();
        let file = match &change.patch {
            Some(patch) => before.merge(patch)?,
            None => before.clone(),
        };
        if before.spec().queue().is_some() != file.spec().queue().is_some() {
            return Err(ChangeError::OtherType);
        }
        let uploaded = self.uploaded(Files {
            processor: match file.spec().processor_path() {
                None if change.processor.is_some() => return Err(ChangeError::NoProcessor),
                None => None,
                Some(_) => {
                    let there = old.processor.as_ref().map(|processor| processor.sha256.clone());
                    Some(change.processor.or(there).ok_or(ChangeError::NoProcessor)?)
                }
            },
            model: change.model.unwrap_or_else(|| old.model.clone()),
            warm_up: change.warm_up.unwrap_or_else(|| old.warm_up.clone()),
        });
        // A service that could not be brought up is built again in any case.
        let up = matches!(state.phase, Phase::Running(_) | Phase::Stopped);
        let (plan, effect) = Plan::modify(old, &file, uploaded.await?, canary, up, now())?;
        let newest = plan.newest();
        if newest.mirror != old.mirror {
            self.check_mirror(name, newest.mirror.as_ref())?;
        }
        self.check_names(&newest)?;
        // The model is read only if it changes, because its files may be large.
        if newest.model != old.model || file.spec().model().entry != entry_before {
            self.check_model(&newest, file.spec()).await?;
        }
        if effect == Effect::Nothing {
            self.note_unchanged(&service, &lock).await;
            return Ok((service, effect));
        }
        self.apply(&service, &lock, plan, progress).await?;
        if effect == Effect::SameVersion {
            progress(Report::Notice("no new version: the change does not affect guests".into()));
        }
        Ok((service, effect))
    }

    /// Makes an earlier version current again, under its own number. A canary ends, so that only this version answers.
    ///
    /// The version is brought up as in a deploy, unless it is already running.
    pub async fn roll_back(
        &self,
        name: &str,
        request: &ChangeRequest,
        number: u64,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        let state = service.state();
        let is_at_work = state.phase.serving().is_some_and(|serving| serving.current.number == number);
        if is_at_work && state.record.canary.is_none() && state.record.version == number {
            self.note_unchanged(&service, &lock).await;
            return Ok((service, Effect::Nothing));
        }
        self.make_current(&service, &lock, number, progress).await?;
        Ok((service, Effect::SameVersion))
    }

    /// As [`Registry::roll_back`], with the change lock held.
    pub(in crate::registry) async fn make_current(
        &self,
        service: &Arc<Service>,
        lock: &ChangeLock<'_>,
        number: u64,
        progress: &Progress,
    ) -> Result<(), ChangeError> {
        progress(Report::Begun(Step::Check));
        let state = service.state();
        let history = self.history(service.name()).await?;
        let version = match state.phase.serving().and_then(|serving| serving.version(number)) {
            Some(_) => history.version(number)?,
            None => history.whole_version(number, self.storage.artifacts()).await?,
        };
        self.apply(service, lock, Plan::return_to(&state.record, &version, now())?, progress).await
    }

    /// Looks up the files of a service, because a record must name only files that exist and are intact.
    async fn uploaded(&self, files: Files) -> Result<Uploaded, ChangeError> {
        let Files { processor, model, warm_up } = files;
        let artifacts = self.storage.artifacts();
        let processor = match processor {
            Some(sha256) => {
                let bytes = artifacts.size(&sha256, "the processor").await?;
                Some(Artifact { sha256, bytes })
            }
            None => None,
        };
        if let Some(sha256) = &warm_up {
            artifacts.size(sha256, "the warm-up data").await?;
        }
        Ok(Uploaded { processor, model, warm_up })
    }
}

/// Checks a share of the requests, in percent.
pub(in crate::registry) fn percent(name: &'static str, weight: u64) -> Result<u8, ChangeError> {
    let percent = u8::try_from(weight).ok().filter(|percent| *percent <= 100);
    percent.ok_or(ChangeError::BadWeight { name, weight, most: 100 })
}
