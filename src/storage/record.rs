//! The stored records of services and of their versions.

use serde::{Deserialize, Serialize};

use super::Digest;
use super::models;
use super::stored_file::StoredFile;
use crate::config::{Token, TrafficState};

/// The record of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// The current version. Its parts are stored here and among the versions.
    pub version: u64,
    /// The highest version number so far.
    pub latest: u64,
    /// The number of the service's latest change in the audit log. The commit of a change sets it; until then it is the
    /// number of the previous change.
    pub revision: u64,
    /// The canary beside the current version.
    pub canary: Option<CanaryRecord>,
    /// The weight in the group: the share of the group's requests, relative to the weights of the other members.
    pub weight: u16,
    /// The state in the group: whether the service gets a share of the requests.
    pub traffic_state: TrafficState,
    /// The mirror that gets copies of the requests.
    pub mirror: Option<MirrorRecord>,
    pub file: StoredFile,
    /// Absent for a public service.
    #[serde(default, with = "secret")]
    pub token: Option<Token>,
    /// The previous token, while it is still accepted.
    #[serde(default, with = "secret")]
    pub previous_token: Option<Token>,
    /// The last token of a service that has become public. A version that needs a token gets it back.
    #[serde(default, with = "secret")]
    pub last_token: Option<Token>,
    /// Absent for a queue without a processor. Such a service is stopped.
    pub processor: Option<Artifact>,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Digest>,
    /// The name of the image that guests start from; absent if the service file wants no snapshot.
    pub image: Option<String>,
    pub stopped: bool,
    /// Drawn at the creation: tells the key-value store of this service from that of an earlier service of its name.
    #[serde(default)]
    pub store_id: u64,
    /// The time of creation, RFC 3339, UTC.
    pub created_at: String,
    pub updated_at: String,
}

/// A canary: a version that gets a share of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryRecord {
    pub version: u64,
    /// The percentage of the requests.
    pub weight: u8,
}

/// A mirror: another service gets copies of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRecord {
    /// The service that gets the copies.
    pub target: String,
    /// The percentage of the requests that are copied.
    pub ratio: u8,
}

/// The parts of a version of a service. Apart from the note, they do not change after its deploy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VersionRecord {
    pub number: u64,
    pub file: StoredFile,
    pub processor: Option<Artifact>,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Digest>,
    /// The name of the image that guests start from; absent if the service file wants no snapshot.
    pub image: Option<String>,
    /// The time of creation, RFC 3339, UTC.
    pub created_at: String,
    /// The origin of the version, in words, and whether it was a canary that was aborted.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub sha256: Digest,
    pub bytes: u64,
}

/// A file of a model directory, or an empty directory in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ListedFile")]
pub struct ModelFile {
    /// The path in the model directory.
    pub path: String,
    /// The SHA-256 of the file; for a directory, that of an empty file.
    pub sha256: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    pub directory: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A file of a model directory, or an empty directory in it.
#[derive(Deserialize)]
pub struct ListedFile {
    /// The path in the model directory: names separated by single slashes.
    pub path: String,
    /// The SHA-256; required for a file.
    pub sha256: Option<Digest>,
    /// The size in bytes; required for a file.
    pub size: Option<u64>,
    /// True for an empty directory. Other directories follow from the paths of their files.
    #[serde(default)]
    pub directory: bool,
}

impl TryFrom<ListedFile> for ModelFile {
    type Error = String;

