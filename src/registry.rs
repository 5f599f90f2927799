//! Which services exist, and every change to them.
//!
//! A change is checked, compiled, initialised and written to disk before anybody sees it; then the new version takes the
//! old one's place in one step, and the old one ends with the last request it is answering. Whatever fails before that
//! step leaves everything as it was.

mod change;
mod image;
mod rate;
mod replacements;
mod service;
mod tokens;
mod version;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

pub use self::change::{Change, ChangeError, Files, Progress, Report, Step};
pub use self::rate::Limited;
pub use self::replacements::Trouble;
pub use self::service::{Phase, Service, State};
pub use self::tokens::TokenChange;
pub(crate) use self::version::guest_settings;
pub use self::version::{Stopped, Ticket, Version};
use crate::admission::Lanes;
use crate::config::ServiceFile;
use crate::failpoint;
use crate::sandbox::{Sandbox, Settings};
use crate::storage::{Artifact, Digest, Record, Storage, StorageError};
use arc_swap::ArcSwap;
use tokio::task::JoinSet;

/// Services that come up at the same time when the host starts. Most of it is reading files; what must be compiled waits
/// its turn anyway.
const STARTING_AT_ONCE: usize = 16;

/// The services of one host.
pub struct Registry {
    services: ArcSwap<HashMap<Box<str>, Arc<Service>>>,
    storage: Arc<Storage>,
    sandbox: Sandbox,
    lanes: Arc<Lanes>,
    /// Held for reading while a deploy uses files that no record names yet, so that nobody sweeps them away.
    unnamed_files: tokio::sync::RwLock<()>,
    /// One change at a time per name.
    changing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Registry {
    /// Removes what an earlier host has left behind, and knows every service of the data directory; none of them runs yet.
    pub fn open(storage: Arc<Storage>, sandbox: Sandbox, lanes: Arc<Lanes>) -> Result<Self, StorageError> {
        storage.clean(image::name_of)?;
        let services = storage
            .records()?
            .into_iter()
            .map(|record| {
                let phase = if record.stopped { Phase::Stopped } else { Phase::Starting };
                (record.name.as_str().into(), Arc::new(Service::new(record, phase)))
            })
            .collect();
        Ok(Self {
            services: ArcSwap::from_pointee(services),
            storage,
            sandbox,
            lanes,
            unnamed_files: tokio::sync::RwLock::default(),
            changing: Mutex::default(),
        })
    }

    /// Brings up every service that was running, several at once. One that cannot be brought up is marked failed and keeps
    /// its record.
    pub async fn start_all(self: Arc<Self>) {
        tokio::task::block_in_place(|| failpoint::reach("start"));
        let _files = self.unnamed_files.read().await;
        let mut coming = self.list().into_iter().filter(|service| matches!(service.state().phase, Phase::Starting));
        let mut starting = JoinSet::new();
        loop {
            while starting.len() < STARTING_AT_ONCE
                && let Some(service) = coming.next()
            {
                let registry = Arc::clone(&self);
                starting.spawn(async move { registry.bring_up(&service).await });
            }
            if starting.join_next().await.is_none() {
                return;
            }
        }
    }

    async fn bring_up(&self, service: &Service) {
        let phase = match self.build(&service.state().record, service, &|_| {}).await {
            Ok(version) => Phase::Running(version),
            Err(error) => {
                let reason = error.reason();
                tracing::error!(service = %service.name(), reason, "service cannot be brought up");
                Phase::Failed(reason)
            }
        };
        service.enter(&phase);
    }

    /// Whether every service has been brought up, or has failed to be.
    pub fn is_settled(&self) -> bool {
        self.services.load().values().all(|service| !matches!(service.state().phase, Phase::Starting))
    }

    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).cloned()
    }

    /// All services, by name.
    pub fn list(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.services.load().values().cloned().collect();
        services.sort_by(|a, b| a.name().cmp(b.name()));
        services
    }

    /// Requests that the present services have accepted, and those that have ended.
    pub fn account(&self) -> (u64, u64) {
        let accounts = self.services.load();
        let sum = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        accounts.values().map(|service| service.metrics().account()).fold((0, 0), sum)
    }

    pub async fn create(
        &self,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let outcome = self.try_create(file, files, progress).await;
        self.tidy().await;
        outcome
    }

    async fn try_create(
        &self,
        file: &ServiceFile,
        files: Files,
        progress: &Progress,
    ) -> Result<Arc<Service>, ChangeError> {
        let name = file.spec().name().as_str().to_owned();
        let _turn = self.turn(&name).await;
        if self.find(&name).is_some() {
            return Err(ChangeError::Exists);
        }
        progress(Report::Begun(Step::Check));
        let token = tokens::first(file.spec().token())?;
        let now = now();
        let record = Record {
            name: name.clone(),
            version: 1,
            file: file.normalised(),
            token,
            previous_token: None,
            processor: self.artifact(files.processor)?,
            model: files.model,
            warm_up: self.present(files.warm_up)?,
            stopped: false,
            created_at: now.clone(),
            updated_at: now,
        };
        let service = Arc::new(Service::new(record.clone(), Phase::Starting));
        let _files = self.unnamed_files.read().await;
        let version = self.build(&record, &service, progress).await?;
        progress(Report::Begun(Step::Swap));
        self.keep(record).await?;
        service.enter(&Phase::Running(version));
        self.services.rcu(|services| {
            let mut services = HashMap::clone(services);
            services.insert(name.as_str().into(), Arc::clone(&service));
            services
        });
        Ok(service)
    }

    pub async fn modify(&self, name: &str, change: Change, progress: &Progress) -> Result<Arc<Service>, ChangeError> {
        let outcome = self.try_modify(name, change, progress).await;
        self.tidy().await;
        outcome
    }

    async fn try_modify(&self, name: &str, change: Change, progress: &Progress) -> Result<Arc<Service>, ChangeError> {
        let _turn = self.turn(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        progress(Report::Begun(Step::Check));
        let state = service.state();
        let old = &state.record;
        let present = ServiceFile::from_value(&old.file)?;
        let file = match &change.patch {
            Some(patch) => present.merge(patch)?,
            None => present,
        };
        let (token, previous_token) = tokens::after_modify(old, file.spec().token())?;
        let record = Record {
            version: old.version + 1,
            file: file.normalised(),
            token,
            previous_token,
            processor: match change.processor {
                Some(digest) => self.artifact(digest)?,
                None => old.processor.clone(),
            },
            model: change.model.unwrap_or_else(|| old.model.clone()),
            warm_up: match change.warm_up {
                Some(warm_up) => self.present(warm_up)?,
                None => old.warm_up.clone(),
            },
            updated_at: now(),
            ..Record::clone(old)
        };
        let _files = self.unnamed_files.read().await;
        let version = self.build(&record, &service, progress).await?;
        progress(Report::Begun(Step::Swap));
        self.keep(record.clone()).await?;
        let phase = if record.stopped { Phase::Stopped } else { Phase::Running(version) };
        service.replace(record, phase);
        Ok(service)
    }

    /// Stops taking requests; those under way are finished.
    pub async fn stop(&self, name: &str) -> Result<Arc<Service>, ChangeError> {
        let _turn = self.turn(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let record = Record { stopped: true, updated_at: now(), ..Record::clone(&service.state().record) };
        self.keep(record.clone()).await?;
        service.replace(record, Phase::Stopped);
        Ok(service)
    }

    /// Brings a stopped or failed service up; one that runs keeps running.
    pub async fn start(&self, name: &str) -> Result<Arc<Service>, ChangeError> {
        let _turn = self.turn(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let state = service.state();
        if matches!(state.phase, Phase::Running(_)) {
            return Ok(service);
        }
        let record = Record { stopped: false, updated_at: now(), ..Record::clone(&state.record) };
        let _files = self.unnamed_files.read().await;
        let version = self.build(&record, &service, &|_| {}).await?;
        self.keep(record.clone()).await?;
        service.replace(record, Phase::Running(version));
        Ok(service)
    }

    /// Forgets a service. Its files go when no other service needs them.
    pub async fn delete(&self, name: &str) -> Result<(), ChangeError> {
        let _turn = self.turn(name).await;
        let service = self.find(name).ok_or(ChangeError::NotFound)?;
        let (storage, owned) = (Arc::clone(&self.storage), name.to_owned());
        blocking(move || storage.remove(&owned)).await?;
        failpoint::reach("delete.removed");
        self.services.rcu(|services| {
            let mut services = HashMap::clone(services);
            services.remove(name);
            services
        });
        service.enter(&Phase::Stopped);
        failpoint::reach("delete.forgotten");
        self.tidy_with(Storage::sweep_models).await;
        self.tidy().await;
        Ok(())
    }

    /// Removes what no service needs any more: an old version's files, or those of a deploy that was refused.
    async fn tidy(&self) {
        self.tidy_with(|storage| storage.sweep(image::name_of)).await;
    }

    /// While a deploy is under way its files are in danger; then this is left to whoever comes last.
    async fn tidy_with(&self, sweep: fn(&Storage) -> Result<(), StorageError>) {
        let Ok(_alone) = self.unnamed_files.try_write() else { return };
        let storage = Arc::clone(&self.storage);
        if let Err(error) = blocking(move || sweep(&storage)).await {
            // The change itself has been made, or refused for its own reason.
            tracing::warn!(error = error.with_source(), "files that nobody needs could not be removed");
        }
    }

    /// Compiles and initialises what `record` describes, without anybody noticing.
    async fn build(
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
        let sink = version::log_sink(service.name(), record.version, Arc::clone(service.metrics()));
        let prepared = self.sandbox.prepare(&wasm, record.processor.sha256.as_str(), settings, sink).await?;
        failpoint::reach("deploy.compiled");
        let ready = image::make_ready(&self.sandbox, &self.lanes, prepared, progress).await?;
        let (metrics, lanes) = (Arc::clone(service.metrics()), Arc::clone(&self.lanes));
        let version = Version::bring_up(record.version, file.spec().clone(), ready, lanes, metrics).await?;
        failpoint::reach("deploy.initialized");
        Ok(version)
    }

    async fn keep(&self, record: Record) -> Result<(), ChangeError> {
        let storage = Arc::clone(&self.storage);
        blocking(move || storage.put(&record)).await?;
        failpoint::reach("deploy.kept");
        Ok(())
    }

    fn artifact(&self, sha256: Digest) -> Result<Artifact, ChangeError> {
        let path = self.storage.artifact(&sha256)?;
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Ok(Artifact { sha256, bytes })
    }

    /// A record names no file that is not there.
    fn present(&self, sha256: Option<Digest>) -> Result<Option<Digest>, ChangeError> {
        if let Some(sha256) = &sha256 {
            self.storage.artifact(sha256)?;
        }
        Ok(sha256)
    }

    /// Waits for the turn to change the service of that name.
    async fn turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // Names nobody is changing are forgotten, so that the map stays as small as the work under way.
            changing.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(changing.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(StorageError::Io { what: "finish work on the disk".into(), source: std::io::Error::other(error) })
    })
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
