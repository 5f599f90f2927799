//! The files that a service file names, found and measured: a processor, a model, warm-up data.
//!
//! Each may be a file, a directory, an archive or an http(s) URL, relative to the service file. What comes out is a
//! list of plain files on this machine with their SHA-256, whatever they came from; sending them is [`send`]'s
//! business, running them `local`'s.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::screen::Screen;
use crate::api::{CreateBody, ListedModelFile, ModifyBody, Sha256};

mod archive;
mod fetch;
mod gather;
mod limits;
mod relative;
mod send;
mod source;

use gather::Gatherer;
pub use relative::RelativePath;
pub(crate) use send::send;
use source::{ARTIFACT, Source};

/// A file on this machine and what it hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    sha256: String,
    bytes: u64,
    /// None where the server has it already.
    file: Option<PathBuf>,
}

/// A file of the model: where it lies in the model directory, and where it lies now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    path: RelativePath,
    artifact: Artifact,
}

#[derive(Debug)]
pub(crate) struct Model {
    files: Vec<ModelFile>,
    /// Empty directories; all others are made for their files.
    empty_directories: Vec<RelativePath>,
    entry: Option<String>,
}

/// Everything that a service file names. What was unpacked or downloaded is removed when this is dropped.
#[derive(Debug)]
pub struct Upload {
    processor: Artifact,
    model: Option<Model>,
    warm_up: Option<Artifact>,
    _scratch: tempfile::TempDir,
}

/// What a change to a service file names; the outer `None` is a key that the change does not mention.
#[derive(Debug)]
pub(crate) struct Change {
    processor: Option<Artifact>,
    model: Option<Option<Model>>,
    warm_up: Option<Option<Artifact>>,
    _scratch: tempfile::TempDir,
}

impl Artifact {
    /// Lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    fn digest(&self) -> Sha256 {
        self.sha256.clone().into()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// As a service file names it once the server has it.
    pub(crate) fn name(&self) -> String {
        format!("{ARTIFACT}{}", self.sha256)
    }

    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        gather::measure_file(path)
    }
}

impl ModelFile {
    /// `/`-separated, relative to the model directory, never leading out of it.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

impl Upload {
    /// Finds what a service file names; `file` is its normalised form, `base` the directory it lies in.
    pub(crate) fn gather(file: &Value, base: &Path, screen: &Screen) -> Result<Self> {
        let mut gatherer = Gatherer::new(screen)?;
        let Some(processor) = text(file, "processor_path")? else {
            bail!("the service file names no processor: `processor_path` is missing");
        };
        let processor = gatherer.processor(&Source::parse(processor, base)?, text(file, "processor_entry")?);
        let processor = processor.context("processor_path")?;
        let model = model(&mut gatherer, file, base)?;
        let warm_up = warm_up(&mut gatherer, file, base)?;
        Ok(Self { processor, model, warm_up, _scratch: gatherer.finish() })
    }

    pub fn processor(&self) -> &Artifact {
        &self.processor
    }

    /// Empty where the service has no model.
    pub fn model(&self) -> &[ModelFile] {
        self.model.as_ref().map_or(&[], |model| &model.files)
    }

    /// Empty directories of the model.
    pub fn empty_directories(&self) -> &[RelativePath] {
        self.model.as_ref().map_or(&[], |model| &model.empty_directories)
    }

    /// The service file's `model_entry`; where it has none, the model's only file.
    pub fn model_entry(&self) -> Option<&str> {
        self.model.as_ref()?.entry.as_deref()
    }

    pub fn warm_up(&self) -> Option<&Artifact> {
        self.warm_up.as_ref()
    }

    /// The body of a request to create the service. The entry that was worked out is written into the spec, so that the
    /// server and a later reader see the same service file.
    pub(crate) fn body(&self, mut spec: Value) -> CreateBody {
        if let Some(entry) = self.model_entry() {
            spec["model_entry"] = json!(entry);
        }
        CreateBody {
            spec,
            processor: self.processor.digest(),
            model: self.model.as_ref().map(Model::manifest).unwrap_or_default(),
            warm_up: self.warm_up.as_ref().map(Artifact::digest),
        }
    }

