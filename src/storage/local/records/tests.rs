use super::*;
use crate::storage::suite::{entry, put, put_version, record, remove};
use crate::storage::{Edit, Entry};

fn open(path: &Path) -> Records {
    match Records::open(path, true).unwrap() {
        Opened::There(records) | Opened::New(records) => records,
        Opened::Lost(state) => panic!("it {state}"),
    }
}

fn commit(records: &Records, edit: Edit) -> u64 {
    records.commit(edit, entry("a")).unwrap()
}

#[test]
fn what_is_committed_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    {
        let records = open(&path);
        assert_eq!(commit(&records, put_version(&record("a", 1), 1, None)), 1);
        assert_eq!(commit(&records, put(&record("b", 1), None)), 2);
        assert_eq!(commit(&records, put_version(&record("a", 2), 2, Some(1))), 3);
        assert_eq!(commit(&records, remove("b", 2)), 4);
    }
    let records = open(&path);
    let all = records.all().unwrap();
    assert_eq!(all.iter().map(|r| (r.name.as_str(), r.version, r.revision)).collect::<Vec<_>>(), [("a", 2, 3)]);
    assert_eq!(records.all_versions().unwrap().iter().map(|version| version.number).collect::<Vec<_>>(), [1, 2]);
    let entries: Vec<Entry> = records.entries(None, None, 9).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(commit(&records, Edit::Note), 5);
    assert!(records.commit(put(&record("a", 3), Some(1)), entry("a")).is_err(), "revisions are compared as before");
}

#[test]
fn a_refused_change_leaves_the_database_open() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("db"));
    commit(&records, put(&record("a", 1), None));
    let refused = records.commit(put(&record("a", 2), None), entry("a"));
    assert!(matches!(refused, Err(StorageError::Conflict { expected: None, found: Some(1), .. })), "{refused:?}");
    assert!(records.slot.lock().unwrap().database.is_some());
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("db"));
    records
        .transact(|transaction| {
            transaction.open_table(SERVICES)?.insert("a", &b"of another time"[..])?;
            Ok(Outcome::Keep(()))
        })
        .unwrap();
    for refused in [records.commit(put(&record("a", 1), Some(1)), entry("a")), records.all().map(|_| 0)] {
        assert!(matches!(&refused, Err(StorageError::Record { service, .. }) if service == "a"), "{refused:?}");
    }
}
