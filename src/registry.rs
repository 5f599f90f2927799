//! The services of a host, and every change to them.
//!
//! A change is checked, compiled, initialised and written to disk before callers see it. Then the new version replaces
//! the old one in one step, and the old one ends with its last request. A failure before that step leaves everything as
//! it was.

mod change;
mod queues;
#[cfg(test)]
pub(crate) mod reference;
mod run;
mod service;
mod startup;
mod traffic;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::change::apply::OnFailure;
use self::change::commit::Unsettled;
pub use self::change::effect::Effect;
use self::change::plan::Plan;
pub use self::change::request::{ChangeRequest, Condition, Operator};
pub use self::change::tokens::TokenChange;
pub use self::change::{Change, ChangeError, Files, Progress, Report, Step};
pub use self::queues::Cancelled;
pub use self::run::crashes::Crash;
pub use self::run::faults::LastFault;
pub(crate) use self::run::guest::guest_settings;
pub use self::run::instance::InstanceStatus;
pub use self::run::replacements::Trouble;
pub(crate) use self::run::streamed::CallDeadline;
pub use self::run::ticket::{NotAdmitted, Stopped, Ticket, Waited};
pub use self::run::version::Version;
pub use self::run::work::Ran;
pub use self::service::{Phase, Service, ServiceState, State};
use self::startup::Startup;
use self::traffic::groups::Group;
pub use self::traffic::groups::{Part, Unresolved};
pub use self::traffic::mirror::Mirror;
pub use self::traffic::serving::{Account, Canary, Chosen, Serving};
use crate::admission::Executor;
use crate::failpoint;
use crate::keyvalue::Stores;
use crate::outbound::Pool;
use crate::queue::Queues;
use crate::sandbox::Sandbox;
use crate::storage::{Record, Storage, StorageError};
use crate::threads::ShardedArc;

/// Services that are brought up at the same time at the start of the host. Most of the work is reading files;
/// compilations queue anyway.
const STARTING_AT_ONCE: usize = 16;

/// The services of one host.
pub struct Registry {
    services: ArcSwap<HashMap<Box<str>, ShardedArc<Service>>>,
    groups: ArcSwap<HashMap<Box<str>, Arc<Group>>>,
    storage: Arc<Storage>,
    sandbox: Sandbox,
    executor: Arc<Executor>,
    outbound: Arc<Pool>,
    stores: Arc<Stores>,
    queues: Queues,
    /// Changes after a service has come, gone, or changed its phase.
    changes: watch::Sender<u64>,
    /// Held for reading while a deploy uses files that no record names yet, so that no sweep removes them.
    unnamed_files: tokio::sync::RwLock<()>,
    /// Held while the groups' shares are assigned.
    regrouping: Mutex<()>,
    /// Held while a service takes a name or a group: from the check against the other services until it has it.
    naming: tokio::sync::Mutex<()>,
    startup: Arc<Startup>,
    /// One lock per name, so that a service has one change at a time.
    changing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    unsettled: Unsettled,
}

/// The name of a service's key-value store. A service that is created again has another store, so that late guests of
/// the deleted one do not write into it.
fn store_name(record: &Record) -> String {
    format!("{} {:016x}", record.name, record.store_id)
}

impl Registry {
    /// Removes the leftovers of an earlier host, and loads every service of the data directory. None of them runs yet.
    ///
    /// # Errors
    /// If the storage cannot be read or cleaned.
    pub async fn open(
        storage: Arc<Storage>,
        sandbox: Sandbox,
        executor: Arc<Executor>,
        outbound: Arc<Pool>,
        queues: Queues,
    ) -> Result<Self, StorageError> {
        storage.clean().await?;
        let records = storage.catalog().records().await?;
        let stores = Arc::new(Stores::new(storage.keyvalue(), executor.background().clone()));
        if let Err(error) = stores.keep_only(records.iter().map(store_name).collect()).await {
            tracing::warn!(error = error.told(), "the key-value stores of deleted services are not removed");
        }
        let startup = Arc::new(Startup::of(records.iter().filter(|record| !record.stopped).count()));
        let services = records
            .into_iter()
            .map(|record| {
                let phase = if record.stopped { Phase::Stopped } else { Phase::Starting };
                (record.name.as_str().into(), Arc::new(Service::new(record, phase, outbound.share())).into())
            })
            .collect();
        let registry = Self {
            services: ArcSwap::from_pointee(services),
            groups: ArcSwap::default(),
            storage,
            sandbox,
            executor,
            outbound,
            stores,
            queues,
            changes: watch::Sender::new(0),
            regrouping: Mutex::default(),
            naming: tokio::sync::Mutex::default(),
            unnamed_files: tokio::sync::RwLock::default(),
            startup,
            changing: Mutex::default(),
            unsettled: Unsettled::default(),
        };
        registry.regroup();
        registry.open_queues().await?;
        Ok(registry)
    }

