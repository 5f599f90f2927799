use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use super::*;

#[test]
fn the_admin_token_is_made_once_and_is_the_hosts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Storage::open(&data).unwrap().admin_token().unwrap();
    let again = Storage::open(&data).unwrap().admin_token().unwrap();
    assert_eq!(first.reveal(), again.reveal());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("admin.token")), 0o600);
}

#[tokio::test]
async fn an_artifact_that_somebody_asks_for_is_not_swept_before_they_can_deploy_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path()).unwrap();
    let old = SystemTime::now() - 2 * UPLOAD_GRACE;
    let make = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        let path = dir.path().join("artifacts").join(digest.as_str());
        fs::write(&path, bytes).unwrap();
        fs::File::open(path).unwrap().set_modified(old).unwrap();
        digest
    };
    let (wanted, forgotten) = (make(b"ab"), make(b"cd"));
    assert!(storage.artifacts().renew(&wanted).await.unwrap());
    storage.sweep().await.unwrap();
    let is_there = async |digest| storage.artifacts().unverified_file(digest).await.is_ok();
    assert!(is_there(&wanted).await && !is_there(&forgotten).await);
    assert!(!storage.artifacts().renew(&forgotten).await.unwrap());
}

#[test]
fn a_second_host_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Storage::open(dir.path()).unwrap();
    assert!(matches!(Storage::open(dir.path()), Err(StorageError::Database(_))));
}

#[tokio::test]
async fn what_an_earlier_process_did_not_finish_to_receive_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(Storage::open(dir.path()).unwrap());
    let left = dir.path().join("artifacts/.upload-x");
    for kept in [&left, &dir.path().join("artifacts/ours")] {
        fs::write(kept, "x").unwrap();
    }
    let _storage = Storage::open(dir.path()).unwrap();
    assert!(!left.exists() && dir.path().join("artifacts/ours").exists());
}

#[tokio::test]
async fn a_model_is_made_of_artifacts_that_are_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Arc::new(memory::MemoryArtifacts::new().unwrap());
    let storage = Storage::with(dir.path(), Arc::<memory::MemoryCatalog>::default(), artifacts).unwrap();
    let sha256 = suite::upload(storage.artifacts(), b"abc").await;
    let files = [ModelFile { path: "deep/x".into(), sha256, size: 3, directory: false }];
    let model = storage.model_dir(&files).await.unwrap().unwrap();
    assert!(model.starts_with(dir.path().canonicalize().unwrap().join("models")));
    assert_eq!(fs::read(model.join("deep/x")).unwrap(), b"abc");
    assert!(!dir.path().join("artifacts").exists() && !dir.path().join("bulkhead.redb").exists());
    storage.sweep_models().await.unwrap();
    assert!(!model.exists());
}
