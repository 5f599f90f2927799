//! Tests of the rules of [`Artifacts`].

use super::*;

hold!(
    what_is_uploaded_is_found_by_its_digest,
    nothing_is_seen_of_an_upload_before_its_end,
    an_upload_of_another_digest_leaves_nothing,
    an_upload_is_taken_up_to_its_limit,
    what_is_missing_is_named,
    what_is_damaged_is_named_and_replaced_by_an_upload,
    ranges_are_read_exactly,
    a_range_that_is_not_inside_is_refused,
    only_what_nobody_names_and_is_old_is_swept,
    a_read_that_has_begun_does_not_end_short,
    uploads_of_the_same_bytes_at_once_are_all_kept,
);

const HOUR: Duration = Duration::from_secs(3600);

/// More bytes than are read at once.
fn large() -> Vec<u8> {
    (0..700_001_u32).map(|at| (at % 251) as u8).collect()
}

async fn what_is_uploaded_is_found_by_its_digest(stores: Stores) {
    let artifacts = &*stores.artifacts;
    let mut receiving = artifacts.begin(100).await.unwrap();
    for piece in ["a", "", "bc"] {
        receiving.write(Bytes::from_static(piece.as_bytes())).await.unwrap();
    }
    let digest = Digest::of(b"abc");
    receiving.finish(&digest).await.unwrap();
    let empty = upload(artifacts, b"").await;
    for (digest, bytes) in [(&digest, &b"abc"[..]), (&empty, b"")] {
        assert!(artifacts.renew(digest).await.unwrap());
        assert_eq!(artifacts.size(digest, "it").await.unwrap(), bytes.len() as u64);
        assert_eq!(read(artifacts, digest, ByteRange::WHOLE).await.unwrap(), bytes);
        for path in [artifacts.file(digest, "it").await.unwrap(), artifacts.unverified_file(digest).await.unwrap()] {
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, READ_ONLY);
        }
    }
}

async fn nothing_is_seen_of_an_upload_before_its_end(stores: Stores) {
    let (artifacts, digest) = (&*stores.artifacts, Digest::of(b"abc"));
    let mut receiving = artifacts.begin(3).await.unwrap();
    receiving.write(Bytes::from_static(b"abc")).await.unwrap();
    assert!(!artifacts.renew(&digest).await.unwrap());
    assert!(matches!(artifacts.size(&digest, "it").await, Err(StorageError::Missing { .. })));
    drop(receiving);
    assert_eq!((stores.count)(), 0, "one that is dropped is gone");
    assert!(!artifacts.renew(&digest).await.unwrap());
}