    /// Brings up every service that was running, several at once. A service that cannot be brought up is marked as
    /// failed and keeps its record.
    pub async fn start_all(self: Arc<Self>) {
        tokio::task::block_in_place(|| failpoint::reach("start"));
        let _files = self.unnamed_files.read().await;
        let mut coming = self.list().into_iter().filter(|service| matches!(service.state().phase, Phase::Starting));
        let mut starting = JoinSet::new();
        let mut watch = self.startup.watch();
        loop {
            while starting.len() < STARTING_AT_ONCE
                && let Some(service) = coming.next()
            {
                let registry = Arc::clone(&self);
                starting.spawn(async move { registry.bring_up(&service).await });
            }
            tokio::select! {
                ended = starting.join_next() => match ended {
                    Some(_) => {}
                    None => return watch.end(),
                },
                () = watch.tick(|| self.left()) => {}
            }
        }
    }

    async fn bring_up(&self, service: &Service) {
        let (startup, name) = (Arc::clone(&self.startup), service.name().to_owned());
        let hear = move |report| startup.hear(&name, &report);
        let plan = Plan::bring_up(&service.state().record);
        let phase = match self.in_line(service, &plan, OnFailure::GoOn, &hear).await {
            Ok(phase) => phase,
            Err(error) => {
                let reason = error.reason();
                tracing::error!(service = service.name(), reason, "service cannot be brought up");
                Phase::Failed(reason)
            }
        };
        tokio::task::block_in_place(|| failpoint::reach("start.brought_up"));
        service.finish_start(&phase);
        self.startup.ended(service.name());
        self.regroup();
    }

    /// Describes the progress of the host's start: `3 of 12 services done`.
    pub fn progress(&self) -> String {
        self.startup.progress(self.left())
    }

    /// As [`Self::progress`], for a service that is not done yet: `compiling; 3 of 12 services done`.
    pub fn progress_of(&self, service: &str) -> String {
        self.startup.progress_of(service, self.left())
    }

    /// True if every service has been brought up or has failed.
    pub fn is_settled(&self) -> bool {
        self.left() == 0
    }

    /// Returns the number of services that the host's start has still to bring up.
    fn left(&self) -> usize {
        let services = self.services.load();
        services.values().filter(|service| matches!(service.look().phase, Phase::Starting)).count()
    }

    /// Removes the key-value store of a service that is gone.
    async fn remove_store(&self, record: &Record) {
        if let Err(error) = self.stores.remove(&store_name(record)).await {
            let service = &*record.name;
            tracing::warn!(service, error = error.told(), "its key-value store is removed at the next start");
        }
    }

    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).map(|service| Arc::clone(service))
    }

    /// Returns all services, sorted by name.
    pub fn list(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.services.load().values().map(|service| Arc::clone(service)).collect();
        services.sort_by(|a, b| a.name().cmp(b.name()));
        services
    }

    /// Returns the numbers of accepted and of ended requests, over all existing services.
    pub fn account(&self) -> (u64, u64) {
        let accounts = self.services.load();
        let sum = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        accounts.values().map(|service| service.metrics().account()).fold((0, 0), sum)
    }

    /// Applies `change` to the map of services.
    fn change_services(&self, change: impl Fn(&mut HashMap<Box<str>, ShardedArc<Service>>)) {
        self.services.rcu(|services| {
            let mut services = HashMap::clone(services);
            change(&mut services);
            services
        });
    }

    /// Removes unused files: those of an old version, or of a refused deploy.
    async fn tidy(&self) {
        self.tidy_with(self.storage.sweep()).await;
    }

    /// Carries out a change, and removes unused files after it.
    async fn then_tidy<T>(&self, change: impl Future<Output = T>) -> T {
        let outcome = change.await;
        self.tidy().await;
        outcome
    }

    /// Runs `sweep`, unless a deploy is under way whose files it could remove. The last of several deploys sweeps.
    async fn tidy_with(&self, sweep: impl Future<Output = Result<(), StorageError>>) {
        let Ok(_alone) = self.unnamed_files.try_write() else { return };
        if let Err(error) = sweep.await {
            // The change itself has succeeded, or failed for its own reason.
            tracing::warn!(error = error.with_source(), "unused files could not be removed");
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
