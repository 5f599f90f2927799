//! Finds and hashes the files that a service file names: a processor, a model, warm-up data.
//!
//! Each may be a file, a directory or an archive, relative to the service file, or an http(s) URL. The result is a list
//! of plain files on this machine with their SHA-256. [`send`] sends them to a server; `bulkhead test` runs them here.

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

/// A file and its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    sha256: String,
    bytes: u64,
    /// `None` for a file that only the server has.
    file: Option<PathBuf>,
}

/// A file of the model: its path in the model directory, and the file on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    path: RelativePath,
    artifact: Artifact,
}

#[derive(Debug)]
pub(crate) struct Model {
    files: Vec<ModelFile>,
    /// Empty directories. All others follow from the paths of the files.
    empty_directories: Vec<RelativePath>,
    entry: Option<String>,
}

/// The files that a service file names. Unpacked and downloaded files are removed when this is dropped.
#[derive(Debug)]
pub struct Upload {
    /// `None` for a service without a processor.
    processor: Option<Artifact>,
    model: Option<Model>,
    warm_up: Option<Artifact>,
    _scratch: tempfile::TempDir,
}

/// The files that a change to a service file names. The outer `None` means that the change does not mention the key.
#[derive(Debug)]
pub(crate) struct Change {
    processor: Option<Artifact>,
    model: Option<Option<Model>>,
    warm_up: Option<Option<Artifact>>,
    _scratch: tempfile::TempDir,
}

impl Artifact {
    /// The SHA-256 in lower-case hex.
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

    /// The name that service files can use once the server has the file.
    pub(crate) fn name(&self) -> String {
        format!("{ARTIFACT}{}", self.sha256)
    }

    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        gather::measure_file(path)
    }
}

impl ModelFile {
    /// The path in the model directory, `/`-separated. It never leads out of the directory.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

impl Upload {
    /// Finds the files that a service file names. `file` is its normalised form, `base` its directory.
    pub(crate) fn gather(file: &Value, base: &Path, screen: &Screen) -> Result<Self> {
        let mut gatherer = Gatherer::new(screen)?;
        let processor = match text(file, "processor_path")? {
            Some(path) => {
                let processor = gatherer.processor(&Source::parse(path, base)?, text(file, "processor_entry")?);
                Some(processor.context("processor_path")?)
            }
            None => None,
        };
        let model = model(&mut gatherer, file, base)?;
        let warm_up = warm_up(&mut gatherer, file, base)?;
        Ok(Self { processor, model, warm_up, _scratch: gatherer.finish() })
    }

    /// `None` for a service without a processor.
    pub fn processor(&self) -> Option<&Artifact> {
        self.processor.as_ref()
    }

    /// The files of the model; empty if the service has none.
    pub fn model(&self) -> &[ModelFile] {
        self.model.as_ref().map_or(&[], |model| &model.files)
    }

    /// Empty directories of the model.
    pub fn empty_directories(&self) -> &[RelativePath] {
        self.model.as_ref().map_or(&[], |model| &model.empty_directories)
    }

    /// The service file's `model_entry`, or else the model's only file.
    pub fn model_entry(&self) -> Option<&str> {
        self.model.as_ref()?.entry.as_deref()
    }

    pub fn warm_up(&self) -> Option<&Artifact> {
        self.warm_up.as_ref()
    }

    /// The body of a request to create the service. A model entry that the file leaves out is added to the spec, so
    /// that the stored service file names it.
    pub(crate) fn body(&self, mut spec: Value) -> CreateBody {
        if let Some(entry) = self.model_entry() {
            spec["model_entry"] = json!(entry);
        }
        CreateBody {
            spec,
            processor: self.processor.as_ref().map(Artifact::digest),
            model: self.model.as_ref().map(Model::manifest).unwrap_or_default(),
            warm_up: self.warm_up.as_ref().map(Artifact::digest),
        }
    }

    pub(crate) fn artifacts(&self) -> Vec<&Artifact> {
        let model = self.model().iter().map(ModelFile::artifact);
        self.processor.iter().chain(model).chain(&self.warm_up).collect()
    }
}

impl Change {
    /// Finds the files that the changed keys name.
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

    /// The body of a request to modify the service: only the changed keys.
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

/// The string under `key`. An absent key and null are both `None`; [`Change::gather`] tells them apart itself.
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
