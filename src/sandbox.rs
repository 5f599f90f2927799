//! Compartments for processors: compiles components, creates guests from them, and runs calls in them.
//!
//! This is the only module that knows WebAssembly. Other modules see programs, guests, calls and faults, and no stores,
//! fuel intervals or traps. `host` has everything that a guest can reach, `limits` bounds what a guest may hold, and
//! [`Fault`] has every way in which a guest can fail.
//!
//! A guest's future yields at the end of each slice, and dropping the future stops the guest there. `admission` decides
//! on which thread and how often the future is polled.

mod address_space;
mod backtrace;
mod bindings;
mod clock;
mod compile;
mod engine;
mod entry;
mod fault;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod guest;
mod host;
mod limits;
mod lines;
mod needs;
mod program;
#[cfg(test)]
pub(crate) mod reference;
mod room;
mod settings;
mod slice;
mod snapshot;
mod state;
mod stream;
mod wasi;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use wasmtime::Engine;
use wasmtime::component::Linker;

use self::address_space::AddressSpace;
pub use self::address_space::Pool;
use self::compile::{Code, Image};
pub use self::compile::{CompileArgs, CompileError, compile_child};
use self::engine::{EngineKind, EpochThread};
pub use self::fault::Fault;
pub use self::guest::{Answered, BatchRun, Failed, Guest, RecycleReason, Run, share};
use self::host::HostState;
pub use self::limits::Refused;
pub use self::lines::{Level, LineSink};
pub use self::program::{InitializeError, LinkError, Program};
pub use self::room::Room;
use self::room::Rooms;
pub use self::settings::Settings;
use self::snapshot::Draft;
pub use self::snapshot::{Ready, Uninitialized};

/// The host's capacity for guests.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Most guests of all services together. The limit holds for metered guests and for unmetered ones separately. A
    /// guest reserves address space, not memory. If address space is short, there are fewer guests: see
    /// [`Sandbox::pool`]. A guest with several memories counts as several.
    pub guests: u32,
    /// The largest memory limit a service may set, in bytes.
    pub memory: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { guests: 8192, memory: 4 << 30 }
    }
}

/// The engines and the compiler of one host.
pub struct Sandbox {
    pool: Pool,
    /// The pool for components of WASI 0.3; `None` if they are refused.
    async_pool: Option<Pool>,
    /// The largest memory limit a service may set, in bytes.
    memory: usize,
    compiler: compile::Compiler,
    /// One of each kind, in the order of [`EngineKind`].
    engines: [OnceLock<Running>; 3],
}

/// An engine, and the imports that it offers to all guests.
struct Running {
    // It comes first so that it ends before its engine.
    _epochs: Option<EpochThread>,
    engine: Engine,
    linker: Linker<HostState>,
    rooms: Rooms,
}

/// A compiled and linked processor.
pub enum Prepared {
    /// Guests start from the image of an initialised guest.
    FromImage(Arc<Program>),
    /// The first guest must be initialised: see [`Sandbox::make_ready`].
    ToInitialize(Uninitialized),
}

impl Prepared {
    pub fn program(&self) -> &Arc<Program> {
        match self {
            Self::FromImage(program) => program,
            Self::ToInitialize(uninitialized) => uninitialized.program(),
        }
    }
}

/// The reason why a processor cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Compile(CompileError),
    #[error(transparent)]
    Link(LinkError),
    /// The engine could not be set up on this machine.
    #[error("the engine cannot be set up: {0}")]
    Engine(String),
}

/// Returns the running program, whose `compile` subcommand compiles processors. The link leads to the file that runs,
/// even after an upgrade has replaced or removed it.
pub fn own_program() -> PathBuf {
    "/proc/self/exe".into()
}

impl Sandbox {
    /// Creates a sandbox. `compiler` is the binary whose `compile` subcommand compiles; `cache` is the directory of its
    /// results.
    pub fn new(compiler: PathBuf, cache: PathBuf, capacity: Capacity) -> Self {
        Self {
            pool: AddressSpace::of_this_process().pool(capacity.guests, capacity.memory),
            memory: capacity.memory,
            compiler: compile::Compiler::new(compiler, cache),
            engines: Default::default(),
            async_pool: None,
        }
    }

    /// Accepts components of WASI 0.3, too. The engine's support for them is experimental, and has its own pool.
    #[must_use]
    pub fn with_wasi_03(self) -> Self {
        let async_pool = AddressSpace::of_this_process().async_pool(self.pool.wanted, self.memory);
        Self { async_pool: Some(async_pool), ..self }
    }

