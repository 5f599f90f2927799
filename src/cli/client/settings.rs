//! The client's settings file: the server, its admin token, and the name for the audit log.
//!
//! It is written by `bulkhead config`. Only its owner can read it, because it contains a secret.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cli::failure::Failure;

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The address of the admin listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<String>,
    /// The admin token of that server. It is sent to no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admin_token: Option<String>,
    /// The name that the audit log gives for a change.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
}

impl Settings {
    /// Reads `named`, or the user's own file if there is one.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        match (named, default_path()) {
            (Some(path), _) => Self::of(path),
            (None, Some(path)) if path.exists() => Self::of(&path),
            (None, _) => Ok(Self::default()),
        }
    }

    /// Reads a file, which must exist.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let metadata = fs::metadata(path).with_context(|| format!("cannot read the client's settings `{shown}`"))?;
        let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if ![0, owner].contains(&us) && owner != 0 {
            return Err(Failure::Usage(format!(
                "`{shown}` holds a secret and belongs to user {owner}, who may change it; this is user {us}\n\
                 hint: write one of your own with `bulkhead config`"
            )));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Failure::Usage(format!(
                "`{shown}` holds a secret and others may read it\nhint: chmod 600 {shown}"
            )));
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the client's settings `{shown}`"))?;
        // The error does not show the text: it may be the token.
        serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::Usage(format!(
                "`{shown}` is not as `bulkhead config` writes it: line {line}, column {column}; known are admin, \
                 admin_token and as"
            ))
        })
    }

    /// Replaces the file atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let written = self.try_write(path);
        Ok(written.with_context(|| format!("cannot write the client's settings `{}`", path.display()))?)
    }

    fn try_write(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut name = OsString::from(path.file_name().unwrap_or_default());
        name.push(".new");
        let new = directory.join(name);
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}

/// `bulkhead/config.json` in the user's configuration directory; `None` if there is no such directory.
pub(crate) fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The specification wants a relative XDG_CONFIG_HOME ignored.
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("bulkhead/config.json"))
}

/// The name of the user who runs this program, or else the user's id.
pub(super) fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_is_the_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/config.json");
        let settings = Settings { admin: Some("http://h:1".into()), admin_token: Some("t".into()), actor: None };
        settings.write(&path).unwrap();
        settings.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Settings::of(&path).unwrap();
        assert_eq!((read.admin, read.admin_token, read.actor), (settings.admin, settings.admin_token, None));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Settings::of(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_is_wrong_is_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in [r#"{"admin_token": s3cret}"#, r#"{"admin_tokn": "s3cret"}"#, ""] {
            let mut file = fs::OpenOptions::new();
            let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = Settings::of(&path).err().unwrap().to_string();
            assert!(error.contains("config.json") && !error.contains("s3cret"), "{error}");
        }
        assert!(Settings::of(&directory.path().join("none")).is_err());
    }
}
