//! Tests of the rules of [`Catalog`] and [`Artifacts`], for every implementation.

mod artifacts;
mod catalog;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::memory::{MemoryArtifacts, MemoryCatalog};
use super::*;
use crate::config::TrafficState;

/// Changes an artifact directly, not through its store.
type Trick<T> = Box<dyn Fn(&Digest, T) + Send + Sync>;

/// An implementation under test, and functions that change its content directly.
struct Stores {
    catalog: Arc<dyn Catalog>,
    artifacts: Arc<dyn Artifacts>,
    /// Adds this many entries to an empty audit log.
    note_many: Box<dyn Fn(u64) + Send + Sync>,
    damage: Trick<()>,
    age: Trick<Duration>,
    /// Counts artifacts, finished or not.
    count: Box<dyn Fn() -> usize + Send + Sync>,
}

/// Makes a test of each rule for each implementation.
macro_rules! hold {
    ($($rule:ident),+ $(,)?) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                super::$rule(crate::storage::suite::local(dir.path())).await;
            })+
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                super::$rule(crate::storage::suite::memory()).await;
            })+
        }
    };
}
use hold;

fn local(dir: &Path) -> Stores {
    prepare(dir).unwrap();
    let (catalog, artifacts) = local::open(dir, Opening::Usual, Arc::default()).unwrap();
    let (catalog, files) = (Arc::new(catalog), dir.join("artifacts"));
    let path = {
        let files = files.clone();
        move |digest: &Digest| files.join(digest.as_str())
    };
    let damaged = path.clone();
    Stores {
        note_many: Box::new({
            let catalog = Arc::clone(&catalog);
            move |count| catalog.note_many(&entry("a"), count)
        }),
        damage: Box::new(move |digest, ()| {
            fs::set_permissions(damaged(digest), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(damaged(digest), "damaged").unwrap();
        }),
        age: Box::new(move |digest, by| {
            let file = fs::File::open(path(digest)).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }),
        count: Box::new(move || entries(&files).unwrap().len()),
        catalog,
        artifacts: Arc::new(artifacts),
    }
}

fn memory() -> Stores {
    let (catalog, artifacts) = (Arc::<MemoryCatalog>::default(), Arc::new(MemoryArtifacts::new().unwrap()));
    let [damaged, aged, counted] = std::array::from_fn(|_| Arc::clone(&artifacts));
    Stores {
        note_many: Box::new({
            let catalog = Arc::clone(&catalog);
            move |count| catalog.note_many(&entry("a"), count)
        }),
        damage: Box::new(move |digest, ()| damaged.damage(digest)),
        age: Box::new(move |digest, by| aged.age(digest, by)),
        count: Box::new(move || counted.count()),
        catalog,
        artifacts,
    }
}

/// A record whose current version has this number.
pub(super) fn record(name: &str, version: u64) -> Record {
    Record {
        name: name.into(),
        version,
        latest: version,
        revision: 0,
        canary: None,
        weight: 100,
        traffic_state: TrafficState::Grouping,
        mirror: None,
        file: serde_json::json!({"name": name}).into(),
        token: Some(Token::parse("t").unwrap()),
        previous_token: None,
        last_token: None,
        processor: Some(Artifact { sha256: Digest::parse(&"ab".repeat(32)).unwrap(), bytes: 7 }),
        model: Vec::new(),
        warm_up: None,
        image: None,
        stopped: false,
        store_id: 0,
        created_at: "2026-01-01T00:00:00Z".into(),
        updated_at: "2026-01-01T00:00:00Z".into(),
    }
}

/// An entry about a service.
pub(super) fn entry(service: &str) -> Entry {
    Entry {
        number: 0,
        at: "2026-01-01T00:00:00Z".into(),
        actor: None,
        token: "admin".into(),
        peer: [127, 0, 0, 1].into(),
        action: "modify".into(),
        service: service.into(),
        version_before: None,
        version_after: Some(1),
        changed: Vec::new(),
        outcome: Entry::DONE.into(),
        reason: None,
    }
}

/// A put of a record, without a new version.
pub(super) fn put(record: &Record, from: Option<u64>) -> Edit {
    Edit::Put { record: Box::new(record.clone()), version: None, from }
}

/// A put of a record with a version of this number.
pub(super) fn put_version(record: &Record, number: u64, from: Option<u64>) -> Edit {
    let version = VersionRecord { number, ..record.to_version("new".into()) };
    Edit::Put { record: Box::new(record.clone()), version: Some(Box::new(version)), from }
}

pub(super) fn remove(service: &str, from: u64) -> Edit {
    Edit::Remove { service: service.into(), from }
}

/// Uploads an artifact in one piece.
pub(super) async fn upload(artifacts: &dyn Artifacts, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let mut upload = artifacts.begin(bytes.len() as u64).await.unwrap();
    upload.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    upload.finish(&digest).await.unwrap();
    digest
}

/// Reads a range to its end.
async fn read(artifacts: &dyn Artifacts, digest: &Digest, range: ByteRange) -> Result<Vec<u8>, StorageError> {
    rest(artifacts.read(digest, "it", range).await?).await
}

async fn rest(mut reader: Box<dyn Reader>) -> Result<Vec<u8>, StorageError> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty(), "a piece has at least one byte");
        bytes.extend_from_slice(&piece);
    }
    assert!(reader.next().await?.is_none(), "the end stays the end");
    Ok(bytes)
}

fn named<const N: usize>(digests: [&Digest; N]) -> HashSet<Digest> {
    digests.into_iter().cloned().collect()
}
