//! Which services exist, and every change to them.
//!
//! A change is checked, compiled, initialised and written to disk before anybody sees it; then the new version takes the
//! old one's place in one step, and the old one ends with the last request it is answering. Whatever fails before that
//! step leaves everything as it was.

mod change;
mod run;
mod service;
mod startup;
mod traffic;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use self::change::apply::OnFailure;
use self::change::commit::Unsettled;
pub use self::change::effect::Effect;
use self::change::plan::Plan;
pub use self::change::request::{ChangeRequest, Condition, Operator};
pub use self::change::tokens::TokenChange;
pub use self::change::{Change, ChangeError, Files, Progress, Report, Step};
pub use self::run::crashes::Crash;
pub use self::run::faults::LastFault;
pub(crate) use self::run::guest::guest_settings;
pub use self::run::instance::InstanceStatus;
pub use self::run::replacements::Trouble;
pub use self::run::ticket::{NotAdmitted, Stopped, Ticket, Waited};
pub use self::run::version::Version;
pub use self::service::{Phase, Service, ServiceState, State};
use self::startup::Startup;
use self::traffic::groups::Group;
pub use self::traffic::groups::{Part, Unresolved};
pub use self::traffic::mirror::Mirror;
pub use self::traffic::serving::{Account, Canary, Chosen, Serving};
use crate::admission::Executor;
use crate::failpoint;
use crate::sandbox::Sandbox;
use crate::storage::{Storage, StorageError};
use crate::threads::ShardedArc;

/// Services that come up at the same time when the host starts. Most of it is reading files; what must be compiled waits
/// its turn anyway.
const STARTING_AT_ONCE: usize = 16;

/// The services of one host.
pub struct Registry {
    services: ArcSwap<HashMap<Box<str>, ShardedArc<Service>>>,
    groups: ArcSwap<HashMap<Box<str>, Arc<Group>>>,
    storage: Arc<Storage>,
    sandbox: Sandbox,
    executor: Arc<Executor>,
    /// Held for reading while a deploy uses files that no record names yet, so that nobody sweeps them away.
    unnamed_files: tokio::sync::RwLock<()>,
    /// Held while the groups' shares are given out anew.
    regrouping: Mutex<()>,
    /// Held while a service takes a name or a group, from the last look at the others until it has it.
    naming: tokio::sync::Mutex<()>,
    startup: Arc<Startup>,
    /// One change at a time per name.
    changing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    unsettled: Unsettled,
}

impl Registry {
    /// Removes what an earlier host has left behind, and knows every service of the data directory; none of them runs yet.
    ///
    /// # Errors
    /// A storage that cannot be read or cleaned.
    pub async fn open(storage: Arc<Storage>, sandbox: Sandbox, executor: Arc<Executor>) -> Result<Self, StorageError> {
        storage.clean().await?;
        let records = storage.catalog().records().await?;
        let startup = Arc::new(Startup::of(records.iter().filter(|record| !record.stopped).count()));
        let services = records
            .into_iter()
            .map(|record| {
                let phase = if record.stopped { Phase::Stopped } else { Phase::Starting };
                (record.name.as_str().into(), Arc::new(Service::new(record, phase)).into())
            })
            .collect();
        let registry = Self {
            services: ArcSwap::from_pointee(services),
            groups: ArcSwap::default(),
            storage,
            sandbox,
            executor,
            regrouping: Mutex::default(),
            naming: tokio::sync::Mutex::default(),
            unnamed_files: tokio::sync::RwLock::default(),
            startup,
            changing: Mutex::default(),
            unsettled: Unsettled::default(),
        };
        registry.regroup();
        Ok(registry)
    }

    /// Brings up every service that was running, several at once. One that cannot be brought up is marked failed and keeps
    /// its record.
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

    /// The progress of the host's start in words: `3 of 12 services done`.
    pub fn progress(&self) -> String {
        self.startup.progress(self.left())
    }

    /// The same for a service that is not done yet: `compiling; 3 of 12 services done`.
    pub fn progress_of(&self, service: &str) -> String {
        self.startup.progress_of(service, self.left())
    }

    /// Whether every service has been brought up, or has failed to be.
    pub fn is_settled(&self) -> bool {
        self.left() == 0
    }

    /// Services that the host's start has not come to yet, nor anybody else.
    fn left(&self) -> usize {
        let services = self.services.load();
        services.values().filter(|service| matches!(service.look().phase, Phase::Starting)).count()
    }

    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).map(|service| Arc::clone(service))
    }

    /// All services, by name.
    pub fn list(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> = self.services.load().values().map(|service| Arc::clone(service)).collect();
        services.sort_by(|a, b| a.name().cmp(b.name()));
        services
    }

    /// Requests that the present services have accepted, and those that have ended.
    pub fn account(&self) -> (u64, u64) {
        let accounts = self.services.load();
        let sum = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        accounts.values().map(|service| service.metrics().account()).fold((0, 0), sum)
    }

    /// Makes `services` hold what `change` makes of them.
    fn change_services(&self, change: impl Fn(&mut HashMap<Box<str>, ShardedArc<Service>>)) {
        self.services.rcu(|services| {
            let mut services = HashMap::clone(services);
            change(&mut services);
            services
        });
    }

    /// Removes what no service needs any more: an old version's files, or those of a deploy that was refused.
    async fn tidy(&self) {
        self.tidy_with(self.storage.sweep()).await;
    }

    /// Carries out a change, and removes what is not needed any more after it.
    async fn then_tidy<T>(&self, change: impl Future<Output = T>) -> T {
        let outcome = change.await;
        self.tidy().await;
        outcome
    }

    /// While a deploy is under way its files are in danger; then this is left to whoever comes last.
    async fn tidy_with(&self, sweep: impl Future<Output = Result<(), StorageError>>) {
        let Ok(_alone) = self.unnamed_files.try_write() else { return };
        if let Err(error) = sweep.await {
            // The change itself has been made, or refused for its own reason.
            tracing::warn!(error = error.with_source(), "files that nobody needs could not be removed");
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
