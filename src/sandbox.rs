//! Watertight compartments: compiles processors, makes guests of them, and runs calls in them.
//!
//! The only place that knows WebAssembly. Outside, people speak of programs, guests, calls and faults; never of stores,
//! fuel intervals or traps. What a guest can reach is what `host` offers; what it may hold is in `limits`; every way it
//! can fail is a [`Fault`].
//!
//! A guest's future steps aside at the end of each slice, and dropping it stops the guest there. Who polls it, where and
//! how often is for others to decide: see `admission`.

mod answer;
mod bindings;
mod compile;
mod engine;
mod fault;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod guest;
mod host;
mod limits;
mod lines;
mod program;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use wasmtime::Engine;

pub use self::compile::{CompileArgs, CompileError, compile_child};
use self::engine::{EpochThread, Metering};
pub use self::fault::Fault;
pub use self::guest::{Guest, Run};
pub use self::lines::{Level, LineSink};
pub use self::program::{InitializeError, LinkError, Program, Settings};

/// How much room the host keeps for guests.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Guests over all services; each reserves address space, not memory.
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
    capacity: Capacity,
    compiler: compile::Compiler,
    fuel: OnceLock<Engine>,
    // The thread comes first so that it ends before its engine.
    epoch: OnceLock<(EpochThread, Engine)>,
}

/// Why a processor cannot be deployed.
#[derive(Debug)]
pub enum PrepareError {
    Compile(CompileError),
    Link(LinkError),
    /// The engine itself could not be set up on this machine.
    Engine(String),
}

impl std::fmt::Display for PrepareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compile(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
            Self::Engine(reason) => write!(f, "the engine cannot be set up: {reason}"),
        }
    }
}

impl std::error::Error for PrepareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compile(error) => error.source(),
            Self::Link(_) | Self::Engine(_) => None,
        }
    }
}

impl Sandbox {
    /// `compiler` is the binary whose `compile` subcommand compiles; `cache` the directory of its results.
    pub fn new(compiler: PathBuf, cache: PathBuf, capacity: Capacity) -> Self {
        Self {
            capacity,
            compiler: compile::Compiler::new(compiler, cache),
            fuel: OnceLock::new(),
            epoch: OnceLock::new(),
        }
    }

    /// Compiles and links the component at `wasm`, whose hash is `sha256`.
    ///
    /// # Errors
    /// Says what is wrong with the file, by the import's name where it asks for something that is not offered.
    pub async fn prepare(
        &self,
        wasm: &Path,
        sha256: &str,
        settings: Settings,
        sink: Arc<dyn LineSink>,
    ) -> Result<Arc<Program>, PrepareError> {
        let metering = if settings.fuel.is_some() { Metering::Fuel } else { Metering::Epoch };
        let engine = self.engine(metering)?;
        let component = self.compiler.compile(engine, metering, wasm, sha256).await.map_err(PrepareError::Compile)?;
        let program = Program::link(engine, metering, &component, settings, sink).map_err(PrepareError::Link)?;
        Ok(Arc::new(program))
    }

    /// Engines are made when first needed: each reserves a great deal of address space.
    fn engine(&self, metering: Metering) -> Result<&Engine, PrepareError> {
        let make = || {
            engine::running(metering, self.capacity.guests, self.capacity.memory)
                .map_err(|error| PrepareError::Engine(format!("{error:#}")))
        };
        match metering {
            Metering::Fuel => {
                if self.fuel.get().is_none() {
                    let engine = make()?;
                    // Two deploys may race here; the loser's engine is dropped unused.
                    let _ = self.fuel.set(engine);
                }
                self.fuel.get().ok_or_else(|| PrepareError::Engine("it vanished".into()))
            }
            Metering::Epoch => {
                if self.epoch.get().is_none() {
                    let engine = make()?;
                    let thread =
                        EpochThread::spawn(&engine).map_err(|error| PrepareError::Engine(error.to_string()))?;
                    let _ = self.epoch.set((thread, engine));
                }
                self.epoch.get().map(|(_, engine)| engine).ok_or_else(|| PrepareError::Engine("it vanished".into()))
            }
        }
    }
}
