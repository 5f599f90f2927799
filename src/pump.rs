//! The consumers of this host: for each asynchronous service that runs, one task takes items from the input queue and
//! has the processor work on them. An item is the same call as a request, and goes through the same admission.
//!
//! The end of a call decides what becomes of its item:
//!
//! | end | item |
//! |---|---|
//! | the processor answers, with whatever status | finished; the answer is put into the sink |
//! | a fault of the processor, or its fuel is used up | finished; the refusal is put into the sink |
//! | `queue.timeout_ms` has passed, or the host has failed | delivered again after a pause, or dead |
//! | the version was replaced or stopped, no worker was there, or the host ends | given back; the delivery does not count |
//! | it was cancelled | finished; the sink gets a result with `lastCode` 499 |

mod callback;
mod item;
mod job;
mod service;

use std::sync::Arc;

use futures_util::future::{pending, select_all};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::outcome::Ledger;
use crate::registry::{Registry, Service};

/// The running tasks of all services.
pub(crate) struct Pumps {
    supervisor: JoinHandle<()>,
    stop: watch::Sender<Stop>,
}

/// The progress of the end of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// Nothing more is taken; running items may end.
    Drain,
    /// Running items are given back.
    Now,
}

/// The parts that every task needs.
#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<Stop>,
}

impl Pumps {
    /// Starts a task for each asynchronous service that runs, now and later.
    pub(crate) fn start(registry: Arc<Registry>, ledger: Arc<Ledger>) -> Self {
        let (stop, stopped) = watch::channel(Stop::No);
        let shared = Shared { registry, ledger, stop: stopped };
        Self { supervisor: tokio::spawn(supervise(shared)), stop }
    }

    /// Stops taking items. Returns when no item is being worked on any more.
    pub(crate) async fn drain(&mut self) {
        self.stop.send_replace(Stop::Drain);
        // A panic of the task was logged.
        let _ = (&mut self.supervisor).await;
    }

    /// Gives back the items that are being worked on.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(Stop::Now);
        if !self.supervisor.is_finished() {
            let _ = (&mut self.supervisor).await;
        }
    }
}

impl Shared {
    fn is_ending(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Ready once nothing more is to be taken.
    async fn draining(&mut self) {
        // An error says that the sender is gone: the host has ended.
        let _ = self.stop.wait_for(|stop| *stop != Stop::No).await;
    }

    /// Ready once running items are to be given back.
    async fn ended(&mut self) {
        let _ = self.stop.wait_for(|stop| *stop == Stop::Now).await;
    }
}

/// Keeps a task for each asynchronous service that runs.
async fn supervise(mut shared: Shared) {
    let mut changes = shared.registry.changes();
    let mut tasks: Vec<(Arc<Service>, JoinHandle<()>)> = Vec::new();
    while !shared.is_ending() {
        changes.mark_unchanged();
        tasks.retain(|(_, task)| !task.is_finished());
        for service in shared.registry.list().into_iter().filter(|service| can_pump(service)) {
            // A new service of the name of a deleted one does not wait for the items of that one.
            if !tasks.iter().any(|(known, _)| Arc::ptr_eq(known, &service)) {
                tasks.push((Arc::clone(&service), tokio::spawn(service::pump(shared.clone(), service))));
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = first_end(&mut tasks) => {}
            () = shared.draining() => break,
        }
    }
    // A task that has ended must not be awaited a second time.
    for (_, task) in tasks.into_iter().filter(|(_, task)| !task.is_finished()) {
        let _ = task.await;
    }
}

/// Ready once a task has ended. A service may have been started again just before its task ended.
async fn first_end(tasks: &mut [(Arc<Service>, JoinHandle<()>)]) {
    if tasks.is_empty() {
        return pending().await;
    }
    // A panic of a task was logged.
    let _ = select_all(tasks.iter_mut().map(|(_, task)| task)).await;
}

/// True if the service is asynchronous and has workers.
fn can_pump(service: &Service) -> bool {
    let state = service.look();
    state.asynchronous().is_some() && state.phase.serving().is_some()
}
