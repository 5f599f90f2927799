//! Compilation, in a child process.
//!
//! Compiling untrusted code can exhaust processor and memory and even abort the process, so it happens in a child of
//! the same binary, one at a time: see [`child`]. What the child leaves is ours and is kept: see [`kept`].
//!
//! An upload is compiled such that it shows what its memories and globals hold. Once a guest of it has been initialised,
//! what it shows becomes the beginning of a second component, an image, whose guests need no `initialize` any more.

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

use super::engine::Metering;
use super::needs::Needs;
use crate::failpoint;

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is not a component this host can run.
    #[error("not a usable component: {0}")]
    Refused(String),
    /// The child was stopped at one of its limits, or died.
    #[error("compilation was stopped: {0}")]
    Stopped(String),
    /// The file has changed since its upload; holds the hash of its bytes now.
    #[error("the component has changed since it was uploaded: its bytes hash to {0}")]
    Changed(String),
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
    /// Why it does not show its state, where it does not.
    pub(super) hidden: Option<String>,
    /// What its compilation learnt, for the one of its image; nothing where it was compiled before.
    pub(super) functions: Option<TempPath>,
}

/// What an image is made of.
#[derive(Clone, Copy)]
pub(super) struct ImageSource<'a> {
    pub(super) wasm: &'a Path,
    /// The SHA-256 of the bytes of `wasm`.
    pub(super) sha256: &'a str,
    /// What its guest shows: see [`super::state`].
    pub(super) state: &'a Path,
    pub(super) functions: Option<&'a Path>,
    /// What the image is kept under.
    pub(super) name: &'a str,
}

impl Compiler {
    pub(super) fn new(program: PathBuf, cache: PathBuf) -> Self {
        Self { program, cache, mapped: Arc::default(), turn: Semaphore::new(1) }
    }

    /// The compiled form of the component at `wasm`, whose hash is `sha256`: as it is kept, or made now.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        metering: Metering,
        wasm: &Path,
        sha256: &str,
        has_image: bool,
    ) -> Result<Code, CompileError> {
        let place = kept::CacheEntry::new(&self.cache, &self.mapped, engine, metering, sha256);
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
        // Somebody may have made the same while this one waited.
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
        let told = process::run(&self.program, metering, &args).await?;
        tracing::info!(processor = sha256, took = ?started.elapsed(), "processor compiled");
        let found = place.keep(engine, fresh, told).await?;
        Ok(code(found, functions))
    }

    /// The image of that name, as far as it is kept.
    pub(super) async fn image(&self, engine: &Engine, metering: Metering, name: &str) -> io::Result<Image> {
        kept::CacheEntry::new(&self.cache, &self.mapped, engine, metering, name).image(engine).await
    }

    /// Makes an image and keeps it. That there can be none is kept as well, so that nobody tries again in vain.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn make_image(
        &self,
        engine: &Engine,
        metering: Metering,
        draft: ImageSource<'_>,
    ) -> Result<(Arc<Component>, Needs), String> {
        let place = kept::CacheEntry::new(&self.cache, &self.mapped, engine, metering, draft.name);
        let Ok(_turn) = self.turn.acquire().await else { return Err("the host ends".into()) };
        // Somebody may have made the same while this one waited.
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
        match process::run(&self.program, metering, &args).await {
            Ok(told) => {
                tracing::info!(image = draft.name, took = ?started.elapsed(), "image compiled");
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

    /// A file for what a guest shows. It is in the same place as what is made of it, for the host alone to read.
    pub(super) fn state_file(&self, engine: &Engine, metering: Metering, name: &str) -> io::Result<TempPath> {
        kept::CacheEntry::new(&self.cache, &self.mapped, engine, metering, name).fresh()
    }
}

/// Why an image was not made, where neither it nor its processor is at fault.
pub(super) fn on_disk(error: &io::Error) -> String {
    format!("it cannot be written: {error}")
}

/// Says early and plainly what is wrong with a file that is no component at all.
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
