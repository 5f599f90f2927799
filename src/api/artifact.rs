//! Files that services are made of, named by what they hold.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::is_false;

/// A SHA-256 in lower-case hexadecimal, as it was read: the host checks those of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sha256(String);

impl Sha256 {
    /// What one looks like; `storage::Digest` is the same rule in code.
    pub const PATTERN: &str = "^[0-9a-f]{64}$";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning, which is enough for people to tell one from another.
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
    /// Its size.
    #[serde(default)]
    pub bytes: u64,
}

/// One file of a model directory, or a directory in it that holds nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelFile {
    /// Relative to the model directory, and inside it.
    #[serde(default)]
    pub path: String,
    /// Of a directory, the hash of nothing.
    #[serde(default)]
    pub sha256: Sha256,
    /// In bytes; of a directory, 0.
    #[serde(default)]
    pub size: u64,
    /// True for a directory; left out for a file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub directory: bool,
}

/// One file of a model directory, or a directory in it that holds nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListedModelFile {
    /// Relative to the model directory: names separated by single slashes.
    pub path: String,
    /// Of a file, always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// In bytes; of a file, always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// True for an empty directory. Directories that hold files come with their files.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(!skip_serializing_if)]
    pub directory: bool,
}
