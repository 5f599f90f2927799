//! The files of services, named by their SHA-256.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::is_false;

/// A SHA-256 in lower-case hexadecimal. It is not checked here; the host checks those in requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sha256(String);

impl Sha256 {
    /// The pattern of a SHA-256. `storage::Digest` has the same rule in code.
    pub const PATTERN: &str = "^[0-9a-f]{64}$";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, which suffice for display.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl From<String> for Sha256 {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl JsonSchema for Sha256 {
    fn schema_name() -> Cow<'static, str> {
        "Sha256".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Self::PATTERN,
            "description": "A SHA-256 in lower-case hexadecimal.",
        })
    }
}

/// An uploaded file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    pub sha256: Sha256,
}

/// An uploaded file that a service is made of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StoredArtifact {
    pub sha256: Sha256,
    /// The size in bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// A file of a model directory, or an empty directory in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelFile {
    /// The path in the model directory.
    #[serde(default)]
    pub path: String,
    /// The SHA-256 of the file; for a directory, that of an empty file.
    #[serde(default)]
    pub sha256: Sha256,
    /// The size in bytes; 0 for a directory.
    #[serde(default)]
    pub size: u64,
    /// True for a directory; left out for a file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub directory: bool,
}

/// A file of a model directory, or an empty directory in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListedModelFile {
    /// The path in the model directory: names separated by single slashes.
    pub path: String,
    /// The SHA-256; required for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The size in bytes; required for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// True for an empty directory. Other directories follow from the paths of their files.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(!skip_serializing_if)]
    pub directory: bool,
}
