//! A service file on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use super::failure::Failure;
use super::screen::Screen;
use crate::config::ServiceFile;

/// A service file without mistakes, and where it lies: the paths in it are relative to that.
pub(super) struct LocalFile {
    file: ServiceFile,
    base: PathBuf,
}

impl LocalFile {
    /// Reads the file, or says everything that is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = read(path)?;
        let file = ServiceFile::parse(&text).map_err(|mistakes| Failure::in_file(path, mistakes))?;
        Ok(Self { file, base: base(path) })
    }

    pub(super) fn file(&self) -> &ServiceFile {
        &self.file
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Says which keys were read and will do nothing, so that nobody waits for their effect.
    pub(super) fn remark(&self, screen: &mut Screen) {
        for key in self.file.ignored() {
            screen.note(format_args!("note: `{key}` has no meaning here and is ignored"));
        }
        for key in self.file.not_yet() {
            screen.note(format_args!("note: `{key}` is kept, but has no effect yet"));
        }
    }
}

/// A file with only the keys that change. Whether they make sense shows when they are merged.
pub(super) fn read_patch(path: &Path) -> Result<(Value, PathBuf), Failure> {
    let text = read(path)?;
    let shown = path.display();
    match serde_json::from_str(&text) {
        Ok(patch @ Value::Object(_)) => Ok((patch, base(path))),
        Ok(_) => Err(Failure::Usage(format!("`{shown}` is not a JSON object with the keys to change"))),
        Err(error) => Err(Failure::Usage(format!("`{shown}` is not JSON: {error}"))),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path);
    Ok(text.with_context(|| format!("cannot read the service file `{}`", path.display()))?)
}

fn base(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
