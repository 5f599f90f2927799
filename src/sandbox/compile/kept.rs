//! The results of compilation, kept until no version needs them. Layout:
//!
//! ```text
//! <cache>/<engine>/<name>.cwasm          machine code, mapped into the host
//! <cache>/<engine>/<name>.cwasm.sha256   its hash in hexadecimal, written last; on the next line the needs of a guest;
//!                                        on further lines the reason why the component does not expose its state, if
//!                                        it does not
//! <cache>/<engine>/<name>.none           the reason why there can be no image of that name
//! <cache>/<engine>/.compiling-…          unfinished files; left over only if the host was killed, and then swept
//! ```
//!
//! `<name>` is the SHA-256 of an upload, or of everything that an image depends on. `<engine>` names the kind of
//! engine and everything that determines the machine code, so that another version of it finds no code instead of
//! wrong code. Machine code is checked against its hash before every use, and compiled again if it does not
//! match. An image has what `initialize` read, so these files are as secret as the model; the directory is closed to
//! other users.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::TempPath;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::mapped::Mapped;
use super::{CompileError, EngineKind};
use crate::failpoint;
use crate::hex::hex;
use crate::sandbox::needs::Needs;

/// The state of a kept image.
pub(in crate::sandbox) enum Image {
    There(Arc<Component>, Needs),
    /// The image cannot be made. Holds the reason.
    Never(String),
    Absent,
}

/// A mapped component.
pub(super) struct Found {
    pub(super) component: Arc<Component>,
    pub(super) needs: Needs,
    /// The reason why the component does not expose its state; `None` if it does.
    pub(super) hidden: Option<String>,
}

/// The state of one cache entry.
enum Kept {
    There(Found),
    Absent,
    /// The file is intact, but the engine does not accept it.
    Unusable(String),
}

/// The files of one entry of the cache.
#[derive(Clone)]
pub(super) struct CacheEntry {
    dir: PathBuf,
    code: PathBuf,
    mapped: Arc<Mapped>,
}

impl CacheEntry {
    pub(super) fn new(cache: &Path, mapped: &Arc<Mapped>, engine: &Engine, kind: EngineKind, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let dir = cache.join(format!("{}-{:016x}", kind.name(), hasher.finish()));
        Self { code: dir.join(format!("{name}.cwasm")), dir, mapped: Arc::clone(mapped) }
    }

    /// Creates a new file beside the entry, readable by the host alone, that is deleted unless it is kept.
    pub(super) fn fresh(&self) -> io::Result<TempPath> {
        fs::create_dir_all(&self.dir)?;
        Ok(tempfile::Builder::new().prefix(".compiling-").tempfile_in(&self.dir)?.into_temp_path())
    }

    /// Maps compiled code that is present and intact; `None` if it must be compiled.
    pub(super) async fn load(&self, engine: &Engine) -> io::Result<Option<Found>> {
        let (place, engine) = (self.clone(), engine.clone());
        unblock(move || place.load_now(&engine)).await
    }

    fn load_now(&self, engine: &Engine) -> io::Result<Option<Found>> {
        match self.look(engine)? {
            Kept::There(found) => Ok(Some(found)),
            Kept::Absent => Ok(None),
            Kept::Unusable(error) => {
                tracing::warn!(file = %self.code.display(), error, "compiled code cannot be mapped; compiling anew");
                Ok(None)
            }
        }
    }

    fn look(&self, engine: &Engine) -> io::Result<Kept> {
        let code = &self.code;
        let Ok(sidecar) = fs::read_to_string(self.sidecar()) else { return Ok(Kept::Absent) };
        let (expected, told) = sidecar.split_once('\n').unwrap_or((&sidecar, ""));
        let (needs, hidden) = told.split_once('\n').unwrap_or((told, ""));
        let Ok(needs) = needs.parse() else { return Ok(Kept::Absent) };
        let hidden = (!hidden.is_empty()).then(|| hidden.to_owned());
        let found = |component| Kept::There(Found { component, needs, hidden });
        if let Some(component) = self.mapped.find(code) {
            return Ok(found(component));
        }
        match hash_file(code) {
            Ok(found) if found == expected => {}
            Ok(_) => {
                tracing::warn!(file = %code.display(), "compiled code does not match its hash; compiling anew");
                // From here on the code counts as absent, so that the warning is logged once.
                fs::remove_file(self.sidecar())?;
                return Ok(Kept::Absent);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Absent),
            Err(error) => return Err(error),
        }
        Ok(match map(engine, code) {
            Ok(component) => found(self.mapped.note(code, component)),
            Err(error) => Kept::Unusable(format!("{error:#}")),
        })
    }

    /// As [`Self::load`], for an image.
    pub(super) async fn image(&self, engine: &Engine) -> io::Result<Image> {
        let (place, engine) = (self.clone(), engine.clone());
        unblock(move || match place.load_now(&engine)? {
            Some(Found { component, needs, .. }) => Ok(Image::There(component, needs)),
            None => match fs::read_to_string(place.none()) {
                Ok(reason) => Ok(Image::Never(reason)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Image::Absent),
                Err(error) => Err(error),
            },
        })
        .await
    }

    /// Puts a fresh result in its place. The hash is written last: without it the result counts as absent. `told` is
    /// the child's output: the needs of a guest, and perhaps the reason why the component does not expose its state.
    pub(super) async fn keep(&self, engine: &Engine, fresh: TempPath, told: String) -> Result<Found, CompileError> {
        let (place, engine) = (self.clone(), engine.clone());
        let found = unblock(move || {
            let hash = hash_file(&fresh)?;
            fresh.persist(&place.code).map_err(|error| error.error)?;
            place.mapped.forget(&place.code);
            failpoint::reach("compile.renamed");
            place.write(&place.sidecar(), &format!("{hash}\n{told}"))?;
            place.look(&engine)
        });
        match found.await? {
            Kept::There(found) => Ok(found),
            Kept::Absent => Err(CompileError::Stopped("its result is missing on the disk".into())),
            // The child has compiled and checked it, so the processor is not at fault.
            Kept::Unusable(reason) => Err(CompileError::Unmappable(reason)),
        }
    }

    pub(super) async fn keep_none(&self, reason: &str) -> io::Result<()> {
        let (place, reason) = (self.clone(), reason.to_owned());
        unblock(move || place.write(&place.none(), &reason)).await
    }

    /// Writes a small file, completely or not at all.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".compiling-").tempfile_in(&self.dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn sidecar(&self) -> PathBuf {
        self.code.with_extension("cwasm.sha256")
    }

    fn none(&self) -> PathBuf {
        self.code.with_extension("none")
    }
}

/// Checks that an upload hashes to its name, because the compiled code is kept under that name.
pub(super) async fn check_upload(wasm: &Path, sha256: &str) -> Result<(), CompileError> {
    let wasm = wasm.to_owned();
    let found = unblock(move || hash_file(&wasm)).await?;
    if found == sha256 { Ok(()) } else { Err(CompileError::Changed(found)) }
}

#[expect(
    unsafe_code,
    reason = "mapping compiled code runs it; only files that our own child wrote and whose hash matches come here"
)]
fn map(engine: &Engine, code: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file lies in the host's own directory (mode 0700), and our compiling child wrote it for this very
    // engine. Its hash has just been found equal to the one taken when it was written.
    unsafe { Component::deserialize_file(engine, code) }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
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
