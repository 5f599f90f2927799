//! The source of a file that a service file names: a path, a URL, or a file on the server.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ureq::http::Uri;

use crate::storage::Digest;

/// The prefix of the name of a file on the server.
pub(super) const ARTIFACT: &str = "artifact:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Path(PathBuf),
    Url(Uri),
    /// A file on the server, by its SHA-256.
    Artifact(String),
}

impl Source {
    /// Parses a path relative to `base`, an http(s) URL, or the name of a file on the server. Other URL schemes are
    /// refused, not taken for paths.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self> {
        if let Some(sha256) = text.strip_prefix(ARTIFACT) {
            if Digest::parse(sha256).is_none() {
                bail!("`{ARTIFACT}` is followed by a SHA-256, as `bulkhead upload` prints it");
            }
            return Ok(Self::Artifact(sha256.to_owned()));
        }
        let Some((scheme, _)) = text.split_once("://") else {
            let text = text.strip_prefix("file:").unwrap_or(text);
            return Ok(Self::Path(base.join(text)));
        };
        if !matches!(scheme, "http" | "https") {
            bail!(
                "`{scheme}://` is not supported here; accepted are a file, a directory, an archive, \
                 or an http or https URL"
            );
        }
        match text.parse::<Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Self::Url(uri)),
            _ => bail!("not a URL that can be fetched"),
        }
    }

    /// The file name, whose extension tells the kind of file.
    pub(super) fn file_name(&self) -> String {
        match self {
            Self::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Url(uri) => uri.path().rsplit('/').next().unwrap_or_default().to_owned(),
            Self::Artifact(sha256) => sha256.clone(),
        }
    }

    /// The source for messages, without the query and the user name of a URL: both may contain secrets.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Artifact(sha256) => format!("{ARTIFACT}{sha256}"),
            Self::Url(uri) => {
                let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
                format!(
                    "{}://{}{port}{}",
                    uri.scheme_str().unwrap_or("http"),
                    uri.host().unwrap_or_default(),
                    uri.path()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_service_file() {
        let parse = |text| Source::parse(text, Path::new("/services")).unwrap();
        assert_eq!(parse("model/"), Source::Path("/services/model/".into()));
        assert_eq!(parse("/else/a.wasm"), Source::Path("/else/a.wasm".into()));
        assert_eq!(parse("model/").file_name(), "model");
    }

    #[test]
    fn urls_show_no_secret() {
        let text = "https://me:pass@example.org:8443/models/digits.tar.gz?Signature=abc";
        let source = Source::parse(text, Path::new("")).unwrap();
        assert_eq!(source.file_name(), "digits.tar.gz");
        assert_eq!(source.shown(), "https://example.org:8443/models/digits.tar.gz");
    }

    #[test]
    fn what_the_server_has_is_named_by_its_hash() {
        let parse = |text: &str| Source::parse(text, Path::new("/services"));
        let sha256 = "ab".repeat(32);
        assert_eq!(parse(&format!("artifact:{sha256}")).unwrap(), Source::Artifact(sha256));
        assert!(parse("artifact:digits.wasm").unwrap_err().to_string().contains("bulkhead upload"));
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        let error = Source::parse("oss://bucket/key", Path::new("")).unwrap_err().to_string();
        assert!(error.contains("`oss://`"), "{error}");
        assert!(Source::parse("http://", Path::new("")).is_err());
    }
}
