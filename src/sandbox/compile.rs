//! Compilation, in a child process, and the cache of its results.
//!
//! Compiling untrusted code can exhaust processor and memory and even abort the process, so it happens in a child of
//! the same binary, one at a time: see [`child`]. What the child leaves is ours: it is kept with its SHA-256,
//! checked against it before every use, and compiled anew when it does not match. Layout of the cache:
//!
//! ```text
//! <cache>/<engine>/<sha256 of the wasm>.cwasm          machine code, mapped into the host
//! <cache>/<engine>/<sha256 of the wasm>.cwasm.sha256   its hash in hexadecimal, written last
//! ```
//!
//! `<engine>` names the kind of check and everything that decides the machine code, so another version of the engine
//! finds nothing instead of finding something wrong.

mod child;
mod confine;
mod inspect;
mod offered;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

pub use self::child::{CompileArgs, compile_child};
use super::engine::Metering;
use crate::failpoint;

/// The child is niced, so on a busy machine its processor seconds take their time.
const CHILD_WALL: Duration = Duration::from_secs(180);
/// Bytes of the child's complaint that are kept.
const MAX_COMPLAINT: usize = 16 << 10;

/// Why there is no machine code.
#[derive(Debug)]
pub enum CompileError {
    /// The file is not a component this host can run.
    Refused(String),
    /// The child was stopped at one of its limits, or died.
    Stopped(String),
    Io(io::Error),
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "not a usable component: {reason}"),
            Self::Stopped(reason) => write!(f, "compilation was stopped: {reason}"),
            Self::Io(_) => f.write_str("compilation could not be carried out"),
        }
    }
}

impl std::error::Error for CompileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Refused(_) | Self::Stopped(_) => None,
        }
    }
}

impl From<io::Error> for CompileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Compiles for one data directory.
pub(super) struct Compiler {
    /// The binary whose `compile` subcommand does the work.
    program: PathBuf,
    cache: PathBuf,
    turn: Semaphore,
}

impl Compiler {
    pub(super) fn new(program: PathBuf, cache: PathBuf) -> Self {
        Self { program, cache, turn: Semaphore::new(1) }
    }

    /// The compiled form of the component at `wasm`, whose hash is `sha256`: from the cache, or made now.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        metering: Metering,
        wasm: &Path,
        sha256: &str,
    ) -> Result<Component, CompileError> {
        let dir = self.cache.join(engine_name(engine, metering));
        let code = dir.join(format!("{sha256}.cwasm"));
        if let Some(component) = load(engine.clone(), code.clone()).await? {
            return Ok(component);
        }
        check_kind(wasm)?;
        let _turn = self.turn.acquire().await.map_err(io::Error::other)?;
        fs::create_dir_all(&dir)?;
        let fresh = tempfile::Builder::new().prefix(".compiling-").tempfile_in(&dir)?.into_temp_path();
        self.run_child(metering, wasm, &fresh).await?;
        let (fresh, kept) = (fresh.keep().map_err(|e| e.error)?, code.clone());
        unblock(move || keep(&fresh, &kept)).await?;
        load(engine.clone(), code)
            .await?
            .ok_or_else(|| CompileError::Stopped("its result did not survive on disk".into()))
    }

    async fn run_child(&self, metering: Metering, wasm: &Path, output: &Path) -> Result<(), CompileError> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(["compile", "--engine", metering.name(), "--input"])
            .arg(wasm)
            .arg("--output")
            .arg(output)
            .args(["--parent", &std::process::id().to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut complaint = Vec::new();
        let ended = tokio::time::timeout(CHILD_WALL, async {
            if let Some(stderr) = child.stderr.take() {
                use tokio::io::AsyncReadExt;
                let mut stderr = stderr.take(MAX_COMPLAINT as u64);
                stderr.read_to_end(&mut complaint).await?;
                tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await?;
            }
            child.wait().await
        });
        let status = match ended.await {
            Ok(status) => status?,
            Err(_) => return Err(CompileError::Stopped(format!("it took longer than {} s", CHILD_WALL.as_secs()))),
        };
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => {
                if !complaint.is_empty() {
                    tracing::warn!(complaint, "the compiler ran with less confinement than it should");
                }
                Ok(())
            }
            Some(child::REFUSED) => Err(CompileError::Refused(complaint)),
            Some(child::DISK_FULL) => Err(CompileError::Io(io::ErrorKind::StorageFull.into())),
            _ => Err(CompileError::Stopped(match status.signal().and_then(confine::limit_of) {
                Some(limit) => limit,
                None => format!("the compiler ended with {status}; {complaint}"),
            })),
        }
    }
}

/// Says early and plainly what is wrong with a file that is no component at all.
fn check_kind(wasm: &Path) -> Result<(), CompileError> {
    let mut head = [0; 8];
    let read = File::open(wasm)?.take(8).read(&mut head)?;
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

fn engine_name(engine: &Engine, metering: Metering) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}", metering.name(), hasher.finish())
}

/// Puts a fresh result in its place. The hash comes last: without it the result counts as absent.
fn keep(fresh: &Path, code: &Path) -> io::Result<()> {
    let hash = hash_file(fresh)?;
    fs::rename(fresh, code)?;
    failpoint::reach("compile.renamed");
    let mut sidecar = tempfile::NamedTempFile::new_in(code.parent().unwrap_or(Path::new(".")))?;
    sidecar.write_all(hash.as_bytes())?;
    sidecar.as_file().sync_all()?;
    sidecar.persist(hash_path(code)).map_err(|e| e.error)?;
    Ok(())
}

/// Maps compiled code that is present and whole; `None` asks for it to be compiled.
async fn load(engine: Engine, code: PathBuf) -> io::Result<Option<Component>> {
    unblock(move || {
        let Ok(expected) = fs::read_to_string(hash_path(&code)) else { return Ok(None) };
        match hash_file(&code) {
            Ok(found) if found == expected => {}
            Ok(_) => {
                tracing::warn!(file = %code.display(), "compiled code does not match its hash; compiling anew");
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        match map(&engine, &code) {
            Ok(component) => Ok(Some(component)),
            Err(error) => {
                tracing::warn!(file = %code.display(), error = format!("{error:#}"), "compiled code cannot be mapped; compiling anew");
                Ok(None)
            }
        }
    })
    .await
}

#[expect(
    unsafe_code,
    reason = "mapping compiled code runs it; only files that our own child wrote and whose hash matches come here"
)]
fn map(engine: &Engine, code: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file lies in the host's own directory (mode 0700), was written by our compiling child for this very
    // engine, and has just been found equal to the hash taken when it was written.
    unsafe { Component::deserialize_file(engine, code) }
}

fn hash_path(code: &Path) -> PathBuf {
    code.with_extension("cwasm.sha256")
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(crate::storage::hex(&hasher.finalize()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn unblock<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
