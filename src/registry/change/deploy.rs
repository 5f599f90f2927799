//! Changes that bring up a version: create, modify, and going back to an earlier one.
//!
//! All walk the same way: check, build beside what serves, write to disk, and then one step in which the new takes the
//! old one's place.

use std::sync::Arc;

use super::request::{Order, Turn};
use super::{effect, history, tokens};
use crate::config::{MirrorRule, ServiceFile, ServiceSpec, TrafficState};
use crate::registry::run::version::Version;
use crate::registry::service::{Phase, Service};
use crate::registry::traffic::groups::USUAL_WEIGHT;
use crate::registry::traffic::serving::Serving;
use crate::registry::{Change, ChangeError, Files, Progress, Report, Step};
use crate::registry::{Effect, Registry, now};
use crate::storage::{Artifact, CanaryRecord, Digest, MirrorRecord, Record};

impl Registry {
    pub async fn create(
        &self,
        order: &Order,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let outcome = self.try_create(order, file, files, progress).await;
        self.tidy().await;
        outcome
    }

    async fn try_create(
        &self,
        order: &Order,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let name = file.spec().name().as_str().to_owned();
        let turn = match self.turn_to_create(&name, order).await {
            Err(ChangeError::Exists { .. }) => {
                let is_as_asked = |there: Arc<Service>| effect::is_as_asked(&there.state().record, file, &files);
                return Err(ChangeError::Exists { as_asked: self.find(&name).is_some_and(is_as_asked) });
            }
            turn => turn?,
        };
        progress(Report::Begun(Step::Check));
        let now = now();
        let record = Record {
            name: name.clone(),
            version: 1,
            latest: 1,
            revision: 0,
            canary: None,
            weight: USUAL_WEIGHT,
            traffic_state: file.spec().traffic_state(),
            mirror: mirror(file.spec()),
            file: file.normalised(),
            token: tokens::first(file.spec().token())?,
            previous_token: None,
            processor: self.artifact(files.processor).await?,
            model: files.model,
            warm_up: self.present(files.warm_up).await?,
            stopped: false,
            created_at: now.clone(),
            updated_at: now,
        };
        self.check_names(&record)?;
        self.check_model(&record, file.spec()).await?;
        self.check_mirror(&name, record.mirror.as_ref())?;
        let service = Arc::new(Service::new(record.clone(), Phase::Starting));
        let _files = self.unnamed_files.read().await;
        let version = self.build(&record, &service, progress).await?;
        progress(Report::Begun(Step::Swap));
        let _names = self.naming.lock().await;
        self.check_names(&record)?;
        let first = record.to_version("created".into());
        let record = self.keep_version(record, first, &turn).await?;
        service.replace(record, Phase::Running(Serving::alone(version)));
        self.change_services(|services| {
            services.insert(name.as_str().into(), Arc::clone(&service).into());
        });
        self.regroup();
        Ok(service)
    }

    pub async fn modify(
        &self,
        name: &str,
        order: &Order,
        change: Change,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        let outcome = self.try_modify(name, order, change, progress).await;
        self.tidy().await;
        outcome
    }

    async fn try_modify(
        &self,
        name: &str,
        order: &Order,
        change: Change,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        let (turn, service) = self.turn(name, order).await?;
        progress(Report::Begun(Step::Check));
        let state = service.state();
        let old = &state.record;
        if let Some(canary) = old.canary {
            return Err(ChangeError::CanaryUnderWay(canary));
        }
        let beside = match change.canary {
            None => None,
            Some(weight) => {
                let serving = state.phase.serving().ok_or(ChangeError::NotRunning(state.phase.name()))?;
                Some((serving, percent(weight)?))
            }
        };
        let present = ServiceFile::from_value(&old.file)?;
        let present_spec = present.spec().clone();
        let file = match &change.patch {
            Some(patch) => present.merge(patch)?,
            None => present,
        };
        let (token, previous_token) = tokens::after_modify(old, file.spec().token())?;
        let number = old.latest + 1;
        let traffic_state = traffic_state(old, &present_spec, file.spec());
        let mirror = match mirror(file.spec()) {
            same if same == mirror(&present_spec) => old.mirror.clone(),
            changed => {
                self.check_mirror(name, changed.as_ref())?;
                changed
            }
        };
        let record = Record {
            version: number,
            latest: number,
            file: file.normalised(),
            token,
            previous_token,
            processor: match change.processor {
                Some(digest) => self.artifact(digest).await?,
                None => self.artifact(old.processor.sha256.clone()).await?,
            },
            model: change.model.unwrap_or_else(|| old.model.clone()),
            warm_up: match change.warm_up {
                Some(warm_up) => self.present(warm_up).await?,
                None => self.present(old.warm_up.clone()).await?,
            },
            traffic_state,
            mirror,
            updated_at: now(),
            ..Record::clone(old)
        };
        self.check_names(&record)?;
        // A change of something else reads no model: its files may be large.
        if record.model != old.model || file.spec().model().entry != present_spec.model().entry {
            self.check_model(&record, file.spec()).await?;
        }
        if beside.is_some() && !tokens::are_the_same(&record, old) {
            return Err(ChangeError::CanaryToken);
        }
        // A service that could not be brought up is always started again.
        if matches!(state.phase, Phase::Running(_) | Phase::Stopped) {
            match Effect::of(old, &record) {
                Effect::Nothing => {
                    self.note_unchanged(&service, &turn).await;
                    return Ok((service, Effect::Nothing));
                }
                Effect::SameVersion => {
                    let (version, latest) = (old.version, old.latest);
                    let record = self.keep(Record { version, latest, ..record }, &turn).await?;
                    service.note(&record);
                    progress(Report::Notice("no new version: nothing differs that a guest depends on".into()));
                    return Ok((service, Effect::SameVersion));
                }
                Effect::NewVersion => {}
            }
        }
        let made = record.to_version(history::note(old, &record));
        let _files = self.unnamed_files.read().await;
        let scaled = if beside.is_none() { self.scaled(&state, &record, progress).await? } else { None };
        let version = match scaled {
            Some(version) => version,
            None => self.build(&record, &service, progress).await?,
        };
        progress(Report::Begun(Step::Swap));
        let _names = self.naming.lock().await;
        self.check_names(&record)?;
        let (record, phase) = match beside {
            None => {
                let phase = if record.stopped { Phase::Stopped } else { Phase::Running(Serving::alone(version)) };
                (record, phase)
            }
            Some((serving, weight)) => {
                let canary = Some(CanaryRecord { version: number, weight });
                let record = Record { canary, latest: number, updated_at: record.updated_at, ..Record::clone(old) };
                (record, Phase::Running(serving.clone().with_canary(version, weight)))
            }
        };
        let record = self.keep_version(record, made, &turn).await?;
        self.replace(&service, record, phase);
        Ok((service, Effect::NewVersion))
    }

