//! All state of a host.
//!
//! Two traits cover the state that several hosts could share: [`Catalog`] for the records of services, and
//! [`Artifacts`] for their files. `local` implements both in the data directory; another implementation would be
//! another module beside it. The rest belongs to one machine: model directories, compiled code, the admin token.
//!
//! ```text
//! bulkhead.redb            the records of services, their last versions, and the audit log; a change is one
//! transaction
//! keyvalue.redb            the key-value stores of guests: see `keyvalue.rs`
//! admin.token              the admin API's bearer token
//! bulkhead.pid             the id of the process that uses the directory, for the error message of a second process
//! artifacts/<sha256>       uploaded files, named by their SHA-256
//! models/<sha256>/…        model directories, made of links to artifacts and named by the hash of their list of files
//! compiled/<engine>/…      machine code and images of initialised guests, made again when missing or wrong: see
//!                          `sandbox/compile/kept.rs`
//! ```
//!
//! A crash at any moment leaves the old record or the new one: a record is written only after every file it names is on
//! disk. A file that is named by a hash gets its name once it is complete, is read-only from then on, and is never
//! opened for writing. If its bytes have changed nevertheless, it is damaged and is not used (see [`verified`]). A
//! crash may also leave files that no version names; the next start removes them. A directory that has files of
//! services but no database is not used, so that these files are not removed after the database was lost. Only the
//! host's user may access the directory (mode 0700, see [`private`]): it has tokens in plain text, because verifying
//! the signatures of EAS clients needs the secret itself.

mod artifacts;
mod catalog;
mod compiled;
mod digest;
mod entry;
mod error;
mod holder;
mod local;
mod manifest;
#[cfg(any(test, debug_assertions))]
pub mod memory;
mod model_path;
mod models;
mod private;
mod record;
mod stored_file;
#[cfg(test)]
mod suite;
mod verified;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::artifacts::{Artifacts, ByteRange, Reader, Upload};
pub use self::catalog::{Catalog, ENTRIES_KEPT, Edit, VERSIONS_KEPT};
pub use self::digest::Digest;
pub use self::entry::Entry;
use self::error::Doing;
pub use self::error::StorageError;
pub use self::holder::{holder, note_holder};
use self::local::Opening;
pub(crate) use self::local::database::{Absent, OpenDatabase};
pub use self::manifest::Manifest;
pub(crate) use self::model_path::judge as judge_model_path;
use self::models::Models;
pub use self::record::{Artifact, CanaryRecord, ListedFile, MirrorRecord, ModelFile, Record, VersionRecord};
pub use self::stored_file::StoredFile;
use self::verified::Verified;
use crate::config::Token;
use crate::failpoint;

/// The time for which files are kept that no version names. They may belong to a deploy that is still uploading.
const UPLOAD_GRACE: Duration = Duration::from_secs(3600);
/// The mode of every artifact's file, and of the files in model directories.
const READ_ONLY: u32 = 0o444;

/// A future of storage: boxed, so that the traits can be used as `dyn`.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// The state of one host: its catalog, its artifacts, and the machine's own data directory.
pub struct Storage {
    dir: PathBuf,
    catalog: Arc<dyn Catalog>,
    artifacts: Arc<dyn Artifacts>,
    models: Models,
}

