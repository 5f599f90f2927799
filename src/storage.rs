//! All state of a host, in one data directory.
//!
//! ```text
//! bulkhead.redb            which services exist, one record each, and the last versions of each; a change is one
//!                          transaction
//! admin.token              the admin API's bearer token
//! bulkhead.pid             the process that uses the directory, told to a second one that wants to
//! artifacts/<sha256>       uploaded files, named by what they hold
//! models/<sha256>/…        model directories, linked together from artifacts; the name is that of their list of files
//! compiled/<engine>/…      machine code and images of initialised guests, made again when missing or wrong: see
//!                          `sandbox/compile/kept.rs`
//! ```
//!
//! A crash at any moment leaves the old record or the new one: a record is written only after every file it names is on
//! disk. A file that is named by a hash gets its name once it is complete, is read-only from then on, and is never
//! opened for writing. If its bytes have changed nevertheless, it is damaged and is not used (see [`verified`]). A
//! crash may also leave files that no version names; the next start removes them. A directory that has files of
//! services but no database is not used, so that these files are not removed after the database was lost. The directory
//! is the host's alone (mode 0700, see [`private`]): it has tokens in the clear, because verifying the signatures of
//! EAS clients needs the secret itself.

mod digest;
mod entry;
mod error;
mod holder;
mod local;
mod manifest;
mod model_path;
mod models;
mod private;
mod record;
mod verified;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use self::digest::Digest;
pub use self::entry::Entry;
use self::error::Doing;
pub use self::error::StorageError;
pub use self::holder::{holder, note_holder};
use self::local::artifacts;
pub use self::local::artifacts::Upload;
pub use self::local::records::VERSIONS_KEPT;
use self::local::records::{Opened, Records};
pub use self::manifest::Manifest;
pub(crate) use self::model_path::judge as judge_model_path;
pub use self::record::{Artifact, CanaryRecord, MirrorRecord, ModelFile, Record, VersionRecord};
use self::verified::{Verdict, Verified};
use crate::config::Token;
use crate::failpoint;

/// Files nobody names are kept this long: somebody may be uploading what a coming record will name.
const UPLOAD_GRACE: Duration = Duration::from_secs(3600);

/// The name of the image that a version's guests start from, where they start from one.
pub type ImageName = fn(&VersionRecord) -> Option<String>;

/// One opened data directory. A second process that opens the same one is refused by the database's lock.
pub struct Storage {
    dir: PathBuf,
    records: Records,
    verified: Verified,
}

