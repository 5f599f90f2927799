use serde_json::Value;

use super::*;
use crate::config::{Token, TrafficState};
use crate::storage::{Artifact, CanaryRecord, Digest};

fn record(name: &str, version: u64) -> Record {
    Record {
        name: name.into(),
        version,
        latest: version,
        revision: 0,
        canary: None,
        weight: 100,
        traffic_state: TrafficState::Grouping,
        mirror: None,
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

fn open(path: &Path) -> Records {
    match Records::open(path, true).unwrap() {
        Opened::There(records) | Opened::New(records) => records,
        Opened::Lost(state) => panic!("it {state}"),
    }
}

fn entry() -> Entry {
    Entry {
        number: 0,
        at: "2026-01-01T00:00:00Z".into(),
        actor: None,
        token: "admin".into(),
        peer: [127, 0, 0, 1].into(),
        action: "modify".into(),
        service: "a".into(),
        version_before: None,
        version_after: Some(1),
        changed: Vec::new(),
        outcome: Entry::DONE.into(),
        reason: None,
    }
}

#[test]
fn every_change_has_an_entry_whose_number_is_the_revision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let records = open(&path);
    assert_eq!(records.put(&record("a", 1), None, &entry()).unwrap(), 1);
    assert_eq!(records.put(&record("b", 1), None, &Entry { service: "b".into(), ..entry() }).unwrap(), 2);
    assert_eq!(records.note(&Entry { outcome: "internal".into(), ..entry() }).unwrap(), 3);
    assert_eq!(records.remove("a", &entry()).unwrap(), 4);
    assert_eq!(records.put(&record("a", 1), None, &entry()).unwrap(), 5, "a name that comes back is another service");
    drop(records);
    let records = open(&path);
    assert_eq!(records.all().unwrap().iter().map(|record| record.revision).collect::<Vec<_>>(), [5, 2]);
    let numbers = |service, before, limit| -> Vec<u64> {
        records.entries(service, before, limit).unwrap().iter().map(|entry| entry.number).collect()
    };
    assert_eq!(numbers(None, None, 9), [5, 4, 3, 2, 1]);
    assert_eq!(numbers(Some("a"), Some(5), 2), [4, 3]);
    assert_eq!(records.entry(2).unwrap().unwrap().service, "b");
    assert!(records.entry(6).unwrap().is_none());
}

#[test]
fn the_audit_log_forgets_its_oldest_entries_and_no_number_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("db"));
    let last = audit::ENTRIES_KEPT + 2;
    records
        .transact(|transaction| {
            (1..=last).try_for_each(|number| audit::append(transaction, &Entry { number, ..entry() }))
        })
        .unwrap();
    assert_eq!(records.entries(None, None, usize::MAX).unwrap().len() as u64, audit::ENTRIES_KEPT);
    assert!(records.entry(2).unwrap().is_none() && records.entry(3).unwrap().is_some());
    assert_eq!(records.note(&entry()).unwrap(), last + 1);
}

#[test]
fn records_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    {
        let records = open(&path);
        records.put(&record("a", 1), None, &entry()).unwrap();
        records.put(&record("b", 1), None, &entry()).unwrap();
        records.put(&record("a", 2), None, &entry()).unwrap();
        records.remove("b", &entry()).unwrap();
    }
    let all = open(&path).all().unwrap();
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
fn the_last_versions_are_kept_and_those_at_work_whatever_their_age() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("db"));
    let put = |record: &Record, number| {
        let version = VersionRecord { number, ..record.to_version("new".into()) };
        records.put(record, Some(&version), &entry()).unwrap();
    };
    let numbers = |service: &str| -> Vec<u64> {
        records.versions(service).unwrap().iter().map(|version| version.number).collect()
    };
    let canary = |version| Record { canary: Some(CanaryRecord { version, weight: 5 }), ..record("a", 1) };
    put(&record("ab", 1), 1);
    for number in 1..=4 {
        put(&canary(3), number);
    }
    for number in 5..=20 {
        put(&canary(3), number);
    }
    assert_eq!(numbers("a"), [1, 3, 13, 14, 15, 16, 17, 18, 19, 20]);
    assert_eq!(records.all_versions().unwrap().len(), VERSIONS_KEPT + 1);
    records.put(&record("a", 20), None, &entry()).unwrap();
    assert_eq!(numbers("a").len(), VERSIONS_KEPT, "nothing is forgotten without need");
    records.remove("a", &entry()).unwrap();
    assert_eq!((numbers("a").len(), numbers("ab")), (0, vec![1]), "a deleted service leaves none, nor takes others'");
}
