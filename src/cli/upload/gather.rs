//! Turns a path or URL in a service file into files on this machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::archive::{self, Format};
use super::fetch::fetch;
use super::limits::Budget;
use super::relative::RelativePath;
use super::source::Source;
use super::{Artifact, Model, ModelFile};
use crate::cli::screen::Screen;

/// The first bytes of every WebAssembly binary, module or component.
const WASM: &[u8] = b"\0asm";
/// Most files that an error lists.
const LISTED: usize = 10;

/// Collects files. It owns the temporary directory for unpacked archives and downloads.
pub(super) struct Gatherer<'a> {
    scratch: TempDir,
    rooms: usize,
    screen: &'a Screen,
}

/// A directory or an unpacked archive. A single file is a tree, too.
struct Tree {
    root: PathBuf,
    files: Vec<RelativePath>,
    /// Empty directories.
    empty: Vec<RelativePath>,
    single: bool,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(screen: &'a Screen) -> Result<Self> {
        let scratch =
            tempfile::Builder::new().prefix("bulkhead-").tempdir().context("cannot make a temporary directory")?;
        Ok(Self { scratch, rooms: 0, screen })
    }

    /// Returns the temporary directory, which the caller keeps as long as it needs the files.
    pub(super) fn finish(self) -> TempDir {
        self.scratch
    }

    pub(super) fn processor(&mut self, source: &Source, entry: Option<&str>) -> Result<Artifact> {
        let processor = self.try_processor(source, entry).map_err(|error| match source {
            Source::Path(path) if is_missing_example(path) => {
                anyhow!("there is no such file; `cargo xtask guests` builds the examples")
            }
            _ => error,
        });
        processor.with_context(|| format!("`{}`", source.shown()))
    }

    pub(super) fn model(&mut self, source: &Source, entry: Option<&str>) -> Result<Model> {
        self.try_model(source, entry).with_context(|| format!("`{}`", source.shown()))
    }

    /// A single file, which is not unpacked even if it is an archive.
    pub(super) fn file(&mut self, source: &Source) -> Result<Artifact> {
        let artifact = match source {
            Source::Path(path) => return measure_file(path),
            Source::Url(_) => self.download(source).and_then(|path| measure(&path)),
            Source::Artifact(sha256) => Ok(on_the_server(sha256)),
        };
        artifact.with_context(|| format!("`{}`", source.shown()))
    }

    fn try_processor(&mut self, source: &Source, entry: Option<&str>) -> Result<Artifact> {
        if let Source::Artifact(sha256) = source {
            return Ok(on_the_server(sha256));
        }
        let tree = self.tree(source)?;
        let file = tree.processor(entry)?.below(&tree.root);
        let mut head = Vec::new();
        File::open(&file)?.take(8).read_to_end(&mut head)?;
        let place = if tree.single { String::new() } else { format!("`{}` ", file.display()) };
        match head.as_slice() {
            [] => bail!("{place}is empty"),
            head if head.starts_with(WASM) => measure(&file),
            head if head.starts_with(b"(") => {
                bail!("{place}is WebAssembly text; translate it to the binary form first")
            }
            head if head.starts_with(b"\x7fELF") => bail!(
                "{place}is machine code, a native library or an ahead-of-time compiled module; \
                 the host compiles the WebAssembly itself and takes nothing else"
            ),
            _ => bail!("{place}is not WebAssembly: it does not begin with `\\0asm`"),
        }
    }

    fn try_model(&mut self, source: &Source, entry: Option<&str>) -> Result<Model> {
        let tree = self.tree(source)?;
        if tree.files.is_empty() {
            bail!("holds no files");
        }
        let entry = tree.model_entry(entry)?;
        let files = tree.files.iter().map(|path| {
            let artifact = measure(&path.below(&tree.root))?;
            Ok(ModelFile { path: path.clone(), artifact })
        });
        Ok(Model { files: files.collect::<Result<_>>()?, empty_directories: tree.empty, entry })
    }

