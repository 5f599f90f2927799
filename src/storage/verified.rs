//! Remembers the hashes of files, so that each file is read only once per process.
//!
//! A file is read when it is first used after a start, and again when its inode, size or times have changed. A file
//! that the host itself links or touches stays known. If a failing disk changes a known file, that is noticed after the
//! next start.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::Digest;
use crate::hex::hex;

/// Most files that are remembered. Beyond that, all are forgotten and read again.
const MOST: usize = 65_536;
/// A file that was changed within this time may change again without a change of its times, because the kernel's clock
/// for them is coarse.
const TICK: Duration = Duration::from_millis(20);

/// The outcome of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    Missing,
    /// The reason.
    Damaged(String),
}

/// Identifies a file independently of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl From<&Metadata> for Inode {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

/// The size and times of a file, which change when it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True once a change after `now` is sure to show in the times.
    fn is_settled(&self, now: SystemTime) -> bool {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanoseconds) = self.changed;
        let changed =
            Duration::new(u64::try_from(seconds).unwrap_or_default(), u32::try_from(nanoseconds).unwrap_or(0));
        since.checked_sub(changed).is_some_and(|age| age >= TICK)
    }
}

/// The hash of a file, and its stamp at the time of reading.
struct Read {
    sha256: String,
    stamp: Stamp,
}

/// The known hash of one file. The lock is held while the file is read, so that it is read once even if several need it
/// at the same time.
type Place = Arc<Mutex<Option<Read>>>;

#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<Inode, Place>>);

impl Verified {
    /// Checks that the file at `path` is a plain file that hashes to `expected`. May block.
    pub(super) fn check(&self, path: &Path, expected: &Digest) -> Verdict {
        match self.digest(path) {
            Ok(found) if found == expected.as_str() => Verdict::Whole,
            Ok(found) => Verdict::Damaged(format!("its bytes hash to {found}")),
            Err(error) if error.kind() == ErrorKind::NotFound => Verdict::Missing,
            Err(error) => Verdict::Damaged(format!("it cannot be read: {error}")),
        }
    }

    fn digest(&self, path: &Path) -> io::Result<String> {
        let mut file = open(path)?;
        let place = self.place((&file.metadata()?).into());
        let mut known = lock(&place);
        let stamp = Stamp::of(&file.metadata()?);
        if let Some(read) = known.as_ref().filter(|read| read.stamp == stamp) {
            return Ok(read.sha256.clone());
        }
        let began = SystemTime::now();
        let sha256 = hash(&mut file)?;
        let is_still = Stamp::of(&file.metadata()?) == stamp;
        *known = (is_still && stamp.is_settled(began)).then(|| Read { sha256: sha256.clone(), stamp });
        Ok(sha256)
    }

    /// Does `work` that changes a file's times but not its bytes, such as linking it. The file stays known.
    pub(super) fn keeping<T>(&self, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = fs::symlink_metadata(path)?;
        let place = self.place((&before).into());
        let mut known = lock(&place);
        let before = fs::symlink_metadata(path)?;
        let done = work()?;
        let after = fs::symlink_metadata(path)?;
        let is_same = Inode::from(&before) == Inode::from(&after) && before.size() == after.size();
        match known.as_mut() {
            Some(read) if is_same && read.stamp == Stamp::of(&before) => read.stamp = Stamp::of(&after),
            _ => {}
        }
        Ok(done)
    }

    fn place(&self, inode: Inode) -> Place {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&inode) {
            all.clear();
        }
        Arc::clone(all.entry(inode).or_default())
    }
}

fn lock(place: &Place) -> MutexGuard<'_, Option<Read>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a regular file for reading. Opening a pipe could block forever, and a symbolic link may lead anywhere.
fn open(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a plain file"));
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    File::options().read(true).custom_flags(flags).open(path)
}

fn hash(file: &mut File) -> io::Result<String> {
    use io::Read as _;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn abc() -> Digest {
        Digest::parse(ABC).unwrap()
    }

    /// A file whose times are old enough for its hash to be remembered.
    fn old_file(dir: &Path, text: &str) -> std::path::PathBuf {
        let path = dir.join("file");
        fs::write(&path, text).unwrap();
        while !Stamp::of(&fs::metadata(&path).unwrap()).is_settled(SystemTime::now()) {
            std::thread::yield_now();
        }
        path
    }

    fn is_known(verified: &Verified, path: &Path) -> bool {
        let metadata = fs::metadata(path).unwrap();
        let place = verified.place((&metadata).into());
        let known = lock(&place);
        known.as_ref().is_some_and(|read| read.stamp == Stamp::of(&metadata))
    }

    #[test]
    fn a_file_is_read_once_and_again_when_it_was_written_to() {
        let (dir, verified) = (tempfile::tempdir().unwrap(), Verified::default());
        let path = old_file(dir.path(), "abc");
        assert_eq!(verified.check(&path, &abc()), Verdict::Whole);
        assert!(is_known(&verified, &path));
        // The size and the modification time stay the same; only the change time of the inode differs.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "abd").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(matches!(verified.check(&path, &abc()), Verdict::Damaged(reason) if reason.contains("hash to")));
        fs::write(&path, "abc").unwrap();
        assert_eq!(verified.check(&path, &abc()), Verdict::Whole);
        fs::remove_file(&path).unwrap();
        assert_eq!(verified.check(&path, &abc()), Verdict::Missing);
    }

    #[test]
    fn what_we_do_to_a_file_ourselves_does_not_make_it_unknown() {
        let (dir, verified) = (tempfile::tempdir().unwrap(), Verified::default());
        let path = old_file(dir.path(), "abc");
        assert_eq!(verified.check(&path, &abc()), Verdict::Whole);
        verified.keeping(&path, || fs::hard_link(&path, dir.path().join("link"))).unwrap();
        assert!(is_known(&verified, &path) && is_known(&verified, &dir.path().join("link")));
        // A file that was written to does not stay known.
        fs::write(&path, "abd").unwrap();
        verified.keeping(&path, || fs::hard_link(&path, dir.path().join("another"))).unwrap();
        assert!(!is_known(&verified, &path));
    }

    #[test]
    fn what_is_no_plain_file_is_damaged_and_waited_for_by_nobody() {
        let (dir, verified) = (tempfile::tempdir().unwrap(), Verified::default());
        let path = old_file(dir.path(), "abc");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for odd in [dir.path(), &link, &pipe] {
            assert!(matches!(verified.check(odd, &abc()), Verdict::Damaged(_)), "{odd:?}");
        }
    }
}