impl Storage {
    /// Opens the data directory, making it where it is missing.
    ///
    /// # Errors
    /// A database that is damaged, or that is gone and has left files behind.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_or_begin(dir, false)
    }

    /// Opens a data directory whose database is gone, with a new database.
    ///
    /// # Errors
    /// A database that is there.
    pub fn begin_anew(dir: &Path) -> Result<Self, StorageError> {
        Self::open_or_begin(dir, true)
    }

    fn open_or_begin(dir: &Path, anew: bool) -> Result<Self, StorageError> {
        make_dir(dir)?;
        private::close(dir)?;
        for part in ["artifacts", "models", "compiled"] {
            make_dir(&dir.join(part))?;
        }
        let database = dir.join("bulkhead.redb");
        let left = if anew { None } else { artifacts::any_left(dir)? };
        let records = match Records::open(&database, left.is_none())? {
            Opened::There(_) if anew => return Err(StorageError::DatabaseThere { path: database }),
            Opened::There(records) | Opened::New(records) => records,
            Opened::Lost(state) => {
                let beside = left.unwrap_or_default();
                return Err(StorageError::DatabaseLost { path: database, state, beside });
            }
        };
        fs::set_permissions(&database, fs::Permissions::from_mode(0o600))
            .doing(|| format!("keep others out of {}", database.display()))?;
        // Guests' model directories are opened by path, which must not depend on the working directory.
        let dir = dir.canonicalize().doing(|| format!("find {}", dir.display()))?;
        Ok(Self { dir, records, verified: Verified::default() })
    }

    pub fn compiled(&self) -> PathBuf {
        self.dir.join("compiled")
    }

    /// The admin API's token, made at the first start.
    pub fn admin_token(&self) -> Result<Token, StorageError> {
        let path = self.dir.join("admin.token");
        match fs::read_to_string(&path) {
            // An empty file is what a crash in the middle of the first start leaves.
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

    pub fn records(&self) -> Result<Vec<Record>, StorageError> {
        self.records.all()
    }

    /// Makes `record` the service's; it is on disk when this returns.
    pub fn put(&self, record: &Record, entry: &Entry) -> Result<u64, StorageError> {
        self.records.put(record, None, entry)
    }

    /// Makes `record` the service's and keeps `version` among its versions; both are on disk when this returns, or
    /// neither is. Old versions beyond the last [`VERSIONS_KEPT`] are forgotten.
    pub fn put_version(&self, record: &Record, version: &VersionRecord, entry: &Entry) -> Result<u64, StorageError> {
        self.records.put(record, Some(version), entry)
    }

    /// The versions that are kept of a service, oldest first.
    pub fn versions(&self, service: &str) -> Result<Vec<VersionRecord>, StorageError> {
        self.records.versions(service)
    }

    /// Forgets a service and its versions.
    pub fn remove(&self, service: &str, entry: &Entry) -> Result<u64, StorageError> {
        self.records.remove(service, entry)
    }

    /// Adds an entry to the audit log for what changed no record.
    pub fn note(&self, entry: &Entry) -> Result<u64, StorageError> {
        self.records.note(entry)
    }

    /// Up to `limit` entries of the audit log with numbers below `before`, the newest first.
    pub fn audit(&self, service: Option<&str>, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, StorageError> {
        self.records.entries(service, before, limit)
    }

    /// The entry of that number, while it is kept.
    pub fn audit_entry(&self, number: u64) -> Result<Option<Entry>, StorageError> {
        self.records.entry(number)
    }

    /// For the start of a host, when nobody can be uploading yet: removes whatever a crash has left behind. Whole
    /// artifacts are kept for a while even so, because their owner may come back to deploy them.
    pub fn clean(&self, image: ImageName) -> Result<(), StorageError> {
        artifacts::remove_unfinished(&self.dir.join("artifacts"))?;
        self.sweep(image)?;
        self.sweep_models()
    }

    /// Removes files that no version names which is kept and nobody can be uploading any more. A version at work misses
    /// none of them: it has its code in memory, and its model is another link to the same files.
    pub fn sweep(&self, image: ImageName) -> Result<(), StorageError> {
        let versions = self.records.all_versions()?;
        artifacts::sweep(&self.dir.join("artifacts"), &versions, UPLOAD_GRACE)?;
        failpoint::reach("sweep.artifacts");
        artifacts::sweep_compiled(&self.dir.join("compiled"), &versions, image)
    }

    /// Removes model directories that no version names. A version that is still finishing its requests may want its own
    /// for a new guest, so this is not done at every change.
    pub fn sweep_models(&self) -> Result<(), StorageError> {
        models::sweep(&self.dir.join("models"), &self.records.all_versions()?)
    }

    /// Where an artifact lies.
    pub fn artifact(&self, digest: &Digest) -> Result<PathBuf, StorageError> {
        let path = self.dir.join("artifacts").join(digest.as_str());
        if path.is_file() { Ok(path) } else { Err(StorageError::Missing { sha256: digest.as_str().to_owned() }) }
    }

    /// The same for an artifact that hashes to its name. May read the whole file, so it must be called from a thread
    /// that may block.
    ///
    /// # Errors
    /// A file that is gone or damaged; `part` is its role in the error.
    pub fn whole_artifact(&self, digest: &Digest, part: &str) -> Result<PathBuf, StorageError> {
        let path = self.artifact(digest)?;
        match self.verified.check(&path, digest) {
            Verdict::Whole => Ok(path),
            Verdict::Missing => Err(StorageError::Missing { sha256: digest.as_str().to_owned() }),
            Verdict::Damaged(reason) => {
                Err(StorageError::Damaged { part: part.to_owned(), sha256: digest.as_str().to_owned(), reason })
            }
        }
    }

    /// Returns true if an artifact is there, and keeps it as if it had just been uploaded. A damaged one counts as
    /// missing, so that it is uploaded again. May block.
    pub fn renew(&self, digest: &Digest) -> bool {
        let path = match self.whole_artifact(digest, "a file") {
            Ok(path) => path,
            Err(StorageError::Missing { .. }) => return false,
            Err(error) => {
                tracing::warn!(%error, "a damaged file counts as missing");
                return false;
            }
        };
        // A failure is ignored: the artifact is there, even if its time stays old.
        let touch = || fs::File::open(&path)?.set_modified(SystemTime::now());
        let _ = self.verified.keeping(&path, touch);
        true
    }

    /// Begins to receive an artifact of at most `limit` bytes.
    pub fn upload(&self, limit: u64) -> Result<Upload, StorageError> {
        Upload::begin(&self.dir.join("artifacts"), limit)
    }

    /// The directory with a service's model, its files checked against the list; `None` for a service without a model.
    /// May block, as [`Storage::whole_artifact`].
    pub fn model_dir(&self, files: &[ModelFile]) -> Result<Option<PathBuf>, StorageError> {
        models::assemble(self, files)
    }
}

/// The token that an operator put there; one that could be guessed is worse than none.
fn own_admin_token(text: &str) -> io::Result<Token> {
    const LEAST: usize = 16;
    let refuse = || {
        let expected = format!("expected {LEAST} to 512 visible ASCII characters; without the file a token is made");
        io::Error::new(io::ErrorKind::InvalidData, expected)
    };
    let token = Token::parse(text.trim()).map_err(|_| refuse())?;
    if token.reveal().len() < LEAST { Err(refuse()) } else { Ok(token) }
}

/// Makes a directory that is the host's alone, unless it is there.
fn make_dir(dir: &Path) -> Result<(), StorageError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.doing(|| format!("make directory {}", dir.display()))
}

/// Makes a rename in `dir` outlast a power failure.
fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).doing(|| format!("sync directory {}", dir.display()))
}

#[cfg(test)]
mod tests;
