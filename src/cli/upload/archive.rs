//! Unpacks archives that a service file names: tar, tar.gz, tar.bz2 and zip.
//!
//! Paths, links and sizes in an archive are not trusted: paths are parsed and rebuilt, links are refused, and every
//! byte counts against a [`Budget`] as it is written. The permissions, owners and times in the archive are ignored.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::limits::{Budget, TooMuch};
use super::relative::{BadPath, RelativePath};

/// The format of an archive. It is derived from the name and not from the content, because a model may be a zip file
/// that must stay packed (`.npz`, `.pt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Tar,
    TarGz,
    TarBz2,
    Zip,
}

impl Format {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if ends(&[".tar"]) {
            Some(Self::Tar)
        } else if ends(&[".tar.gz", ".tgz"]) {
            Some(Self::TarGz)
        } else if ends(&[".tar.bz2", ".tbz2", ".tbz"]) {
            Some(Self::TarBz2)
        } else if ends(&[".zip"]) {
            Some(Self::Zip)
        } else {
            None
        }
    }

    /// True if the name is that of an archive in a format that is not unpacked.
    pub(super) fn is_another(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        let tars = [".tar.xz", ".tar.zst", ".tar.lz4", ".tar.lz", ".tar.lzma", ".tar.z", ".tar.br"];
        ends(&tars) || ends(&[".txz", ".tlz", ".tzst", ".7z", ".rar"])
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The bytes are not of the format that the name says, or are truncated.
    #[error("not a readable archive of the kind that its name says")]
    Unreadable(#[source] io::Error),
    #[error("{0}")]
    Path(BadPath),
    #[error("`{0}` is a link; pack the file itself")]
    Link(String),
    /// A device, a pipe, or something else that is neither a file nor a directory.
    #[error("`{0}` is neither a file nor a directory")]
    Special(String),
    #[error("`{0}` is encrypted; pack it without a password")]
    Encrypted(String),
    #[error("`{0}` is in it twice")]
    Twice(String),
    /// An entry that cannot be made, because another entry has its name or is a file above it.
    #[error(
        "`{0}` and another entry cannot both be unpacked: they have the same name on this file system, or one is a file \
         and the other lies in it"
    )]
    Clash(String),
    #[error("{0}")]
    TooMuch(TooMuch),
    /// This machine cannot store the unpacked file.
    #[error("cannot unpack to `{}`", .0.display())]
    Disk(PathBuf, #[source] io::Error),
}

/// Unpacks into `target`, an empty directory, and returns the paths of the files in it, in the order of the archive.
pub(super) fn unpack(
    archive: File,
    format: Format,
    target: &Path,
    budget: &mut Budget,
) -> Result<Vec<RelativePath>, ArchiveError> {
    let unpacking = Unpacking { target, budget, seen: HashSet::new(), files: Vec::new() };
    match format {
        Format::Tar => unpacking.tar(archive),
        Format::TarGz => unpacking.tar(flate2::read::MultiGzDecoder::new(archive)),
        Format::TarBz2 => unpacking.tar(bzip2::read::MultiBzDecoder::new(archive)),
        Format::Zip => unpacking.zip(&archive),
    }
}

struct Unpacking<'a> {
    target: &'a Path,
    budget: &'a mut Budget,
    seen: HashSet<RelativePath>,
    files: Vec<RelativePath>,
}