    /// Returns the places for guests: as many for metered as for unmetered ones.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// Returns the places for guests of WASI 0.3; `None` if such components are refused.
    pub fn async_pool(&self) -> Option<Pool> {
        self.async_pool
    }

    /// Compiles and links the component at `wasm`, whose hash is `sha256`. If an image of it is kept, its guests start
    /// from the image.
    ///
    /// # Errors
    /// Says what is wrong with the file. An import that is not offered is named.
    pub async fn prepare(
        &self,
        wasm: &Path,
        sha256: &str,
        settings: Settings,
        sink: Arc<dyn LineSink>,
    ) -> Result<Prepared, PrepareError> {
        let settings = Arc::new(settings);
        let kind = if settings.fuel.is_some() { EngineKind::Fuel } else { EngineKind::Epoch };
        match self.prepare_for(kind, wasm, sha256, Arc::clone(&settings), Arc::clone(&sink)).await {
            // Only the compiling child looks into the file.
            Err(PrepareError::Compile(CompileError::Asynchronous)) if self.async_pool.is_some() => {
                self.prepare_for(EngineKind::Async, wasm, sha256, settings, sink).await
            }
            prepared => prepared,
        }
    }

    async fn prepare_for(
        &self,
        kind: EngineKind,
        wasm: &Path,
        sha256: &str,
        settings: Arc<Settings>,
        sink: Arc<dyn LineSink>,
    ) -> Result<Prepared, PrepareError> {
        let running = self.running(kind)?;
        let mut never = None;
        if let Some(name) = &settings.image {
            let kept = self.compiler.image(&running.engine, kind, name).await;
            match kept.map_err(|error| PrepareError::Compile(error.into()))? {
                Image::There(component, needs) => {
                    let program = Program::link(running, kind, (component, needs), settings, sink, true);
                    let program = program.map_err(PrepareError::Link)?.into();
                    return Ok(Prepared::FromImage(program));
                }
                Image::Never(reason) => never = Some(reason),
                Image::Absent => {}
            }
        }
        let wanted = settings.image.clone().filter(|_| never.is_none() && kind != EngineKind::Async);
        let code = self.compiler.compile(&running.engine, kind, wasm, sha256, wanted.is_some());
        let Code { component, needs, hidden, functions } = code.await.map_err(PrepareError::Compile)?;
        let program = Program::link(running, kind, (component, needs), settings, sink, false);
        let program = program.map_err(PrepareError::Link)?.into();
        let draft = match (wanted, never, hidden) {
            _ if kind == EngineKind::Async => {
                Err("components of WASI 0.3 have none; an instance is made for each worker".into())
            }
            (Some(name), None, None) => {
                let (wasm, sha256) = (wasm.to_owned(), sha256.to_owned());
                Ok(Draft { wasm, sha256, name, kind, functions })
            }
            (_, Some(reason), _) => Err(reason),
            (Some(_), None, Some(reason)) => Err(format!("its memory cannot be read: {reason}")),
            (None, None, _) => Err("sandbox.snapshot is false".into()),
        };
        Ok(Prepared::ToInitialize(Uninitialized { program, draft }))
    }

    /// Returns an engine. It is created on first use, because each engine reserves a lot of address space.
    fn running(&self, kind: EngineKind) -> Result<&Running, PrepareError> {
        let place = &self.engines[kind as usize];
        if place.get().is_none() {
            let running = self.start(kind).map_err(|error| PrepareError::Engine(format!("{error:#}")))?;
            // Two deploys may race here; one of the two engines is dropped unused.
            let _ = place.set(running);
        }
        place.get().ok_or_else(|| PrepareError::Engine("it is missing".into()))
    }

    fn start(&self, kind: EngineKind) -> wasmtime::Result<Running> {
        let pool = self.async_pool.filter(|_| kind == EngineKind::Async).unwrap_or(self.pool);
        let engine = engine::running(kind, pool.places.saturating_add(pool.spare), self.memory)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker)?;
        if kind == EngineKind::Async {
            host::link_wasi_03(&mut linker)?;
        }
        let epochs = (kind == EngineKind::Epoch).then(|| EpochThread::spawn(&engine)).transpose()?;
        Ok(Running { _epochs: epochs, engine, linker, rooms: Rooms::new(pool) })
    }
}
