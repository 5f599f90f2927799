//! The execution of plans: the versions that a plan needs are built while the old ones serve, the record is written to
//! disk, and in one step the running versions are replaced.
//!
//! A service is matched to a record in the same way at the start of the host and after a change. Repeating it changes
//! nothing: a running version is not built again.

use std::sync::Arc;

use super::plan::{Build, Plan};
use super::request::ChangeLock;
use super::{ChangeError, Progress, Report, Step};
use crate::registry::Registry;
use crate::registry::run::version::Version;
use crate::registry::service::{Phase, Service};
use crate::registry::traffic::serving::Serving;
use crate::storage::{Record, VersionRecord};

/// The reaction to a version that cannot be brought up or warmed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum OnFailure {
    /// The change is refused, and everything stays as it was.
    Refuse,
    /// The start continues, because nothing else can serve: a version that is not warm is better than none, and so is
    /// the current version without its canary. The log has the failure.
    GoOn,
}

impl Registry {
    /// Carries out a plan, with the change lock held.
    ///
    /// # Errors
    /// If a version cannot be built or the record cannot be written. The running versions and the stored record are
    /// then as before.
    pub(in crate::registry) async fn apply(
        &self,
        service: &Arc<Service>,
        lock: &ChangeLock<'_>,
        plan: Plan,
        progress: &Progress,
    ) -> Result<(), ChangeError> {
        if plan.build == Build::Nothing {
            let record = self.keep(plan.record, plan.version, lock).await?;
            match arranged(&service.state().phase, &record) {
                Some(phase) => service.swap(record, phase),
                None => service.set_record(&record),
            }
        } else {
            let _files = self.unnamed_files.read().await;
            let phase = self.in_line(service, &plan, OnFailure::Refuse, progress).await?;
            progress(Report::Begun(Step::Swap));
            if lock.creates() {
                // A host that ended while it deleted a service of this name has left its queues.
                self.close_queues_of(service.name()).await;
            }
            // The queues are there before the service is.
            self.open_queues_of(plan.record.file.parsed()?.spec()).await?;
            let _names = self.naming.lock().await;
            self.check_names(&plan.record)?;
            let record = self.keep(plan.record, plan.version, lock).await?;
            service.swap(record, phase);
            if lock.creates() {
                self.change_services(|services| {
                    services.insert(service.name().into(), Arc::clone(service).into());
                });
            }
        }
        self.regroup();
        Ok(())
    }

    /// Returns the phase for a plan: with the running versions, and with new ones if those do not fit.
    pub(in crate::registry) async fn in_line(
        &self,
        service: &Service,
        plan: &Plan,
        on_failure: OnFailure,
        progress: &Progress,
    ) -> Result<Phase, ChangeError> {
        let state = service.state();
        let Plan { record, version, build } = plan;
        if record.processor.is_none() {
            return Ok(Phase::Stopped);
        }
        let there = state.phase.serving().filter(|_| *build != Build::Everything);
        let current = match there.and_then(|there| there.version(record.version)) {
            Some(version) => version,
            None => match version {
                Some(_) => self.scaled_or_built(&state, record, service, progress).await?,
                None => self.build(record, service, on_failure, progress).await?,
            },
        };
        let canary = match record.canary {
            None => None,
            Some(canary) => match there.and_then(|there| there.version(canary.version)) {
                Some(version) => Some((version, canary.weight)),
                None => {
                    let built =
                        self.build_canary(record, canary.version, version.as_ref(), service, on_failure, progress);
                    built.await?.map(|version| (version, canary.weight))
                }
            },
        };
        // A stopped service is built as well, so that the change has shown that it can run.
        Ok(if record.stopped { Phase::Stopped } else { Phase::Running(Serving::of(current, canary, there)) })
    }

    /// Builds the canary's version. Returns `None` if this is the start of the host and the canary cannot be brought
    /// up.
    async fn build_canary(
        &self,
        record: &Record,
        number: u64,
        new: Option<&VersionRecord>,
        service: &Service,
        on_failure: OnFailure,
        progress: &Progress,
    ) -> Result<Option<Arc<Version>>, ChangeError> {
        let built = async {
            let record = match new.filter(|version| version.number == number) {
                Some(version) => record.with_version(version),
                None => self.record_of(record, number).await?,
            };
            self.build(&record, service, on_failure, progress).await
        };
        match built.await {
            Ok(version) => Ok(Some(version)),
            Err(error) if on_failure == OnFailure::GoOn => {
                tracing::error!(service = service.name(), reason = error.reason(), "the canary cannot be brought up");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the phase in which the running versions have the record's shares; `None` if they have, or if none is
/// running.
fn arranged(phase: &Phase, record: &Record) -> Option<Phase> {
    if record.stopped {
        return (!matches!(phase, Phase::Stopped)).then_some(Phase::Stopped);
    }
    let serving = phase.serving()?;
    match (&serving.canary, record.canary) {
        (Some(_), None) => Some(Phase::Running(serving.without_canary())),
        (Some(there), Some(canary)) if there.weight != canary.weight => {
            Some(Phase::Running(serving.with_weight(canary.weight)))
        }
        _ => None,
    }
}