    fn try_from(listed: ListedFile) -> Result<Self, Self::Error> {
        if !models::is_inside(&listed.path) {
            return Err(format!("model path {:?} does not stay inside the model directory", listed.path));
        }
        listed.judged()
    }
}

impl ListedFile {
    /// Converts an entry whose path was checked before.
    pub(super) fn judged(self) -> Result<ModelFile, String> {
        let Self { path, sha256, size, directory } = self;
        if directory {
            if sha256.is_some_and(|sha256| sha256 != Digest::of(b"")) || size.is_some_and(|size| size > 0) {
                return Err(format!("model path {path:?} is a directory, but has the `sha256` or `size` of a file"));
            }
            return Ok(ModelFile { path, sha256: Digest::of(b""), size: 0, directory });
        }
        let missing = |key: &str| format!("model path {path:?} has no `{key}`; only a directory has none");
        let sha256 = sha256.ok_or_else(|| missing("sha256"))?;
        let size = size.ok_or_else(|| missing("size"))?;
        Ok(ModelFile { path, sha256, size, directory })
    }
}

impl Record {
    /// The record with the parts of `version`. All other parts stay as they are.
    #[must_use]
    pub fn with_version(&self, version: &VersionRecord) -> Self {
        Self {
            version: version.number,
            file: version.file.clone(),
            processor: version.processor.clone(),
            model: version.model.clone(),
            warm_up: version.warm_up.clone(),
            image: version.image.clone(),
            stopped: self.stopped || version.processor.is_none(),
            ..self.clone()
        }
    }

    /// The current version, as a version that has just been made.
    pub fn to_version(&self, note: String) -> VersionRecord {
        VersionRecord {
            number: self.version,
            file: self.file.clone(),
            processor: self.processor.clone(),
            model: self.model.clone(),
            warm_up: self.warm_up.clone(),
            image: self.image.clone(),
            created_at: self.updated_at.clone(),
            note,
        }
    }

    /// The group of the service.
    pub fn group(&self) -> Option<&str> {
        self.file.group()
    }

    /// True if the version with this number may answer requests.
    pub fn is_at_work(&self, number: u64) -> bool {
        self.version == number || self.canary.is_some_and(|canary| canary.version == number)
    }
}

impl VersionRecord {
    /// All artifacts of the version.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        let files = self.model.iter().filter(|file| !file.directory);
        let processor = self.processor.iter().map(|processor| &processor.sha256);
        processor.chain(files.map(|file| &file.sha256)).chain(&self.warm_up)
    }
}

/// Stores tokens as text, and checks them when they are read: a record with an invalid token must not count as that of
/// a public service.
mod secret {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::config::Token;

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(token: &Option<Token>, serializer: S) -> Result<S::Ok, S::Error> {
        token.as_ref().map(Token::reveal).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Token>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| Token::parse(&text).map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::storage::suite::record;

    #[test]
    fn a_model_file_outside_its_directory_is_refused_where_it_is_read() {
        let json = serde_json::json!({"path": "../x", "sha256": "ab".repeat(32), "size": 1});
        let error = serde_json::from_value::<ModelFile>(json).unwrap_err();
        assert!(error.to_string().contains("does not stay inside"), "{error}");
    }

    #[test]
    fn a_directory_of_a_model_needs_no_hash_and_a_file_does() {
        let directory = serde_json::json!({"path": "logs", "directory": true});
        let read = serde_json::from_value::<ModelFile>(directory).unwrap();
        assert!(read.directory && read.size == 0);
        let kept = serde_json::to_value(&read).unwrap();
        assert_eq!(serde_json::from_value::<ModelFile>(kept).unwrap(), read);
        for of_a_file in [serde_json::json!({"size": 1}), serde_json::json!({"sha256": Digest::of(b"x")})] {
            let mut both = serde_json::json!({"path": "logs", "directory": true});
            both.as_object_mut().unwrap().extend(of_a_file.as_object().unwrap().clone());
            let error = serde_json::from_value::<ModelFile>(both).unwrap_err();
            assert!(error.to_string().contains("is a directory"), "{error}");
        }
        let file = serde_json::json!({"path": "logs", "size": 1});
        let error = serde_json::from_value::<ModelFile>(file).unwrap_err();
        assert!(error.to_string().contains("has no `sha256`"), "{error}");
    }

    #[test]
    fn a_record_with_a_token_that_is_none_is_not_taken_for_a_public_one() {
        let mut json = serde_json::to_value(record("a", 1)).unwrap();
        assert_eq!((&json["token"], &json["previous_token"]), (&"t".into(), &Value::Null));
        json["token"] = "two words".into();
        let error = serde_json::from_value::<Record>(json).unwrap_err();
        assert!(error.to_string().contains("visible ASCII"), "{error}");
    }
}