impl Storage {
    /// Opens the data directory, and makes it if it is missing. The database's lock refuses a second process. Blocks.
    ///
    /// # Errors
    /// A database that is damaged, or that is missing although there are files of services.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_local(dir, Opening::Usual)
    }

    /// Opens a data directory whose database is gone, with a new database.
    ///
    /// # Errors
    /// A database that exists.
    pub fn begin_anew(dir: &Path) -> Result<Self, StorageError> {
        Self::open_local(dir, Opening::Anew)
    }

    fn open_local(dir: &Path, opening: Opening) -> Result<Self, StorageError> {
        prepare(dir)?;
        let verified = Arc::<Verified>::default();
        let (catalog, artifacts) = local::open(dir, opening, Arc::clone(&verified))?;
        Self::of_parts(dir, Arc::new(catalog), Arc::new(artifacts), verified)
    }

    /// Storage with this catalog and these artifacts. The data directory, which is made if it is missing, has only the
    /// state that belongs to this machine.
    ///
    /// # Errors
    /// A directory that cannot be used.
    pub fn with(dir: &Path, catalog: Arc<dyn Catalog>, artifacts: Arc<dyn Artifacts>) -> Result<Self, StorageError> {
        prepare(dir)?;
        Self::of_parts(dir, catalog, artifacts, Arc::default())
    }

    fn of_parts(
        dir: &Path,
        catalog: Arc<dyn Catalog>,
        artifacts: Arc<dyn Artifacts>,
        verified: Arc<Verified>,
    ) -> Result<Self, StorageError> {
        let dir = canonical(dir)?;
        let models = Models::new(dir.join("models"), verified);
        Ok(Self { dir, catalog, artifacts, models })
    }

    pub fn catalog(&self) -> &dyn Catalog {
        &*self.catalog
    }

    pub fn artifacts(&self) -> &dyn Artifacts {
        &*self.artifacts
    }

    pub fn compiled(&self) -> PathBuf {
        self.dir.join("compiled")
    }

    /// Returns the path of the database of key-value stores.
    pub fn keyvalue(&self) -> PathBuf {
        self.dir.join("keyvalue.redb")
    }

    /// The admin API's token, made at the first start. Blocks.
    pub fn admin_token(&self) -> Result<Token, StorageError> {
        let path = self.dir.join("admin.token");
        match fs::read_to_string(&path) {
            // A crash during the first start leaves an empty file.
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => return own_admin_token(&text).doing(|| format!("use {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing(|| format!("read {}", path.display())),
        }
        let what = || format!("write {}", path.display());
        let token = Token::generate().map_err(io::Error::other).doing(what)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).doing(what)?;
        io::Write::write_all(&mut file, format!("{}\n", token.reveal()).as_bytes())
            .and_then(|()| file.sync_all())
            .doing(what)?;
        Ok(token)
    }

    /// Removes the files that a crash has left behind. This is for the start of a host, before there can be uploads.
    /// Complete artifacts are kept for a while, because a client may still come back to deploy them.
    ///
    /// # Errors
    /// As [`Storage::sweep`].
    pub async fn clean(&self) -> Result<(), StorageError> {
        self.sweep().await?;
        self.sweep_models().await
    }

    /// Removes files that no kept version names and that are too old to belong to a deploy that is still uploading. A
    /// running version does not need them: its code is in memory, and its model has links of its own to the same files.
    ///
    /// # Errors
    /// A file that cannot be removed; a catalog that cannot be read.
    pub async fn sweep(&self) -> Result<(), StorageError> {
        let versions = self.catalog.all_versions().await?;
        let named: HashSet<Digest> = versions.iter().flat_map(VersionRecord::digests).cloned().collect();
        self.artifacts.sweep(named, UPLOAD_GRACE).await?;
        let compiled = self.compiled();
        blocking(move || {
            failpoint::reach("sweep.artifacts");
            compiled::sweep(&compiled, &versions)
        })
        .await
    }

    /// Removes model directories that no version names. A version that is still finishing its requests may need its
    /// directory for a new guest, so this is not done at every change.
    ///
    /// # Errors
    /// As [`Storage::sweep`].
    pub async fn sweep_models(&self) -> Result<(), StorageError> {
        let (versions, models) = (self.catalog.all_versions().await?, self.models.clone());
        blocking(move || models.sweep(&versions)).await
    }

    /// The directory with a service's model, its files checked against the list; `None` for a service without a model.
    ///
    /// # Errors
    /// A model file that is missing or damaged, or that cannot lie in one directory with the others.
    pub async fn model_dir(&self, files: &[ModelFile]) -> Result<Option<PathBuf>, StorageError> {
        self.models.assemble(self.artifacts(), files).await
    }

    /// All bytes of an artifact.
    ///
    /// # Errors
    /// As [`Artifacts::read`].
    pub async fn read_whole(&self, digest: &Digest, part: &str) -> Result<Bytes, StorageError> {
        let mut reader = self.artifacts.read(digest, part, ByteRange::WHOLE).await?;
        let mut whole = Vec::new();
        while let Some(piece) = reader.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}

/// Parses a token that an operator has put into the file. A short token is refused, because it could be guessed.
fn own_admin_token(text: &str) -> io::Result<Token> {
    const LEAST: usize = 16;
    let refuse = || {
        let expected =
            format!("expected {LEAST} to 512 visible ASCII characters; if the file is missing, a token is made");
        io::Error::new(io::ErrorKind::InvalidData, expected)
    };
    let token = Token::parse(text.trim()).map_err(|_| refuse())?;
    if token.reveal().len() < LEAST { Err(refuse()) } else { Ok(token) }
}

/// Makes the data directory if it is missing, and closes it to other users.
fn prepare(dir: &Path) -> Result<(), StorageError> {
    make_dir(dir)?;
    private::close(dir)?;
    for part in ["models", "compiled"] {
        make_dir(&dir.join(part))?;
    }
    Ok(())
}

/// The absolute path of the directory. Guests' model directories are opened by path, which must not depend on the
/// working directory.
fn canonical(dir: &Path) -> Result<PathBuf, StorageError> {
    dir.canonicalize().doing(|| format!("find {}", dir.display()))
}

/// Does `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(StorageError::Io { what: "finish work on the disk".into(), source: io::Error::other(error) })
    })
}

/// The names and paths of all entries of a directory.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, StorageError> {
    let what = || format!("list {}", dir.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).doing(what)? {
        let entry = entry.doing(what)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

/// Makes a directory that only the host's user may access, unless it exists.
fn make_dir(dir: &Path) -> Result<(), StorageError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.doing(|| format!("make directory {}", dir.display()))
}

/// Makes a rename in `dir` survive a power failure.
fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).doing(|| format!("sync directory {}", dir.display()))
}

#[cfg(test)]
mod tests;