impl Unpacking<'_> {
    fn tar(mut self, stream: impl Read) -> Result<Vec<RelativePath>, ArchiveError> {
        // The reader keeps long names and extended headers in memory, so the stream itself is bounded and not only the
        // files in it.
        let bounded = stream.take(self.budget.stream_limit());
        let mut archive = tar::Archive::new(bounded);
        for entry in archive.entries().map_err(ArchiveError::Unreadable)? {
            let mut entry = entry.map_err(ArchiveError::Unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                self.directory(&name)?;
            } else if kind.is_symlink() || kind.is_hard_link() {
                return Err(ArchiveError::Link(name));
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                let size = entry.size();
                self.file(&name, size, &mut entry)?;
            } else if !kind.is_pax_global_extensions() {
                return Err(ArchiveError::Special(name));
            }
        }
        // Reads the stream to its end, where the decoder checks the checksum.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Unreadable)?;
        Ok(self.files)
    }

    fn zip(mut self, file: &File) -> Result<Vec<RelativePath>, ArchiveError> {
        let mut archive = zip::ZipArchive::new(file).map_err(unreadable)?;
        check_directory(archive.central_directory_start(), archive.len(), file)?;
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(unreadable)?;
            let name = entry.name().map_err(unreadable)?.into_owned();
            if entry.encrypted() {
                return Err(ArchiveError::Encrypted(name));
            }
            if entry.is_symlink() {
                return Err(ArchiveError::Link(name));
            }
            if entry.is_dir() {
                self.directory(&name)?;
                continue;
            }
            let mut entry = archive.by_index(index).map_err(unreadable)?;
            let size = entry.size();
            self.file(&name, size, &mut entry)?;
        }
        Ok(self.files)
    }

    /// Makes a directory, which may be empty.
    fn directory(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.budget.entry().map_err(ArchiveError::TooMuch)?;
        // An archive of a directory often begins with an entry for the directory itself.
        if name.split('/').all(|part| part.is_empty() || part == ".") && !name.starts_with('/') {
            return Ok(());
        }
        let path = RelativePath::parse(name).map_err(ArchiveError::Path)?;
        if path.is_litter() {
            return Ok(());
        }
        let to = path.below(self.target);
        fs::create_dir_all(&to).map_err(|cause| clash_or_disk(&path, &to, cause))
    }

    fn file(&mut self, name: &str, size: u64, content: &mut impl Read) -> Result<(), ArchiveError> {
        self.budget.entry().map_err(ArchiveError::TooMuch)?;
        let path = RelativePath::parse(name).map_err(ArchiveError::Path)?;
        if path.is_litter() {
            return Ok(());
        }
        if !self.seen.insert(path.clone()) {
            return Err(ArchiveError::Twice(path.to_string()));
        }
        // A tar that is truncated inside a file reads as a shorter file.
        if self.write(&path, content)? != size {
            return Err(ArchiveError::Unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        self.files.push(path);
        Ok(())
    }

    fn write(&mut self, path: &RelativePath, content: &mut impl Read) -> Result<u64, ArchiveError> {
        let to = path.below(self.target);
        let folder = to.parent().unwrap_or(self.target);
        fs::create_dir_all(folder).map_err(|cause| clash_or_disk(path, &to, cause))?;
        // `create_new`: on a file system that ignores case, `a` must not overwrite `A`.
        let mut file = File::create_new(&to).map_err(|cause| clash_or_disk(path, &to, cause))?;
        let mut buffer = vec![0; 64 * 1024];
        let mut written = 0;
        loop {
            let count = content.read(&mut buffer).map_err(ArchiveError::Unreadable)?;
            if count == 0 {
                return Ok(written);
            }
            written += count as u64;
            self.budget.bytes(count as u64).map_err(ArchiveError::TooMuch)?;
            io::Write::write_all(&mut file, &buffer[..count]).map_err(|cause| ArchiveError::Disk(to.clone(), cause))?;
        }
    }
}

/// The error for an entry that cannot be created.
fn clash_or_disk(path: &RelativePath, to: &Path, cause: io::Error) -> ArchiveError {
    match cause.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => ArchiveError::Clash(path.to_string()),
        _ => ArchiveError::Disk(to.to_owned(), cause),
    }
}

/// Refuses a zip file whose directory has a name twice: the reader keeps the last entry of a name, other programs keep
/// the first. `known` is the number of entries that the reader has kept.
fn check_directory(start: u64, known: usize, mut file: &File) -> Result<(), ArchiveError> {
    const ENTRY: &[u8] = b"PK\x01\x02";
    file.seek(SeekFrom::Start(start)).map_err(ArchiveError::Unreadable)?;
    let mut directory = BufReader::new(file);
    let mut names = HashSet::with_capacity(known);
    loop {
        let mut head = [0; 46];
        // The record after the entries has another signature, and may be shorter.
        if directory.read_exact(&mut head).is_err() || !head.starts_with(ENTRY) {
            return Ok(());
        }
        let length = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let mut name = vec![0; usize::from(length(28))];
        directory.read_exact(&mut name).map_err(ArchiveError::Unreadable)?;
        directory.seek_relative(i64::from(length(30)) + i64::from(length(32))).map_err(ArchiveError::Unreadable)?;
        if let Some(twice) = names.replace(name) {
            return Err(ArchiveError::Twice(String::from_utf8_lossy(&twice).into_owned()));
        }
    }
}

fn unreadable(error: zip::result::ZipError) -> ArchiveError {
    ArchiveError::Unreadable(io::Error::other(error))
}

#[cfg(test)]
mod tests;
