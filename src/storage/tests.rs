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

#[test]
fn an_artifact_that_somebody_asks_for_is_not_swept_before_they_can_deploy_it() {
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
    assert!(storage.renew(&wanted));
    storage.sweep(|_| None).unwrap();
    assert!(storage.artifact(&wanted).is_ok() && storage.artifact(&forgotten).is_err());
    assert!(!storage.renew(&forgotten));
}

#[test]
fn a_second_host_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Storage::open(dir.path()).unwrap();
    assert!(matches!(Storage::open(dir.path()), Err(StorageError::Database(_))));
}
