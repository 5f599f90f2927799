//! A service file on this machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::kind::{SERVICE_FILE, read_text};
use super::screen::Screen;
use crate::config::{self, ServiceFile};

/// A valid service file and its directory, to which the paths in it are relative.
pub(super) struct LocalFile {
    file: ServiceFile,
    base: PathBuf,
}

/// Changes to a service file from the command line.
#[derive(Args, Debug)]
pub(super) struct OverrideArgs {
    /// Set one key of the service file, by its dotted path; null leaves the key out; file paths are relative to the
    /// current directory; may be repeated
    #[arg(short = 'D', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl OverrideArgs {
    /// Applies these options to the file.
    fn apply(&self, file: ServiceFile) -> Result<ServiceFile, Failure> {
        if self.overrides.is_empty() {
            return Ok(file);
        }
        let wrong = |mistakes| Failure::Mistakes { origin: "what -D sets".to_owned(), mistakes };
        let mut patch = config::parse_overrides(&self.overrides).map_err(wrong)?;
        anchor(&mut patch)?;
        file.overridden(&patch).map_err(wrong)
    }
}

/// Makes the paths of a patch absolute. Relative paths would be looked up in the directory of the service file.
pub(super) fn anchor(patch: &mut Value) -> Result<(), Failure> {
    for key in ["processor_path", "model_path", "warm_up_data_path"] {
        if let Some(Value::String(path)) = patch.get_mut(key)
            && is_relative(path)
        {
            *path = std::path::absolute(&path).context("there is no current directory")?.display().to_string();
        }
    }
    Ok(())
}

/// True if `path` is a path on this machine that is relative to the current directory.
fn is_relative(path: &str) -> bool {
    !path.contains("://")
        && !path.starts_with("artifact:")
        && !path.starts_with("file:")
        && Path::new(path).is_relative()
}

impl LocalFile {
    /// Reads the file and applies the overrides. The error lists all mistakes of the file, or all of the overrides.
    pub(super) fn read(path: &Path, overrides: &OverrideArgs) -> Result<Self, Failure> {
        let text = read_text(path, SERVICE_FILE)?;
        let file = ServiceFile::parse(&text).map_err(|mistakes| Failure::in_file(path, mistakes))?;
        Ok(Self { file: overrides.apply(file)?, base: base(path) })
    }

    pub(super) fn file(&self) -> &ServiceFile {
        &self.file
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Prints a note for each key that has no effect.
    pub(super) fn remark(&self, screen: &mut Screen) {
        remark(&self.file, |_| true, screen);
    }
}

/// Prints a note for each key that has no effect, of those that `is_meant` selects.
pub(super) fn remark(file: &ServiceFile, is_meant: impl Fn(&str) -> bool, screen: &mut Screen) {
    for key in file.ignored().iter().filter(|key| is_meant(key)) {
        screen.note(format_args!("note: `{key}` has no meaning here and is ignored"));
    }
}

/// Reads a file with only the keys that change. Their values are checked when the change is merged.
pub(super) fn read_patch(path: &Path) -> Result<(Value, PathBuf), Failure> {
    let text = read_text(path, SERVICE_FILE)?;
    let shown = path.display();
    match serde_json::from_str(&text) {
        Ok(patch @ Value::Object(_)) => Ok((patch, base(path))),
        Ok(_) => Err(Failure::Usage(format!("`{shown}` is not a JSON object with the keys to change"))),
        Err(error) => Err(Failure::Usage(format!("`{shown}` is not JSON: {error}"))),
    }
}

fn base(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
