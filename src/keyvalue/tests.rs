use tempfile::TempDir;

use super::*;

struct Scene {
    dir: TempDir,
    stores: Arc<Stores>,
}

impl Scene {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores = Arc::new(Stores::new(dir.path().join("keyvalue.redb"), Handle::current()));
        Self { dir, stores }
    }

    fn store(&self, service: &str) -> Store {
        self.stores.store(service)
    }

    /// Changes the time at which the database has failed.
    async fn move_failure(&self, to: impl FnOnce(Instant) -> Instant) {
        let mut slot = self.stores.database.lock().await;
        let Slot::Failed(at, _) = &mut *slot else { panic!("it has not failed: {slot:?}") };
        *at = to(*at);
    }

    /// Closes the database, as the end of a host does.
    fn reopened(self) -> Self {
        let path = self.stores.path.clone();
        drop(self.stores);
        Self { dir: self.dir, stores: Arc::new(Stores::new(path, Handle::current())) }
    }
}

fn entry(key: &str, value: &str) -> (String, Vec<u8>) {
    (key.to_owned(), value.as_bytes().to_vec())
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let found = store.get(key.to_owned()).await.unwrap().value;
    found.map(|value| String::from_utf8(value).unwrap())
}

#[tokio::test]
async fn values_are_there_after_the_host_was_started_again_and_each_service_has_its_own() {
    let scene = Scene::set();
    let (a, b) = (scene.store("a"), scene.store("b"));
    assert_eq!(a.get("x".into()).await.unwrap(), Versioned::default());
    assert_eq!(a.list(None).await.unwrap(), Listed::default());
    assert_eq!(a.get_many(vec!["x".into()]).await.unwrap(), [("x".to_owned(), None)]);
    a.set(vec![entry("x", "1"), entry("", "empty")]).await.unwrap();
    b.set(vec![entry("x", "2")]).await.unwrap();
    drop((a, b));
    let mode = fs::metadata(&scene.stores.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let scene = scene.reopened();
    let (a, b) = (scene.store("a"), scene.store("b"));
    assert_eq!((value(&a, "x").await, value(&b, "x").await), (Some("1".into()), Some("2".into())));
    a.delete(vec!["x".into(), "not there".into()]).await.unwrap();
    assert_eq!((value(&a, "x").await, value(&b, "x").await), (None, Some("2".into())));
    assert_eq!(a.list(None).await.unwrap().keys, [""]);
    let read = a.get_many(vec!["x".into(), "".into()]).await.unwrap();
    assert_eq!(read, [("x".to_owned(), None), ("".to_owned(), Some(b"empty".to_vec()))]);
}

#[tokio::test]
async fn a_store_is_removed_with_its_service_and_no_other() {
    let scene = Scene::set();
    scene.stores.remove("a").await.unwrap();
    scene.stores.keep_only(vec![]).await.unwrap();
    assert!(!scene.stores.path.exists(), "nothing is made for nothing");
    for service in ["a", "ab", "a b", "b"] {
        scene.store(service).set(vec![entry("x", service), entry("y", "")]).await.unwrap();
    }
    let late = scene.store("a");
    scene.stores.remove("a").await.unwrap();
    let refused = late.set(vec![entry("x", "late")]).await.unwrap_err();
    assert!(matches!(refused, KeyValueError::Removed), "{refused}");
    assert_eq!(value(&scene.store("a"), "x").await, None);
    for service in ["ab", "a b", "b"] {
        assert_eq!(value(&scene.store(service), "x").await, Some(service.into()));
    }
    scene.stores.keep_only(vec!["b".into(), "c".into()]).await.unwrap();
    for (service, there) in [("ab", None), ("a b", None), ("b", Some("b".to_owned()))] {
        assert_eq!(value(&scene.store(service), "x").await, there, "{service}");
    }
    // The bounds count from zero again.
    scene.store("a").set(vec![entry("x", "again")]).await.unwrap();
    assert_eq!(scene.store("a").list(None).await.unwrap().keys, ["x"]);
}

#[tokio::test]
async fn an_integer_is_added_to_by_many_at_once() {
    let scene = Scene::set();
    let store = scene.store("a");
    let adding: Vec<_> = (0..40)
        .map(|delta| {
            let store = store.clone();
            tokio::spawn(async move { store.increment("n".into(), delta - 10).await.unwrap() })
        })
        .collect();
    for added in adding {
        added.await.unwrap();
    }
    assert_eq!(value(&store, "n").await, Some((0..40).map(|delta| delta - 10).sum::<i64>().to_string()));
    store.set(vec![entry("text", "abc"), entry("most", &i64::MAX.to_string())]).await.unwrap();
    let refused = store.increment("text".into(), 1).await.unwrap_err();
    assert!(matches!(refused, KeyValueError::NotAnInteger), "{refused}");
    let refused = store.increment("most".into(), 1).await.unwrap_err();
    assert!(matches!(refused, KeyValueError::Overflow), "{refused}");
    assert_eq!(value(&store, "most").await, Some(i64::MAX.to_string()));
}

#[tokio::test]
async fn a_swap_changes_only_what_was_seen() {
    let scene = Scene::set();
    let store = scene.store("a");
    assert!(store.swap("x".into(), 0, b"1".to_vec()).await.unwrap(), "it was not there");
    assert!(!store.swap("x".into(), 0, b"2".to_vec()).await.unwrap());
    let seen = store.get("x".into()).await.unwrap();
    // The same value again is a change as well.
    store.set(vec![entry("x", "1")]).await.unwrap();
    assert!(!store.swap("x".into(), seen.version, b"3".to_vec()).await.unwrap());
    // So is a removal, and a value that comes after it.
    let seen = store.get("x".into()).await.unwrap();
    store.delete(vec!["x".into()]).await.unwrap();
    assert!(!store.swap("x".into(), seen.version, b"3".to_vec()).await.unwrap());
    store.set(vec![entry("x", "1")]).await.unwrap();
    assert!(!store.swap("x".into(), seen.version, b"3".to_vec()).await.unwrap());
    let seen = store.get("x".into()).await.unwrap();
    assert!(store.swap("x".into(), seen.version, b"4".to_vec()).await.unwrap());
    assert_eq!(value(&store, "x").await, Some("4".into()));
}

#[tokio::test]
async fn a_store_is_bounded_and_a_refusal_changes_nothing() {
    let scene = Scene::set();
    let store = scene.store("a");
    let long = "k".repeat(MAX_KEY + 1);
    assert!(matches!(store.set(vec![entry(&long, "")]).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.increment(long.clone(), 1).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.swap(long.clone(), 0, vec![]).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.get(long.clone()).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.version(long.clone()).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.get_many(vec![long.clone()]).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.delete(vec![long.clone()]).await, Err(KeyValueError::KeyTooLong(1025))));
    assert!(matches!(store.list(Some(long)).await, Err(KeyValueError::KeyTooLong(1025))));
    let large = vec![0; MAX_VALUE + 1];
    assert!(matches!(store.set(vec![("x".into(), large)]).await, Err(KeyValueError::ValueTooLarge(_))));

    let largest = |index: usize| (format!("{index:02}"), vec![0; MAX_VALUE]);
    assert!(matches!(store.set((0..17).map(largest).collect()).await, Err(KeyValueError::TooMuch)));
    for from in [0, 16, 32] {
        store.set((from..from + 16).map(largest).collect()).await.unwrap();
    }
    store.set((48..63).map(largest).collect()).await.unwrap();
    // 62 bytes less than a value's worth are left.
    let refused = store.set(vec![entry("small", "1"), largest(63)]).await.unwrap_err();
    assert!(matches!(refused, KeyValueError::Full), "{refused}");
    assert_eq!(value(&store, "small").await, None, "all or nothing");
    store.set(vec![largest(5), entry("small", "1")]).await.unwrap();
    // The bounds are checked after the last entry of a call, so the order of the entries does not matter.
    store.set(vec![largest(63), entry("05", ""), entry("06", "")]).await.unwrap();
    store.set(vec![largest(5), largest(6), entry("63", "")]).await.unwrap();
    store.delete(vec!["63".into()]).await.unwrap();
    store.delete(vec!["small".into(), "00".into()]).await.unwrap();
    store.set(vec![largest(63)]).await.unwrap();
    assert!(matches!(
        store.get_many((1..18).map(|index| largest(index).0).collect()).await,
        Err(KeyValueError::TooMuch)
    ));
    assert_eq!(store.get_many((1..17).map(|index| largest(index).0).collect()).await.unwrap().len(), 16);

    let many = scene.store("many");
    let keys = |from: u64, to: u64| (from..to).map(|index| (format!("{index:06}"), vec![])).collect::<Vec<_>>();
    let at_once = MAX_AT_ONCE as u64;
    let names = |keys: Vec<(String, Vec<u8>)>| keys.into_iter().map(|key| key.0).collect::<Vec<_>>();
    assert!(matches!(many.set(keys(0, at_once + 1)).await, Err(KeyValueError::TooManyAtOnce(1001))));
    assert!(matches!(many.get_many(names(keys(0, at_once + 1))).await, Err(KeyValueError::TooManyAtOnce(1001))));
    assert!(matches!(many.delete(names(keys(0, at_once + 1))).await, Err(KeyValueError::TooManyAtOnce(1001))));
    for from in (0..MAX_KEYS).step_by(MAX_AT_ONCE) {
        many.set(keys(from, from + at_once)).await.unwrap();
    }
    assert!(matches!(many.set(keys(MAX_KEYS, MAX_KEYS + 1)).await, Err(KeyValueError::TooManyKeys)));
    let (mut listed, mut pages, mut after) = (0, 0, None);
    loop {
        let page = many.list(after).await.unwrap();
        (listed, pages) = (listed + page.keys.len() as u64, pages + 1);
        after = page.keys.last().cloned();
        if !page.has_more {
            break;
        }
    }
    assert_eq!((listed, pages, after), (MAX_KEYS, 100, Some("099999".into())));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_another_host_can_go_on_without_it() {
    let scene = Scene::set();
    scene.store("a").set(vec![entry("x", "1")]).await.unwrap();
    let scene = scene.reopened();
    let mut bytes = fs::read(&scene.stores.path).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&scene.stores.path, bytes).unwrap();
    let failed = scene.store("a").get("x".into()).await.unwrap_err();
    assert_eq!(failed.to_string(), "the store cannot be used");
    let told = failed.told();
    assert!(told.contains("keyvalue.redb") && told.contains("remove it") && !told.contains("--new"), "{told}");
    fs::remove_file(&scene.stores.path).unwrap();
    // A host does not read a large damaged file again and again, but it does so after a while.
    scene.move_failure(|at| at + 60 * AFTER_FAILURE).await;
    let again = scene.store("b").get("x".into()).await.unwrap_err();
    assert_eq!(again.told(), failed.told());
    scene.move_failure(|at| at - 120 * AFTER_FAILURE).await;
    assert_eq!(value(&scene.store("a"), "x").await, None);
}