    fn tree(&mut self, source: &Source) -> Result<Tree> {
        let path = match source {
            Source::Path(path) => path.clone(),
            Source::Url(_) => self.download(source)?,
            Source::Artifact(_) => {
                bail!("the files of a model must be on this machine; only a processor can be on the server")
            }
        };
        // The path itself may be a link, for example to the latest build. Links inside a directory are refused.
        let metadata = fs::metadata(&path).map_err(missing)?;
        if metadata.is_dir() {
            return Tree::walk(path);
        }
        plain_file(&path)?;
        let name = source.file_name();
        if let Some(format) = Format::of_name(&name) {
            return self.unpack(&path, format);
        }
        if Format::is_another(&name) {
            bail!(
                "it is an archive of a kind that is not unpacked; accepted are .tar, .tar.gz, .tar.bz2 and .zip, a directory, \
                 or a single file that is no archive"
            );
        }
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        let file = RelativePath::parse(&name).map_err(|bad| anyhow!("{bad}"))?;
        Ok(Tree { root, files: vec![file], empty: Vec::new(), single: true })
    }

    fn unpack(&mut self, path: &Path, format: Format) -> Result<Tree> {
        let root = self.room()?;
        let spinner = self.screen.spinner("unpacking");
        let archive = File::open(path)?;
        let files = archive::unpack(archive, format, &root, &mut Budget::default());
        spinner.finish_and_clear();
        let files = files?;
        // The unpacked directory is walked like any other. Only the order of the files comes from the archive.
        let Tree { root, empty, .. } = Tree::walk(root)?;
        Ok(Tree { root, files, empty, single: false })
    }

    fn download(&mut self, source: &Source) -> Result<PathBuf> {
        let Source::Url(uri) = source else { bail!("is not a URL") };
        let name =
            RelativePath::parse(&source.file_name()).map_err(|_| anyhow!("the URL's path ends without a file name"))?;
        let path = name.below(&self.room()?);
        let mut file = File::create_new(&path).context("cannot store the download")?;
        fetch(uri, &mut file, &mut Budget::default(), self.screen)?;
        Ok(path)
    }

    /// Makes an empty directory for one archive or one download.
    fn room(&mut self) -> Result<PathBuf> {
        self.rooms += 1;
        let room = self.scratch.path().join(self.rooms.to_string());
        fs::create_dir(&room).context("cannot make a temporary directory")?;
        Ok(room)
    }
}

impl Tree {
    /// Lists a directory. Links are refused because they may lead anywhere, pipes and devices because reading them may
    /// never end.
    fn walk(root: PathBuf) -> Result<Self> {
        let mut budget = Budget::default();
        let (mut files, mut empty) = (Vec::new(), Vec::new());
        let mut open = vec![root.clone()];
        while let Some(directory) = open.pop() {
            let mut is_empty = true;
            for entry in fs::read_dir(&directory).map_err(missing)? {
                let entry = entry?;
                let path = entry.path();
                budget.entry().map_err(|limit| anyhow!("{limit}"))?;
                let kind = entry.file_type()?;
                if kind.is_symlink() {
                    bail!("`{}` is a symbolic link; put the file itself there", path.display());
                }
                if kind.is_dir() {
                    is_empty = false;
                    open.push(path);
                    continue;
                }
                if !kind.is_file() {
                    bail!("`{}` is neither a file nor a directory", path.display());
                }
                let inside = inside_of(&root, &path)?;
                if inside.is_litter() {
                    continue;
                }
                is_empty = false;
                budget.bytes(entry.metadata()?.len()).map_err(|limit| anyhow!("{limit}"))?;
                files.push(inside);
            }
            if is_empty && directory != root {
                let inside = inside_of(&root, &directory)?;
                empty.extend((!inside.is_litter()).then_some(inside));
            }
        }
        files.sort();
        empty.sort();
        Ok(Self { root, files, empty, single: false })
    }