    pub(crate) fn artifacts(&self) -> Vec<&Artifact> {
        let model = self.model().iter().map(ModelFile::artifact);
        std::iter::once(&self.processor).chain(model).chain(&self.warm_up).collect()
    }
}

impl Change {
    /// Finds what the changed keys name.
    pub(crate) fn gather(patch: &Value, base: &Path, screen: &Screen) -> Result<Self> {
        let mut gatherer = Gatherer::new(screen)?;
        let entry = text(patch, "processor_entry")?;
        let processor = match text(patch, "processor_path")? {
            Some(path) => Some(gatherer.processor(&Source::parse(path, base)?, entry).context("processor_path")?),
            None if entry.is_some() => {
                bail!("`processor_entry` picks a file out of `processor_path`, so the change must name that too")
            }
            None => None,
        };
        let mentions = |key| patch.get(key).is_some();
        let model = if mentions("model_path") { Some(model(&mut gatherer, patch, base)?) } else { None };
        let warm_up = if mentions("warm_up_data_path") { Some(warm_up(&mut gatherer, patch, base)?) } else { None };
        Ok(Self { processor, model, warm_up, _scratch: gatherer.finish() })
    }

    /// The body of a request to modify the service: only what changes.
    pub(crate) fn body(&self, mut patch: Value) -> ModifyBody {
        if let Some(Some(Model { entry: Some(entry), .. })) = &self.model {
            patch["model_entry"] = json!(entry);
        }
        ModifyBody {
            spec: Some(patch),
            processor: self.processor.as_ref().map(Artifact::digest),
            model: self.model.as_ref().map(|model| model.as_ref().map(Model::manifest).unwrap_or_default()),
            warm_up: self.warm_up.as_ref().map(|warm_up| warm_up.as_ref().map(Artifact::digest)),
            canary: None,
        }
    }

    pub(crate) fn artifacts(&self) -> Vec<&Artifact> {
        let model = self.model.iter().flatten().flat_map(|model| &model.files);
        let warm_up = self.warm_up.iter().flatten();
        self.processor.iter().chain(model.map(ModelFile::artifact)).chain(warm_up).collect()
    }
}

fn model(gatherer: &mut Gatherer<'_>, file: &Value, base: &Path) -> Result<Option<Model>> {
    let Some(path) = text(file, "model_path")? else { return Ok(None) };
    let model = gatherer.model(&Source::parse(path, base)?, text(file, "model_entry")?);
    model.context("model_path").map(Some)
}

fn warm_up(gatherer: &mut Gatherer<'_>, file: &Value, base: &Path) -> Result<Option<Artifact>> {
    let Some(path) = text(file, "warm_up_data_path")? else { return Ok(None) };
    gatherer.file(&Source::parse(path, base)?).context("warm_up_data_path").map(Some)
}

/// Absent and null are the same here; a change tells them apart before it asks.
fn text<'a>(file: &'a Value, key: &str) -> Result<Option<&'a str>> {
    match file.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(anyhow!("{key}: must be a string")),
    }
}

impl Model {
    /// The list of files and empty directories, in the form that the server takes.
    fn manifest(&self) -> Vec<ListedModelFile> {
        let file = |file: &ModelFile| ListedModelFile {
            path: file.path().to_owned(),
            sha256: Some(file.artifact.digest()),
            size: Some(file.artifact.bytes),
            directory: false,
        };
        let empty = |path: &RelativePath| ListedModelFile {
            path: path.as_str().to_owned(),
            sha256: None,
            size: None,
            directory: true,
        };
        self.files.iter().map(file).chain(self.empty_directories.iter().map(empty)).collect()
    }
}

#[cfg(test)]
mod tests;
