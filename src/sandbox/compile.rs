//! Compilation, in a child process.
//!
//! Compiling untrusted code can exhaust processor and memory, and can abort the process. So it runs in a child of the
//! same binary, one at a time: see [`child`]. The host keeps the results: see [`kept`].
//!
//! An upload is compiled so that it exposes the contents of its memories and globals. Once a guest of it has been
//! initialised, these contents become the initial state of a second component, an image, whose guests need no
//! `initialize`.

mod bounds;
mod child;
mod confine;
mod expose;
mod functions;
mod inspect;
mod instances;
mod instrument;
mod kept;
mod mapped;
mod measure;
mod offered;
mod process;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempPath;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

pub use self::child::{CompileArgs, compile_child};
pub(super) use self::kept::Image;
use self::mapped::Mapped;

use super::engine::EngineKind;
use super::needs::Needs;
use crate::failpoint;

/// The reason why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is not a component that this host can run.
    #[error("not a usable component: {0}")]
    Refused(String),
    /// The component has asynchronous functions, and was to be compiled for an engine without them.
    #[error(
        "not a usable component: it is a component of WASI 0.3, which this host does not accept; build it for WASI 0.2 \
         (spin-sdk 3 and not 7), or start the host with --wasi-0.3"
    )]
    Asynchronous,
    /// The child was stopped at one of its limits, or crashed.
    #[error("compilation was stopped: {0}")]
    Stopped(String),
    /// The file has changed since its upload. Holds the hash of its present bytes.
    #[error("the component has changed since it was uploaded: its bytes hash to {0}")]
    Changed(String),
    /// The code was compiled, and the host cannot map it into its memory.
    #[error("compiled code cannot be mapped into memory: {0}")]
    Unmappable(String),
    #[error("compilation could not be carried out")]
    Io(#[from] io::Error),
}

/// Compiles for one data directory.
pub(super) struct Compiler {
    /// The binary whose `compile` subcommand does the work.
    program: PathBuf,
    cache: PathBuf,
    mapped: Arc<Mapped>,
    turn: Semaphore,
}

/// The compiled form of an upload.
pub(super) struct Code {
    pub(super) component: Arc<Component>,
    pub(super) needs: Needs,
    /// The reason why the component does not expose its state; `None` if it does.
    pub(super) hidden: Option<String>,
    /// The functions compiled for this upload, for the compilation of its image; `None` if the code was kept.
    pub(super) functions: Option<TempPath>,
}

/// The source of an image.
#[derive(Clone, Copy)]
pub(super) struct ImageSource<'a> {
    pub(super) wasm: &'a Path,
    /// The SHA-256 of the bytes of `wasm`.
    pub(super) sha256: &'a str,
    /// The state of a guest after `initialize`: see [`super::state`].
    pub(super) state: &'a Path,
    pub(super) functions: Option<&'a Path>,
    /// The name under which the image is kept.
    pub(super) name: &'a str,
}

impl Compiler {
    pub(super) fn new(program: PathBuf, cache: PathBuf) -> Self {
        Self { program, cache, mapped: Arc::default(), turn: Semaphore::new(1) }
    }

