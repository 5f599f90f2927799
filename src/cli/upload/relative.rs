//! A path inside a model or an archive.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use crate::storage::judge_model_path;

/// A path that stays below the directory it is joined to: `/`-separated names, none of them empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPath {
    path: String,
    why: &'static str,
}

impl Display for BadPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.path.escape_debug(), self.why)
    }
}

impl RelativePath {
    /// Parses a name as archives write it: `./a/b` and `a//b` become `a/b`. The result is a path that the server
    /// accepts.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPath> {
        let bad = |why| Err(BadPath { path: text.to_owned(), why });
        if text.starts_with('/') {
            return bad("is an absolute path; use one inside the directory");
        }
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if names.contains(&"..") {
            return bad("leads out of the directory with `..`");
        }
        if names.is_empty() {
            return bad("names no file");
        }
        let path = names.join("/");
        match judge_model_path(&path) {
            Ok(()) => Ok(Self(path)),
            Err(why) => bad(why),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn below(&self, directory: &Path) -> PathBuf {
        self.0.split('/').fold(directory.to_owned(), |path, name| path.join(name))
    }

    pub(super) fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// True for files that macOS adds to directories and archives. They are not part of a model, and `._x.wasm` would
    /// count as a second processor.
    pub(super) fn is_litter(&self) -> bool {
        let name = self.file_name();
        self.0 == "__MACOSX" || self.0.starts_with("__MACOSX/") || name.starts_with("._") || name == ".DS_Store"
    }
}

impl Display for RelativePath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together_again() {
        for (text, path) in [
            ("a.onnx", "a.onnx"),
            ("./v1/a.onnx", "v1/a.onnx"),
            ("v1//./a.onnx", "v1/a.onnx"),
            ("v1/", "v1"),
            ("日本/モデル.bin", "日本/モデル.bin"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(RelativePath::parse(text).unwrap().as_str(), path);
        }
    }

    #[test]
    fn nothing_leads_out() {
        for text in
            ["", ".", "./", "/etc/passwd", "//a", "..", "../a", "a/../b", "a/..", "a\\b", "a\0b", "a\nb", "a\u{fffd}"]
        {
            assert!(RelativePath::parse(text).is_err(), "{text:?}");
        }
        for text in [&"a/".repeat(600), &"a/".repeat(65), &"n".repeat(256)] {
            assert!(RelativePath::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn litter_is_told_by_its_name() {
        let litter = |text| RelativePath::parse(text).unwrap().is_litter();
        assert!(litter("__MACOSX/a.wasm") && litter("__MACOSX/"));
        assert!(litter("v1/._a.wasm"));
        assert!(litter(".DS_Store"));
        assert!(!litter("v1/.hidden"));
    }
}