async fn an_upload_of_another_digest_leaves_nothing(stores: Stores) {
    let digest = Digest::of(b"abc");
    let mut receiving = stores.artifacts.begin(3).await.unwrap();
    receiving.write(Bytes::from_static(b"abd")).await.unwrap();
    match receiving.finish(&digest).await {
        Err(StorageError::WrongDigest { expected, found }) => {
            assert_eq!((expected, found), (digest.clone().into(), Digest::of(b"abd").into()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((stores.count)(), 0);
    assert!(!stores.artifacts.renew(&digest).await.unwrap());
}

async fn an_upload_is_taken_up_to_its_limit(stores: Stores) {
    let artifacts = &*stores.artifacts;
    let mut receiving = artifacts.begin(3).await.unwrap();
    receiving.write(Bytes::from_static(b"ab")).await.unwrap();
    let refused = receiving.write(Bytes::from_static(b"cd")).await;
    assert!(matches!(refused, Err(StorageError::TooLarge { limit: 3 })), "{refused:?}");
    drop(receiving);
    assert_eq!((stores.count)(), 0);
    // Exactly as large as the limit.
    upload(artifacts, b"abc").await;
    let mut none = artifacts.begin(0).await.unwrap();
    assert!(matches!(none.write(Bytes::from_static(b"a")).await, Err(StorageError::TooLarge { limit: 0 })));
}

async fn what_is_missing_is_named(stores: Stores) {
    let (artifacts, digest) = (&*stores.artifacts, Digest::of(b"abc"));
    assert!(!artifacts.renew(&digest).await.unwrap());
    let read = artifacts.read(&digest, "it", ByteRange::WHOLE).await.map(|_| ());
    for outcome in [
        artifacts.size(&digest, "it").await.map(|_| ()),
        read,
        artifacts.file(&digest, "it").await.map(|_| ()),
        artifacts.unverified_file(&digest).await.map(|_| ()),
    ] {
        assert!(matches!(&outcome, Err(StorageError::Missing { sha256 }) if *sha256 == digest.as_str()), "{outcome:?}");
    }
}

async fn what_is_damaged_is_named_and_replaced_by_an_upload(stores: Stores) {
    let artifacts = &*stores.artifacts;
    let digest = upload(artifacts, b"abc").await;
    (stores.damage)(&digest, ());
    let read_it = artifacts.read(&digest, "the model", ByteRange::WHOLE).await.map(|_| ());
    for outcome in [
        artifacts.size(&digest, "the model").await.map(|_| ()),
        read_it,
        artifacts.file(&digest, "the model").await.map(|_| ()),
    ] {
        let is_told = |error: &StorageError| matches!(error, StorageError::Damaged { part, sha256, .. } if part == "the model" && *sha256 == digest.as_str());
        assert!(outcome.as_ref().is_err_and(is_told), "{outcome:?}");
    }
    assert!(artifacts.unverified_file(&digest).await.is_ok(), "its reader looks at the bytes");
    assert!(!artifacts.renew(&digest).await.unwrap(), "it counts as missing");
    upload(artifacts, b"abc").await;
    assert!(artifacts.renew(&digest).await.unwrap());
    assert_eq!(read(artifacts, &digest, ByteRange::WHOLE).await.unwrap(), b"abc");
    assert_eq!(fs::read(artifacts.file(&digest, "it").await.unwrap()).unwrap(), b"abc");
}

async fn ranges_are_read_exactly(stores: Stores) {
    let (artifacts, bytes) = (&*stores.artifacts, large());
    let digest = upload(artifacts, &bytes).await;
    let size = bytes.len() as u64;
    for range in [0..0, 0..1, 0..size, 1..size, size - 1..size, size..size, 262_143..262_145, 5..600_000] {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(read(artifacts, &digest, range.clone().into()).await.unwrap() == expected, "{range:?}");
    }
    for start in [0, 7, size - 1, size] {
        assert!(read(artifacts, &digest, (start..).into()).await.unwrap() == bytes[start as usize..], "{start}");
    }
    assert!(read(artifacts, &digest, ByteRange::WHOLE).await.unwrap() == bytes);
}

async fn a_range_that_is_not_inside_is_refused(stores: Stores) {
    let artifacts = &*stores.artifacts;
    let digest = upload(artifacts, b"abc").await;
    let backwards = ByteRange { start: 2, end: Some(1) };
    for range in [(0..4).into(), (4..4).into(), (4..).into(), (3..u64::MAX).into(), (u64::MAX..).into(), backwards] {
        match artifacts.read(&digest, "it", range).await.map(|_| ()) {
            Err(StorageError::BadRange { sha256, range: told, size: 3 }) => {
                assert_eq!((sha256.as_str(), told), (digest.as_str(), range));
            }
            other => panic!("{range}: {other:?}"),
        }
    }
}

async fn only_what_nobody_names_and_is_old_is_swept(stores: Stores) {
    let artifacts = &*stores.artifacts;
    let [kept, renewed, old, young] = [b"a", b"b", b"c", b"d"].map(|bytes| bytes.to_vec());
    let (kept, renewed) = (upload(artifacts, &kept).await, upload(artifacts, &renewed).await);
    let (old, young) = (upload(artifacts, &old).await, upload(artifacts, &young).await);
    for aged in [&kept, &renewed, &old] {
        (stores.age)(aged, 2 * HOUR);
    }
    (stores.age)(&young, HOUR / 2);
    assert!(artifacts.renew(&renewed).await.unwrap());
    let mut receiving = artifacts.begin(9).await.unwrap();
    receiving.write(Bytes::from_static(b"e")).await.unwrap();
    artifacts.sweep(named([&kept, &Digest::of(b"another")]), HOUR).await.unwrap();
    for there in [&kept, &renewed, &young] {
        assert!(artifacts.size(there, "it").await.is_ok());
    }
    assert!(matches!(artifacts.size(&old, "it").await, Err(StorageError::Missing { .. })));
    receiving.finish(&Digest::of(b"e")).await.expect("an upload that is under way is not swept");
    (stores.age)(&kept, 2 * HOUR);
    artifacts.sweep(HashSet::new(), HOUR).await.unwrap();
    assert!(!artifacts.renew(&kept).await.unwrap());
}

async fn a_read_that_has_begun_does_not_end_short(stores: Stores) {
    let (artifacts, bytes) = (&*stores.artifacts, large());
    let digest = upload(artifacts, &bytes).await;
    let mut reader = artifacts.read(&digest, "it", ByteRange::WHOLE).await.unwrap();
    let mut first = reader.next().await.unwrap().unwrap().to_vec();
    (stores.age)(&digest, 2 * HOUR);
    artifacts.sweep(HashSet::new(), HOUR).await.unwrap();
    assert!(!artifacts.renew(&digest).await.unwrap(), "it is swept");
    match rest(reader).await {
        Ok(more) => {
            first.extend(more);
            assert!(first == bytes, "{} bytes", first.len());
        }
        Err(error) => assert!(matches!(error, StorageError::Missing { .. }), "{error}"),
    }
}

async fn uploads_of_the_same_bytes_at_once_are_all_kept(stores: Stores) {
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let artifacts = Arc::clone(&stores.artifacts);
        writers.spawn(async move { upload(&*artifacts, &large()).await });
    }
    let digests: HashSet<_> = writers.join_all().await.into_iter().collect();
    assert_eq!((digests.len(), (stores.count)()), (1, 1));
    let digest = digests.into_iter().next().unwrap();
    assert!(read(&*stores.artifacts, &digest, ByteRange::WHOLE).await.unwrap() == large());
}
