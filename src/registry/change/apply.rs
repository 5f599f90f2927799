//! Carries plans out: whatever they need is built beside what serves, the record is written to disk, and in one step what
//! runs is in line with it.
//!
//! Bringing a service in line with a record is the same at the start of the host and after a change. Doing it again
//! changes nothing: a version that is at work is not built anew.

use std::sync::Arc;

use super::plan::{Build, Plan};
use super::request::ChangeLock;
use super::{ChangeError, Progress, Report, Step};
use crate::registry::Registry;
use crate::registry::run::version::Version;
use crate::registry::service::{Phase, Service};
use crate::registry::traffic::serving::Serving;
use crate::storage::{Record, VersionRecord};

/// The answer to a version that cannot be brought up or warmed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum OnFailure {
    /// The change is refused, and everything stays as it was.
    Refuse,
    /// At the start of the host there is nothing else that could serve: a cold version is better than none, and so is
    /// the current version without its canary. The log says so.
    GoOn,
}

impl Registry {
    /// Carries out a plan, under a lock.
    ///
    /// # Errors
    /// When a version cannot be built or the record cannot be written. What runs and what is written are as before then.
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

    /// The phase that is in line with a plan: made of the versions at work, and of new ones where those will not do.
    pub(in crate::registry) async fn in_line(
        &self,
        service: &Service,
        plan: &Plan,
        on_failure: OnFailure,
        progress: &Progress,
    ) -> Result<Phase, ChangeError> {
        let state = service.state();
        let Plan { record, version, build } = plan;
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
        // Even where nothing is to run, the change has shown that it could.
        Ok(if record.stopped { Phase::Stopped } else { Phase::Running(Serving::of(current, canary, there)) })
    }

    /// The canary's version; `None` where the host starts and it cannot be brought up.
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

/// The phase whose versions share the requests as the record says; `None` where they do already, or none is at work.
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
