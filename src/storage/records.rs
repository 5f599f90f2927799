//! Which services exist: one record each, in one table of the database.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifacts::Digest;
use super::{StorageError, models};
use crate::config::Token;
use crate::failpoint;

const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Service name → record as JSON.
const SERVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("services");

/// What is kept of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    /// Counts up with every modify.
    pub version: u64,
    /// The service file in its canonical form.
    pub file: Value,
    /// Absent for a public service.
    #[serde(default, with = "secret")]
    pub token: Option<Token>,
    /// The token before, while it is still accepted.
    #[serde(default, with = "secret")]
    pub previous_token: Option<Token>,
    pub processor: Artifact,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Digest>,
    pub stopped: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredArtifact")]
pub struct Artifact {
    pub sha256: Digest,
    pub bytes: u64,
}

/// One file of a model directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AnyModelFile")]
pub struct ModelFile {
    /// Relative to the model directory, and inside it.
    pub path: String,
    pub sha256: Digest,
    pub size: u64,
}

/// One file of a model directory.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ModelFile")]
struct AnyModelFile {
    /// Relative to the model directory, and inside it.
    path: String,
    sha256: Digest,
    size: u64,
}

impl TryFrom<AnyModelFile> for ModelFile {
    type Error = String;

    fn try_from(any: AnyModelFile) -> Result<Self, Self::Error> {
        if !models::is_inside(&any.path) {
            return Err(format!("model path {:?} does not stay inside the model directory", any.path));
        }
        Ok(Self { path: any.path, sha256: any.sha256, size: any.size })
    }
}

impl Record {
    /// Every artifact the service needs.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        [&self.processor.sha256].into_iter().chain(self.model.iter().map(|file| &file.sha256)).chain(&self.warm_up)
    }
}

/// Tokens on disk: as text, and checked where they are read, because a record whose token is none must not pass for that
/// of a public service.
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

pub(super) struct Records {
    path: PathBuf,
    /// `None` after a failure of the disk, until it is opened anew.
    database: Mutex<Option<Database>>,
}

type Table<'a> = redb::Table<'a, &'static str, &'static [u8]>;

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let records = Self { path: path.to_owned(), database: Mutex::default() };
        // The table is there from the first start on.
        records.transact(|_| Ok(()))?;
        Ok(records)
    }

    pub(super) fn all(&self) -> Result<Vec<Record>, StorageError> {
        let rows = self.with(|database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(SERVICES)?;
            let mut rows = Vec::new();
            for entry in table.iter()? {
                let (name, json) = entry?;
                rows.push((name.value().to_owned(), json.value().to_owned()));
            }
            Ok(rows)
        })?;
        let record = |(service, json): (String, Vec<u8>)| {
            serde_json::from_slice(&json).map_err(|source| StorageError::Record { service, source })
        };
        rows.into_iter().map(record).collect()
    }

    pub(super) fn put(&self, record: &Record) -> Result<(), StorageError> {
        let json = serde_json::to_vec(record)
            .map_err(|source| StorageError::Record { service: record.name.clone(), source })?;
        self.write(&record.name, Some(&json))
    }

    pub(super) fn remove(&self, service: &str) -> Result<(), StorageError> {
        self.write(service, None)
    }

    /// Makes `json` what is kept of `service`. Where the disk fails at the very end of it, the change may be there all
    /// the same: what is on disk decides, and it is written again, because a disk that has failed to make a change last
    /// has not said that it lasts.
    fn write(&self, service: &str, json: Option<&[u8]>) -> Result<(), StorageError> {
        let Err(error) = self.change(service, json) else { return Ok(()) };
        if !error.is_of_the_disk() {
            return Err(error);
        }
        let made = match self.kept(service) {
            Ok(kept) if kept.as_deref() != json => return Err(error),
            Ok(_) => failpoint::is_full("record.again").is_ok() && self.change(service, json).is_ok(),
            Err(_) => false,
        };
        if made { Ok(()) } else { Err(StorageError::Unknown { service: service.to_owned(), source: Box::new(error) }) }
    }

    fn change(&self, service: &str, json: Option<&[u8]>) -> Result<(), StorageError> {
        self.transact(|table| {
            match json {
                Some(json) => table.insert(service, json)?,
                None => table.remove(service)?,
            };
            failpoint::reach("record.commit");
            failpoint::is_full("record.full").map_err(redb::StorageError::Io)
        })
    }

    fn kept(&self, service: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(SERVICES)?;
            Ok(table.get(service)?.map(|json| json.value().to_owned()))
        })
    }

    /// One durable transaction. Two phases: a crash during recovery from an earlier crash must not undo it.
    fn transact(
        &self,
        change: impl FnOnce(&mut Table<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), StorageError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            change(&mut transaction.open_table(SERVICES)?)?;
            transaction.commit()?;
            Ok(failpoint::is_full("record.committed").map_err(redb::StorageError::Io)?)
        })
    }

    /// Works with the database. One that the disk has failed refuses everything from then on, and what it holds in
    /// memory is not what is on disk: it is closed, and opened anew when it is next needed, as after a crash.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StorageError> {
        let failed = |error: redb::Error| StorageError::Database(Box::new(error));
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => open(&self.path).map_err(|error| failed(error.into()))?,
        };
        let outcome = work(&database);
        if !matches!(outcome, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            *slot = Some(database);
        }
        outcome.map_err(failed)
    }
}

/// Opens the database. A host that was killed while it started a compiler leaves its lock to the child until that has
/// become the compiler or has died, so a lock is not taken for another host's at once.
fn open(path: &Path) -> Result<Database, redb::DatabaseError> {
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match Database::create(path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if Instant::now() < end => {
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, version: u64) -> Record {
        Record {
            name: name.into(),
            version,
            file: serde_json::json!({"name": name}),
            token: Some(Token::parse("t").unwrap()),
            previous_token: None,
            processor: Artifact { sha256: Digest::parse(&"ab".repeat(32)).unwrap(), bytes: 7 },
            model: Vec::new(),
            warm_up: None,
            stopped: false,
            created_at: "2026-01-01T00:00:00Z".into(),
            updated_at: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn records_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        {
            let records = Records::open(&path).unwrap();
            records.put(&record("a", 1)).unwrap();
            records.put(&record("b", 1)).unwrap();
            records.put(&record("a", 2)).unwrap();
            records.remove("b").unwrap();
        }
        let all = Records::open(&path).unwrap().all().unwrap();
        assert_eq!(all.iter().map(|r| (r.name.as_str(), r.version)).collect::<Vec<_>>(), [("a", 2)]);
    }

    #[test]
    fn a_record_with_a_token_that_is_none_is_not_taken_for_a_public_one() {
        let mut json = serde_json::to_value(record("a", 1)).unwrap();
        assert_eq!((&json["token"], &json["previous_token"]), (&"t".into(), &Value::Null));
        json["token"] = "two words".into();
        let error = serde_json::from_value::<Record>(json).unwrap_err();
        assert!(error.to_string().contains("visible ASCII"), "{error}");
    }

    #[test]
    fn a_model_file_outside_its_directory_is_refused_where_it_is_read() {
        let json = serde_json::json!({"path": "../x", "sha256": "ab".repeat(32), "size": 1});
        let error = serde_json::from_value::<ModelFile>(json).unwrap_err();
        assert!(error.to_string().contains("does not stay inside"), "{error}");
    }
}
