//! A compiled and linked processor, from which guests are created.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasmtime::component::{Component, Instance, InstancePre};
use wasmtime::{Engine, Store};

use super::Running;
use super::backtrace::stack;
use super::engine::EngineKind;
use super::entry::{Contract, Entry};
use super::fault::{Circumstances, classify};
use super::guest::Guest;
use super::host::{self, HostState};
use super::limits::MAX_TASKS;
use super::lines::LineSink;
use super::needs::Needs;
use super::room::{Room, Rooms};
use super::settings::Settings;
use super::slice::Slice;

/// Bytes for headers, log lines and everything else that a guest passes to the host at once.
const COPY_SLACK: usize = 1 << 20;

/// A processor ready to be instantiated.
pub struct Program {
    engine: Engine,
    rooms: Rooms,
    /// The resources that each of its guests takes from the pool.
    needs: Needs,
    /// Keeps the code mapped, so that other programs of the same code share it.
    _code: Arc<Component>,
    pre: InstancePre<HostState>,
    contract: Contract,
    /// Fuel that one request may use; `None` if the guests are not metered.
    fuel: Option<u64>,
    /// True if its guests start as an initialised guest, and need no `initialize`.
    from_image: bool,
    settings: Arc<Settings>,
    sink: Arc<dyn LineSink>,
    kind: EngineKind,
    slice: Slice,
}

/// The reason why a guest could not be created.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// The processor's `initialize` returned an error.
    #[error("initialize failed: {0}")]
    Declined(String),
    #[error("initialize failed: {what}")]
    Fault { what: String, stack: String },
    #[error("initialize did not return within {} ms (sandbox.initialize_timeout_ms)", .0.as_millis())]
    TimedOut(Duration),
    /// The host has no room for the guests of a whole service beside those of others. Says how many were requested, and
    /// how many are free.
    #[error("{0}")]
    NoRoom(String),
    /// The host has no room for another guest, or could not provide its directory.
    #[error("no guest could be made: {0}")]
    Host(String),
}

/// The reason why a compiled component is not a processor.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(pub String);

impl Program {
    /// Links `component` against the interfaces that the host offers. Any other import is refused by its name.
    pub(super) fn link(
        running: &Running,
        kind: EngineKind,
        (component, needs): (Arc<Component>, Needs),
        settings: Arc<Settings>,
        sink: Arc<dyn LineSink>,
        from_image: bool,
    ) -> Result<Self, LinkError> {
        let refuse = |error: wasmtime::Error| LinkError(format!("{error:#}"));
        let pre = running.linker.instantiate_pre(&component).map_err(refuse)?;
        let contract = Contract::of(&pre, &settings)?;
        let streams = component.component_type().imports(&running.engine).any(|(name, _)| name == host::STREAMING);
        let fuel = if streams || contract.is_wasi_http() { settings.stream_fuel } else { settings.fuel };
        let (engine, rooms, slice) = (running.engine.clone(), running.rooms.clone(), Slice::new());
        let _code = component;
        Ok(Self { engine, rooms, needs, _code, pre, contract, fuel, from_image, settings, sink, kind, slice })
    }

    pub(super) fn sink(&self) -> &Arc<dyn LineSink> {
        &self.sink
    }

    /// True if a new guest takes microseconds, because it starts from the memory of an initialised guest.
    pub fn starts_from_image(&self) -> bool {
        self.from_image
    }

    /// Reserves places for `guests` guests.
    ///
    /// # Errors
    /// If the host has no room for them beside those of other services.
    pub fn reserve(&self, guests: usize) -> Result<Room, InitializeError> {
        self.rooms.reserve(guests, self.needs).map_err(|error| InitializeError::NoRoom(error.to_string()))
    }

    /// True if a guest answers several requests in turn unless the service file says otherwise.
    pub fn reuses_guests(&self) -> bool {
        self.contract.reuses_guests()
    }

    /// True if a slice of a guest may take long although it is bounded: the engine copies between streams of WASI 0.3
    /// without fuel. Such a guest must not run on a thread that has connections.
    pub fn may_hold_its_thread(&self) -> bool {
        self.kind == EngineKind::Async
    }

