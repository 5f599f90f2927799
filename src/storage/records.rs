//! Which services exist: one record each, in one table of the database.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifacts::Digest;
use super::{StorageError, models};
use crate::failpoint;

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
    pub token: Option<String>,
    pub processor: Artifact,
    #[serde(default)]
    pub model: Vec<ModelFile>,
    pub warm_up: Option<Digest>,
    pub stopped: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub sha256: Digest,
    pub bytes: u64,
}

/// One file of a model directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnyModelFile")]
pub struct ModelFile {
    /// Relative to the model directory, and inside it.
    pub path: String,
    pub sha256: Digest,
    pub size: u64,
}

#[derive(Deserialize)]
struct AnyModelFile {
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

pub(super) struct Records(Database);

fn failed(error: impl Into<redb::Error>) -> StorageError {
    StorageError::Database(Box::new(error.into()))
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let database = Database::create(path).map_err(failed)?;
        let records = Self(database);
        records.write(|_| Ok(()))?;
        Ok(records)
    }

    pub(super) fn all(&self) -> Result<Vec<Record>, StorageError> {
        let transaction = self.0.begin_read().map_err(failed)?;
        let table = transaction.open_table(SERVICES).map_err(failed)?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(failed)? {
            let (name, json) = entry.map_err(failed)?;
            let record = serde_json::from_slice(json.value())
                .map_err(|source| StorageError::Record { service: name.value().to_owned(), source })?;
            records.push(record);
        }
        Ok(records)
    }

    pub(super) fn put(&self, record: &Record) -> Result<(), StorageError> {
        let json = serde_json::to_vec(record)
            .map_err(|source| StorageError::Record { service: record.name.clone(), source })?;
        self.write(|table| table.insert(record.name.as_str(), json.as_slice()).map(|_| ()))
    }

    pub(super) fn remove(&self, service: &str) -> Result<(), StorageError> {
        self.write(|table| table.remove(service).map(|_| ()))
    }

    /// One durable transaction. Two phases: a crash during recovery from an earlier crash must not undo it.
    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &str, &[u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), StorageError> {
        let mut transaction = self.0.begin_write().map_err(failed)?;
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(SERVICES).map_err(failed)?;
            change(&mut table).map_err(failed)?;
        }
        failpoint::reach("record.commit");
        transaction.commit().map_err(failed)
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
            token: Some("t".into()),
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
    fn a_model_file_outside_its_directory_is_refused_where_it_is_read() {
        let json = serde_json::json!({"path": "../x", "sha256": "ab".repeat(32), "size": 1});
        let error = serde_json::from_value::<ModelFile>(json).unwrap_err();
        assert!(error.to_string().contains("does not stay inside"), "{error}");
    }
}