    fn processor(&self, entry: Option<&str>) -> Result<&RelativePath> {
        if let Some(entry) = entry {
            let wanted = RelativePath::parse(entry).map_err(|bad| anyhow!("processor_entry: {bad}"))?;
            let found = self.files.iter().find(|file| **file == wanted);
            return found
                .ok_or_else(|| anyhow!("processor_entry: there is no `{wanted}` in it, only {}", list(&self.files)));
        }
        if self.single {
            return self.files.first().ok_or_else(|| anyhow!("holds no files"));
        }
        let wasm: Vec<_> = self.files.iter().filter(|file| file.as_str().ends_with(".wasm")).collect();
        match wasm.as_slice() {
            [one] => Ok(*one),
            [] if self.files.is_empty() => bail!("is empty; it should hold the processor, a .wasm file"),
            [] => bail!("holds no .wasm file, only {}", list(&self.files)),
            several => bail!(
                "holds {} .wasm files, so `processor_entry` must name one of {}",
                several.len(),
                list(several.iter().copied())
            ),
        }
    }

    /// The model's entry: the one that the service file names, or else the model's only file. A named entry may be a
    /// directory, even an empty one, since the processor finds that as well.
    fn model_entry(&self, entry: Option<&str>) -> Result<Option<String>> {
        let Some(entry) = entry else {
            return match self.files.as_slice() {
                [one] => Ok(Some(one.to_string())),
                _ => Ok(None),
            };
        };
        let wanted = RelativePath::parse(entry).map_err(|bad| anyhow!("model_entry: {bad}"))?;
        let inside = format!("{wanted}/");
        let there = |path: &RelativePath| *path == wanted || path.as_str().starts_with(&inside);
        if !self.files.iter().chain(&self.empty).any(there) {
            bail!("model_entry: there is no `{wanted}` in it, only {}", list(&self.files));
        }
        Ok(Some(wanted.to_string()))
    }
}

fn inside_of(root: &Path, path: &Path) -> Result<RelativePath> {
    let inside = path.strip_prefix(root)?.to_string_lossy().into_owned();
    RelativePath::parse(&inside).map_err(|bad| anyhow!("{bad}"))
}

fn list<'a>(files: impl IntoIterator<Item = &'a RelativePath>) -> String {
    let mut names: Vec<_> = files.into_iter().map(|file| format!("`{file}`")).collect();
    match names.len() {
        0 => "no files".to_owned(),
        1..=LISTED => names.join(", "),
        all => {
            names.truncate(LISTED);
            format!("{} and {} more", names.join(", "), all - LISTED)
        }
    }
}

fn plain_file(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(missing)?;
    if metadata.is_dir() {
        bail!("is a directory; a file is needed");
    }
    if !metadata.is_file() {
        bail!("is neither a file nor a directory");
    }
    Ok(())
}

/// True if the path is that of an example's processor that has not been built.
fn is_missing_example(path: &Path) -> bool {
    let is_there = |directory: &Path| directory.ends_with("target/guests");
    path.parent().is_some_and(is_there)
        && fs::metadata(path).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

fn missing(cause: io::Error) -> anyhow::Error {
    match cause.kind() {
        io::ErrorKind::NotFound => anyhow!("there is no such file or directory"),
        _ => anyhow::Error::new(cause).context("cannot be read"),
    }
}

/// A file that only the server has. Its size is not needed, because it is not sent.
fn on_the_server(sha256: &str) -> Artifact {
    Artifact { sha256: sha256.to_owned(), bytes: 0, file: None }
}

/// Measures a file; the error names the path.
pub(super) fn measure_file(path: &Path) -> Result<Artifact> {
    plain_file(path).and_then(|()| measure(path)).with_context(|| format!("`{}`", path.display()))
}

/// Reads a file once for both its size and its hash, so that the two match.
fn measure(path: &Path) -> Result<Artifact> {
    let mut file = File::open(path).map_err(missing)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(missing)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hash.update(&buffer[..count]);
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Artifact { sha256, bytes, file: Some(path.to_owned()) })
}