    /// True if guests read the bodies of their requests while these arrive.
    pub fn reads_uploads(&self) -> bool {
        self.contract.is_wasi_http()
    }

    pub(super) fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Creates a guest at once, if that takes microseconds and there is room; otherwise returns `None`.
    pub fn instantiate_at_once(self: &Arc<Self>) -> Option<Guest> {
        if !self.from_image {
            return None;
        }
        // No code of the guest runs, so there is nothing to wait for.
        match pin!(self.make()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(made) => made.ok(),
            Poll::Pending => None,
        }
    }

    /// Creates a guest and runs its `initialize`, unless it starts from the memory of an initialised guest.
    ///
    /// Guests can be stopped only where they yield, so this belongs on a runtime where long polls do no harm.
    pub async fn instantiate(self: &Arc<Self>) -> Result<Guest, InitializeError> {
        let limit = self.settings.initialize_timeout;
        match tokio::time::timeout(limit, self.make()).await {
            Ok(made) => made,
            Err(_) => Err(InitializeError::TimedOut(limit)),
        }
    }

    async fn make(self: &Arc<Self>) -> Result<Guest, InitializeError> {
        let host_error = |error: wasmtime::Error| InitializeError::Host(format!("{error:#}"));
        let state = HostState::new(&self.settings, &self.sink).map_err(host_error)?;
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(self.copies(1));
        if let Some(tasks) = store.concurrent_resource_table() {
            tasks.set_max_capacity(MAX_TASKS);
            store.set_max_component_handles(MAX_TASKS);
        }
        self.wind_up(&mut store, u64::MAX).map_err(host_error)?;
        store.data().lines.begin(None, self.settings.log_bytes);

        let outcome = self.initialize(&mut store).await;
        store.data().lines.end();
        match outcome {
            Ok((instance, entry, Ok(()))) => Ok(Guest::new(Arc::clone(self), store, instance, entry)),
            Ok((_, _, Err(message))) => Err(InitializeError::Declined(message)),
            Err(error) => {
                let state = store.data_mut();
                let circumstances = Circumstances {
                    panic: state.panic.take(),
                    refused: state.limits.take_refused(),
                    fuel_budget: u64::MAX,
                };
                let (fault, stack) = (classify(&error, circumstances), stack(&error));
                store.data().lines.fault(None, &fault, &stack);
                Err(InitializeError::Fault { what: fault.to_string(), stack })
            }
        }
    }

    async fn initialize(
        &self,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<(Instance, Entry, Result<(), String>)> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let entry = self.contract.load(store, &instance)?;
        let answer = if self.from_image { Ok(()) } else { entry.initialize(store, &self.settings).await? };
        Ok((instance, entry, answer))
    }

    /// Returns the bytes that a guest may copy to the host at once, with the answers to `requests` requests or a partial
    /// result. This is more than these may have, so that a refusal can state the size of what is slightly too long.
    pub(super) fn copies(&self, requests: usize) -> usize {
        let answers = self.settings.max_response_bytes.saturating_mul(2).saturating_mul(requests);
        answers.max(self.settings.max_partial_bytes.saturating_mul(2)).saturating_add(COPY_SLACK)
    }

    /// Gives a guest its fuel, or its next tick, before a call.
    pub(super) fn wind_up(&self, store: &mut Store<HostState>, fuel: u64) -> wasmtime::Result<()> {
        match self.kind {
            EngineKind::Fuel | EngineKind::Async => {
                store.set_fuel(fuel)?;
                store.fuel_async_yield_interval(Some(self.slice.fuel()))
            }
            EngineKind::Epoch => {
                store.epoch_deadline_async_yield_and_update(1);
                store.set_epoch_deadline(1);
                Ok(())
            }
        }
    }

    /// Fits the slice to a call that used this fuel in this time.
    pub(super) fn fit_slice(&self, fuel: u64, took: Duration) {
        self.slice.fit(fuel, took);
    }
}