    /// Makes an earlier version current again, under its own number; a canary ends. After this the version of that
    /// number answers, and no other.
    ///
    /// The version is brought up as by a deploy, unless it is at work already.
    pub async fn roll_back(
        &self,
        name: &str,
        order: &Order,
        number: u64,
        progress: &Progress,
    ) -> Result<(Arc<Service>, Effect), ChangeError> {
        let (turn, service) = self.turn(name, order).await?;
        let state = service.state();
        let is_at_work = state.phase.serving().is_some_and(|serving| serving.current.number == number);
        if is_at_work && state.record.canary.is_none() && state.record.version == number {
            self.note_unchanged(&service, &turn).await;
            return Ok((service, Effect::Nothing));
        }
        self.make_current(&service, &turn, number, progress).await?;
        Ok((service, Effect::SameVersion))
    }

    /// The same for who has the turn.
    pub(in crate::registry) async fn make_current(
        &self,
        service: &Service,
        turn: &Turn<'_>,
        number: u64,
        progress: &Progress,
    ) -> Result<(), ChangeError> {
        progress(Report::Begun(Step::Check));
        let state = service.state();
        let history = self.history(service.name()).await?;
        let old = &state.record;
        let running = state.phase.serving().and_then(|serving| at_work(serving, number));
        let version = match &running {
            Some(_) => history.version(number)?,
            None => history.whole_version(number, self.storage.artifacts()).await?,
        };
        let record = Record { canary: None, updated_at: now(), ..tokens::after_return(old, &version)? };
        let _files = self.unnamed_files.read().await;
        let version = match running {
            Some(version) => version,
            None => self.build(&record, service, progress).await?,
        };
        progress(Report::Begun(Step::Swap));
        let _names = self.naming.lock().await;
        self.check_names(&record)?;
        let record = self.keep(record, turn).await?;
        let phase = if record.stopped { Phase::Stopped } else { Phase::Running(Serving::alone(version)) };
        self.replace(service, record, phase);
        Ok(())
    }

    /// Looks up the processor's file. A record must name only files that are present and intact.
    async fn artifact(&self, sha256: Digest) -> Result<Artifact, ChangeError> {
        let bytes = self.storage.artifacts().size(&sha256, "the processor").await?;
        Ok(Artifact { sha256, bytes })
    }

    /// The same for warm-up data.
    async fn present(&self, sha256: Option<Digest>) -> Result<Option<Digest>, ChangeError> {
        if let Some(sha256) = &sha256 {
            self.storage.artifacts().size(sha256, "the warm-up data").await?;
        }
        Ok(sha256)
    }
}

/// Whether the service shares its group's requests: as it does now, unless the change says otherwise.
fn traffic_state(old: &Record, before: &ServiceSpec, after: &ServiceSpec) -> TrafficState {
    if before.traffic_state() == after.traffic_state() { old.traffic_state } else { after.traffic_state() }
}

/// What a service file says about copies of requests.
fn mirror(spec: &ServiceSpec) -> Option<MirrorRecord> {
    let MirrorRule { target, ratio } = spec.rpc().mirror.as_ref()?;
    Some(MirrorRecord { target: target.to_string(), ratio: *ratio })
}

fn at_work(serving: &Serving, number: u64) -> Option<Arc<Version>> {
    serving.versions().find(|version| version.number == number).cloned()
}

/// A share of the requests.
pub(in crate::registry) fn percent(weight: u64) -> Result<u8, ChangeError> {
    let percent = u8::try_from(weight).ok().filter(|percent| *percent <= 100);
    percent.ok_or(ChangeError::BadWeight { weight, most: 100 })
}
