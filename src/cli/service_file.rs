//! A service file on this machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::kind::{SERVICE_FILE, read_text};
use super::screen::Screen;
use crate::config::{self, ServiceFile};

/// A service file without mistakes, and where it lies: the paths in it are relative to that.
pub(super) struct LocalFile {
    file: ServiceFile,
    base: PathBuf,
}

/// What a command line changes in a service file.
#[derive(Args, Debug)]
pub(super) struct OverrideArgs {
    /// One key to take from here instead of the file, by its dotted path; may be repeated; paths are relative to the
    /// current directory, and null leaves a key out
    #[arg(short = 'D', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

impl OverrideArgs {
    /// The file as these options make it.
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

/// Makes the paths of a patch absolute: beside a file, they would be looked for where that lies.
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

/// Whether it is a path on this machine that depends on where one stands.
fn is_relative(path: &str) -> bool {
    !path.contains("://")
        && !path.starts_with("artifact:")
        && !path.starts_with("file:")
        && Path::new(path).is_relative()
}

impl LocalFile {
    /// Reads the file, or says everything that is wrong with it or with what the command line changes in it.
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

    /// Says which keys were read and will do nothing, so that nobody waits for their effect.
    pub(super) fn remark(&self, screen: &mut Screen) {
        remark(&self.file, |_| true, screen);
    }
}

/// Says which of the keys that `is_meant` picks will do nothing.
pub(super) fn remark(file: &ServiceFile, is_meant: impl Fn(&str) -> bool, screen: &mut Screen) {
    for key in file.ignored().iter().filter(|key| is_meant(key)) {
        screen.note(format_args!("note: `{key}` has no meaning here and is ignored"));
    }
    for key in file.not_yet().iter().filter(|key| is_meant(key)) {
        screen.note(format_args!("note: `{key}` is kept, but has no effect yet"));
    }
}

/// A file with only the keys that change. Whether they make sense shows when they are merged.
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