    /// Returns the compiled form of the component at `wasm`, whose hash is `sha256`: the kept one, or a new one.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        kind: EngineKind,
        wasm: &Path,
        sha256: &str,
        has_image: bool,
    ) -> Result<Code, CompileError> {
        let place = kept::CacheEntry::new(&self.cache, &self.mapped, engine, kind, sha256);
        let code = |found: kept::Found, functions| {
            let kept::Found { component, needs, hidden } = found;
            Code { component, needs, hidden, functions }
        };
        if let Some(found) = place.load(engine).await? {
            return Ok(code(found, None));
        }
        kept::check_upload(wasm, sha256).await?;
        check_kind(wasm)?;
        let _turn = self.turn.acquire().await.map_err(io::Error::other)?;
        // Another task may have compiled the component while this one waited.
        if let Some(found) = place.load(engine).await? {
            return Ok(code(found, None));
        }
        let fresh = place.fresh()?;
        let functions = has_image.then(|| place.fresh()).transpose()?;
        let mut args = vec!["--input".as_ref(), wasm.as_os_str(), "--output".as_ref(), fresh.as_os_str()];
        if let Some(functions) = &functions {
            args.extend::<[&OsStr; 2]>(["--functions".as_ref(), functions.as_os_str()]);
        }
        let started = Instant::now();
        let told = process::run(&self.program, kind, &args).await?;
        tracing::info!(processor = sha256, took_ms = started.elapsed().as_millis() as u64, "processor compiled");
        let found = place.keep(engine, fresh, told).await?;
        Ok(code(found, functions))
    }

    /// Returns the state of the kept image of that name.
    pub(super) async fn image(&self, engine: &Engine, kind: EngineKind, name: &str) -> io::Result<Image> {
        kept::CacheEntry::new(&self.cache, &self.mapped, engine, kind, name).image(engine).await
    }

    /// Makes an image and keeps it. If no image can be made, the reason is kept, so that it is not tried again.
    ///
    /// # Errors
    /// Says why there is no image.
    pub(super) async fn make_image(
        &self,
        engine: &Engine,
        kind: EngineKind,
        draft: ImageSource<'_>,
    ) -> Result<(Arc<Component>, Needs), String> {
        let place = kept::CacheEntry::new(&self.cache, &self.mapped, engine, kind, draft.name);
        let Ok(_turn) = self.turn.acquire().await else { return Err("the host ends".into()) };
        // Another task may have made the image while this one waited.
        match place.image(engine).await.map_err(|error| on_disk(&error))? {
            Image::There(component, needs) => return Ok((component, needs)),
            Image::Never(reason) => return Err(reason),
            Image::Absent => {}
        }
        kept::check_upload(draft.wasm, draft.sha256).await.map_err(|error| error.to_string())?;
        let fresh = place.fresh().map_err(|error| on_disk(&error))?;
        let mut args = vec!["--input".as_ref(), draft.wasm.as_os_str(), "--output".as_ref(), fresh.as_os_str()];
        args.extend::<[&OsStr; 2]>(["--state".as_ref(), draft.state.as_os_str()]);
        if let Some(functions) = draft.functions {
            args.extend::<[&OsStr; 2]>(["--functions".as_ref(), functions.as_os_str()]);
        }
        let started = Instant::now();
        match process::run(&self.program, kind, &args).await {
            Ok(told) => {
                tracing::info!(image = draft.name, took_ms = started.elapsed().as_millis() as u64, "image compiled");
                failpoint::reach("snapshot.compiled");
                let kept = place.keep(engine, fresh, told).await;
                kept.map(|found| (found.component, found.needs)).map_err(|error| error.to_string())
            }
            Err(CompileError::Io(error)) => Err(on_disk(&error)),
            Err(error) => {
                let reason = error.to_string();
                place.keep_none(&reason).await.map_err(|error| on_disk(&error))?;
                Err(reason)
            }
        }
    }

    /// Creates a file for a guest's state. It is beside the results that are made from it, and only the host can read
    /// it.
    pub(super) fn state_file(&self, engine: &Engine, kind: EngineKind, name: &str) -> io::Result<TempPath> {
        kept::CacheEntry::new(&self.cache, &self.mapped, engine, kind, name).fresh()
    }
}

/// Describes an error of the disk, for which neither the image nor its processor is at fault.
pub(super) fn on_disk(error: &io::Error) -> String {
    format!("it cannot be written: {error}")
}

/// Refuses a file that is not a component, early and with a clear reason.
fn check_kind(wasm: &Path) -> Result<(), CompileError> {
    let mut head = [0; 8];
    let read = Read::take(File::open(wasm)?, 8).read(&mut head)?;
    let refuse = |reason: &str| Err(CompileError::Refused(reason.to_owned()));
    match &head[..read] {
        [0, b'a', b's', b'm', _, _, 1, 0] => Ok(()),
        [0, b'a', b's', b'm', ..] => refuse(
            "it is a core WebAssembly module; a component is needed (build with `bulkhead build`, or for wasm32-wasip2)",
        ),
        [0x7f, b'E', b'L', b'F', ..] => refuse("it is machine code; upload the WebAssembly component it was made from"),
        _ => refuse("it is not WebAssembly; a component is needed (a file that begins with \\0asm)"),
    }
}
