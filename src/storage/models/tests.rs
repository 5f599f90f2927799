use super::*;
use crate::storage::Storage;

#[test]
fn paths_stay_inside() {
    for fine in ["a", "a/b.onnx", "a b/ü"] {
        assert!(is_inside(fine), "{fine}");
    }
    for bad in ["", "/a", "../a", "a/../b", "./a", "a\0", "a\\..\\b", "."] {
        assert!(!is_inside(bad), "{bad:?}");
    }
}

async fn upload(storage: &Storage, bytes: &[u8]) -> Digest {
    crate::storage::suite::upload(storage.artifacts(), bytes).await
}

async fn artifact(storage: &Storage, digest: &Digest) -> PathBuf {
    storage.artifacts().unverified_file(digest).await.unwrap()
}

fn file(path: &str, sha256: &Digest) -> ModelFile {
    ModelFile { path: path.into(), sha256: sha256.clone(), size: 3, directory: false }
}

fn empty(path: &str) -> ModelFile {
    ModelFile { path: path.into(), sha256: Digest::of(b""), size: 0, directory: true }
}

/// Changes the bytes of a file. All hard links of the file show the change.
fn rot(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, "rot").unwrap();
}

#[tokio::test]
async fn a_directory_holds_what_its_list_says_and_is_shared() {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let file = file("deep/er/x", &upload(&storage, b"abc").await);
    let without = storage.model_dir(std::slice::from_ref(&file)).await.unwrap().unwrap();
    assert!(!without.join("deep/empty").exists());
    let files = [file, empty("deep/empty")];
    let dir = storage.model_dir(&files).await.unwrap().unwrap();
    assert!(fs::read_dir(dir.join("deep/empty")).unwrap().next().is_none(), "it is there and holds nothing");
    fs::remove_dir(dir.join("deep/empty")).unwrap();
    storage.model_dir(&files).await.unwrap();
    assert!(dir.join("deep/empty").is_dir(), "it is there again");
    assert_eq!(fs::read(dir.join("deep/er/x")).unwrap(), b"abc");
    assert_eq!(storage.model_dir(&files).await.unwrap().unwrap(), dir);
    assert_eq!(storage.model_dir(&[]).await.unwrap(), None);
    storage.sweep_models().await.unwrap();
    assert!(!dir.exists(), "no record names it");
}

/// If two entries have one path, the second must not be copied through the link of the first into the artifact itself.
#[tokio::test]
async fn no_list_writes_into_an_artifact() {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let (abc, abd) = (upload(&storage, b"abc").await, upload(&storage, b"abd").await);
    for files in [
        [file("m", &abc), file("m", &abc)],
        [file("a/b", &abc), file("a//b", &abc)],
        [file("m", &abc), file("m", &abd)],
        [file("m", &abc), file("m/x", &abd)],
        [file("m/x", &abc), file("m", &abd)],
        [file("m", &abc), empty("m/x")],
        [empty("m"), file("m", &abc)],
    ] {
        let error = storage.model_dir(&files).await.unwrap_err();
        assert!(matches!(error, StorageError::BadModel { .. }), "{files:?}: {error}");
    }
    for (digest, bytes) in [(&abc, b"abc"), (&abd, b"abd")] {
        assert_eq!(fs::read(storage.artifacts().file(digest, "it").await.unwrap()).unwrap(), bytes);
    }
    assert!(entries(&data.path().join("models")).unwrap().is_empty(), "nothing half-made is left");
}

#[tokio::test]
async fn artifacts_and_what_is_made_of_them_are_read_only() {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let abc = upload(&storage, b"abc").await;
    fs::set_permissions(artifact(&storage, &abc).await, fs::Permissions::from_mode(0o600)).unwrap();
    let dir = storage.model_dir(&[file("x", &abc)]).await.unwrap().unwrap();
    copy(&artifact(&storage, &abc).await, &dir.join("copy")).unwrap();
    for path in [artifact(&storage, &abc).await, dir.join("x"), dir.join("copy")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, READ_ONLY, "{path:?}");
    }
    assert_eq!(copy(&dir.join("x"), &dir.join("x")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_file_that_has_rotted_is_refused_by_name_until_it_is_uploaded_again() {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let (abc, abd) = (upload(&storage, b"abc").await, upload(&storage, b"abd").await);
    let files = [file("fine", &abd), file("deep/x", &abc)];
    let dir = storage.model_dir(&files).await.unwrap().unwrap();
    rot(&dir.join("deep/x"));
    let error = storage.model_dir(&files).await.unwrap_err();
    assert!(matches!(&error, StorageError::Damaged { sha256, .. } if sha256 == abc.as_str()), "{error}");
    assert!(error.to_string().starts_with("model file \"deep/x\" is damaged"), "{error}");
    assert!(
        !storage.artifacts().renew(&abc).await.unwrap() && storage.artifacts().renew(&abd).await.unwrap(),
        "one that is damaged is not there"
    );
    upload(&storage, b"abc").await;
    assert_eq!(storage.model_dir(&files).await.unwrap().unwrap(), dir);
    assert_eq!(fs::read(dir.join("deep/x")).unwrap(), b"abc");
}

#[tokio::test]
async fn a_directory_that_has_lost_a_file_is_made_anew() {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let files = [file("x", &upload(&storage, b"abc").await), file("y", &upload(&storage, b"abd").await)];
    let dir = storage.model_dir(&files).await.unwrap().unwrap();
    fs::remove_file(dir.join("x")).unwrap();
    fs::remove_file(dir.join("y")).unwrap();
    fs::write(dir.join("y"), "another").unwrap();
    assert_eq!(storage.model_dir(&files).await.unwrap().unwrap(), dir);
    assert_eq!((fs::read(dir.join("x")).unwrap(), fs::read(dir.join("y")).unwrap()), (b"abc".into(), b"abd".into()));
    let aside = dir.with_file_name("fresh");
    fs::create_dir(&aside).unwrap();
    take_over(&aside, &dir).unwrap();
    assert!(!dir.join("x").exists() && dir.is_dir(), "the empty one has taken its place");
}
