//! The engines and all their settings, with the reasons.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{
    CacheStore, Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    Strategy,
};

use super::limits::{MAX_IMAGE, MAX_INSTANCE_BYTES, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use super::needs::{CORE_INSTANCES_PER_PLACE, TABLES_PER_PLACE};

/// Time between two ticks, at which an unmetered guest yields. The first slice of a call ends at the next tick.
const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Bytes of a guest's call stack. Deeper recursion is a stack overflow of the guest, never of the host.
const GUEST_STACK: usize = 512 << 10;
/// Bytes of the same stack for the host, whose functions run on it too.
const HOST_STACK_MARGIN: usize = (2 << 20) - GUEST_STACK;

/// Frames that are kept when a guest fails. An author needs a few; more would make every trap slower.
pub(super) const MAX_FRAMES: usize = 16;

/// Bytes of the whole stack of a guest.
pub(super) const STACK: usize = GUEST_STACK + HOST_STACK_MARGIN;
/// Bytes reserved for a memory, and bytes between two memories.
pub(super) const RESERVATION: u64 = 4 << 30;
pub(super) const GUARD: u64 = 32 << 20;

/// Stacks for each place of the engine for WASI 0.3. Calls can wait inside each component of a composed guest, each on a
/// stack. A guest with more components than this takes more places.
pub(super) const STACKS_OF_TASKS: u32 = 4;

/// The checks in compiled code, and the functions that components may have. Each engine has one kind, because code with
/// all of them would pay for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum EngineKind {
    /// Fuel: a bound on work per request, which also ends the slices.
    #[default]
    Fuel,
    /// Epochs: only time is bounded.
    Epoch,
    /// Fuel, for components with asynchronous functions: WASI 0.3.
    Async,
}

impl EngineKind {
    /// Every kind of engine, each with a pool of its own.
    const ALL: [Self; 3] = [Self::Fuel, Self::Epoch, Self::Async];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Epoch => "epoch",
            Self::Async => "async",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Returns the settings that determine the machine code. They must be the same in the compiling and in the running
/// process, or the code is refused.
fn config(kind: EngineKind) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .consume_fuel(kind != EngineKind::Epoch)
        .epoch_interruption(kind == EngineKind::Epoch)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(STACK)
        // The support of asynchronous functions makes every call slower.
        .concurrency_support(kind == EngineKind::Async)
        .wasm_component_model_async(kind == EngineKind::Async)
        // A whole 32-bit memory is reserved, so bounds checks are page faults and memories never move.
        .memory_reservation(RESERVATION)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        // The engine's own adapters between components copy from one memory to another.
        .wasm_multi_memory(true)
        // Proposals that no processor needs are off, so that their bugs cannot reach us.
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        // Deterministic, so a processor computes the same on every machine.
        .relaxed_simd_deterministic(true);
    if kind != EngineKind::Epoch {
        let mut cost = OperatorCost::new();
        // Growing a memory costs the host a system call, so it must cost fuel; by default it is free.
        cost.variable.memory_grow_per_page = 16;
        config.operator_cost(cost);
    }
    config
}

/// Creates an engine that only compiles. It reserves no memory for instances, so it fits into a child with little
/// address space. `functions` provides functions that are already compiled; the machine code is the same without it.
pub(super) fn compiling(kind: EngineKind, functions: Option<Arc<dyn CacheStore>>) -> wasmtime::Result<Engine> {
    Engine::new(&compiling_config(kind, functions)?)
}

/// As [`compiling`], for a component that starts with the memory of a guest.
pub(super) fn compiling_image(kind: EngineKind, functions: Option<Arc<dyn CacheStore>>) -> wasmtime::Result<Engine> {
    let mut config = compiling_config(kind, functions)?;
    // However sparse its bytes are, such a memory is mapped and not filled: instantiation takes microseconds.
    config.memory_guaranteed_dense_image_size(MAX_IMAGE as u64);
    Engine::new(&config)
}

fn compiling_config(kind: EngineKind, functions: Option<Arc<dyn CacheStore>>) -> wasmtime::Result<Config> {
    let mut config = config(kind);
    if let Some(functions) = functions {
        config.enable_incremental_compilation(functions)?;
    }
    Ok(config)
}

/// Creates an engine that runs guests from a pool of reserved slots.
///
/// `places` is the number of guests with one memory that may live at once over all services: see [`super::needs`].
/// `memory` is the size of the largest linear memory, in bytes.
pub(super) fn running(kind: EngineKind, places: u32, memory: usize) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places)
        .total_core_instances(places.saturating_mul(CORE_INSTANCES_PER_PLACE))
        .total_memories(places)
        .total_tables(places.saturating_mul(TABLES_PER_PLACE))
        .total_stacks(places.saturating_mul(if kind == EngineKind::Async { STACKS_OF_TASKS } else { 1 }))
        .max_core_instances_per_component(MAX_INSTANCES as u32)
        .max_memories_per_component(MAX_MEMORIES as u32)
        .max_tables_per_component(MAX_TABLES as u32)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .max_component_instance_size(MAX_INSTANCE_BYTES)
        .max_memory_size(memory)
        .max_memories_per_module(MAX_MEMORIES as u32)
        .max_tables_per_module(4)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(256)
        // Zeroing the pages that a guest touched is cheaper than returning them and faulting them in again.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        // All of these bytes are zeroed for every new guest, and most guests use no more of their stack.
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = config(kind);
    // Off by default, because a guest cannot read its stack. If one finds a way, it must not find another guest's data.
    config.async_stack_zeroing(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The thread that advances the clock of an epoch engine. It ends when this is dropped.
pub(super) struct EpochThread {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl EpochThread {
    pub(super) fn spawn(engine: &Engine) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (engine, flag) = (engine.weak(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            let (stopped, wake) = &*flag;
            let mut guard = stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            while !*guard {
                guard = wake.wait_timeout(guard, EPOCH_TICK).unwrap_or_else(std::sync::PoisonError::into_inner).0;
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EpochThread {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.stop.1.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
