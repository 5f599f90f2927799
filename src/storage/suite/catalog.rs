//! Tests of the rules of [`Catalog`].

use std::collections::BTreeSet;

use super::*;

hold!(
    what_is_put_is_read_back_with_its_revision,
    records_and_versions_come_in_order,
    a_version_of_the_same_number_is_replaced,
    numbers_count_up_over_all_services_and_never_come_back,
    a_change_made_from_another_revision_changes_nothing,
    of_two_writers_at_once_one_wins,
    writers_of_different_services_do_not_wait_for_each_other_in_vain,
    no_reader_sees_a_change_without_its_entry,
    the_last_versions_are_kept_and_those_at_work_whatever_their_age,
    a_removed_service_leaves_its_entries_alone,
    entries_are_read_by_page_service_and_number,
    the_audit_log_forgets_its_oldest_entries,
);

async fn commit(stores: &Stores, edit: Edit) -> u64 {
    let service = match &edit {
        Edit::Put { record, .. } => record.name.clone(),
        Edit::Remove { service, .. } => service.clone(),
        Edit::Note => "a".into(),
    };
    stores.catalog.commit(edit, entry(&service)).await.unwrap()
}

async fn numbers(stores: &Stores, service: &str) -> Vec<u64> {
    stores.catalog.versions(service).await.unwrap().iter().map(|version| version.number).collect()
}

async fn listed(stores: &Stores, service: Option<&str>, before: Option<u64>, limit: usize) -> Vec<u64> {
    stores.catalog.entries(service, before, limit).await.unwrap().iter().map(|entry| entry.number).collect()
}

/// The whole content of a catalog, for comparison.
async fn everything(stores: &Stores) -> String {
    let catalog = &stores.catalog;
    let (records, versions) = (catalog.records().await.unwrap(), catalog.all_versions().await.unwrap());
    let entries = catalog.entries(None, None, usize::MAX).await.unwrap();
    serde_json::to_string(&(records, versions, entries)).unwrap()
}

async fn what_is_put_is_read_back_with_its_revision(stores: Stores) {
    let asked = Record { revision: 77, weight: 9, ..record("a", 1) };
    let revision =
        stores.catalog.commit(put_version(&asked, 1, None), Entry { number: 99, ..entry("a") }).await.unwrap();
    assert_eq!(revision, 1, "the number of an entry is given out, and not asked for");
    let json = |record: &Record| serde_json::to_value(record).unwrap();
    let found = stores.catalog.records().await.unwrap();
    assert_eq!(found.iter().map(json).collect::<Vec<_>>(), [json(&Record { revision, ..asked.clone() })]);
    let version = serde_json::to_value(asked.to_version("new".into())).unwrap();
    let versions = stores.catalog.versions("a").await.unwrap();
    assert_eq!(versions.iter().map(|kept| serde_json::to_value(kept).unwrap()).collect::<Vec<_>>(), [version]);
    assert_eq!(stores.catalog.entry(1).await.unwrap(), Some(Entry { number: 1, ..entry("a") }));
}

async fn records_and_versions_come_in_order(stores: Stores) {
    for name in ["b", "a", "ab"] {
        let first = commit(&stores, put_version(&record(name, 1), 1, None)).await;
        commit(&stores, put_version(&record(name, 10), 10, Some(first))).await;
    }
    let names: Vec<String> = stores.catalog.records().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["a", "ab", "b"]);
    assert_eq!(numbers(&stores, "a").await, [1, 10]);
    assert!(numbers(&stores, "nobody").await.is_empty());
    let all = stores.catalog.all_versions().await.unwrap();
    let all: Vec<_> =
        all.iter().map(|version| (version.file.value()["name"].as_str().unwrap().to_owned(), version.number)).collect();
    let expected = [("a", 1), ("a", 10), ("ab", 1), ("ab", 10), ("b", 1), ("b", 10)];
    assert_eq!(all, expected.map(|(name, number)| (name.to_owned(), number)));
}

async fn a_version_of_the_same_number_is_replaced(stores: Stores) {
    let first = commit(&stores, put_version(&record("a", 1), 1, None)).await;
    let other = Record { file: serde_json::json!({"name": "a", "other": true}).into(), ..record("a", 1) };
    commit(&stores, put_version(&other, 1, Some(first))).await;
    let versions = stores.catalog.versions("a").await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].file.value()["other"], true);
}

async fn numbers_count_up_over_all_services_and_never_come_back(stores: Stores) {
    assert_eq!(commit(&stores, put(&record("a", 1), None)).await, 1);
    assert_eq!(commit(&stores, put(&record("b", 1), None)).await, 2);
    assert_eq!(commit(&stores, Edit::Note).await, 3);
    assert_eq!(commit(&stores, remove("a", 1)).await, 4);
    let refused = stores.catalog.commit(remove("a", 1), entry("a")).await;
    assert!(refused.is_err());
    let again = commit(&stores, put(&record("a", 1), None)).await;
    assert_eq!(again, 5, "a name that comes back is another service");
    let revisions: Vec<u64> = stores.catalog.records().await.unwrap().iter().map(|record| record.revision).collect();
    assert_eq!(revisions, [5, 2]);
}

async fn a_change_made_from_another_revision_changes_nothing(stores: Stores) {
    let present = commit(&stores, put_version(&record("a", 1), 1, None)).await;
    let before = everything(&stores).await;
    let other = record("a", 2);
    for (edit, expected, found) in [
        (put_version(&other, 2, None), None, Some(present)),
        (put_version(&other, 2, Some(present + 1)), Some(present + 1), Some(present)),
        (put(&other, Some(0)), Some(0), Some(present)),
        (remove("a", present - 1), Some(present - 1), Some(present)),
        (put_version(&record("b", 1), 1, Some(present)), Some(present), None),
        (remove("b", present), Some(present), None),
    ] {
        let service = if found.is_some() { "a" } else { "b" };
        match stores.catalog.commit(edit, entry(service)).await {
            Err(StorageError::Conflict { service: named, expected: told, found: there }) => {
                assert_eq!((named.as_str(), told, there), (service, expected, found));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(everything(&stores).await, before);
    }
    assert_eq!(commit(&stores, put(&other, Some(present))).await, present + 1, "no number was used up");
}

async fn of_two_writers_at_once_one_wins(stores: Stores) {
    const WRITERS: u64 = 8;
    let mut from = None;
    for round in 1..=10 {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let catalog = Arc::clone(&stores.catalog);
            let number = round * WRITERS + writer;
            let edit = put_version(&record("a", number), number, from);
            writers.spawn(async move { (number, catalog.commit(edit, entry("a")).await) });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<_> =
            outcomes.iter().filter_map(|(number, made)| Some((*number, *made.as_ref().ok()?))).collect();
        let [(number, revision)] = winners[..] else { panic!("{outcomes:?}") };
        let is_conflict = |error: &StorageError| matches!(error, StorageError::Conflict { expected, found, .. } if *expected == from && *found == Some(revision));
        assert!(outcomes.iter().all(|(_, made)| made.as_ref().err().is_none_or(is_conflict)), "{outcomes:?}");
        let found = stores.catalog.records().await.unwrap();
        assert_eq!((found[0].version, found[0].revision), (number, revision));
        assert_eq!(numbers(&stores, "a").await.last(), Some(&number), "no loser leaves a version");
        from = Some(revision);
    }
    assert_eq!(listed(&stores, None, None, 99).await.len(), 10, "no loser leaves an entry");
}

async fn writers_of_different_services_do_not_wait_for_each_other_in_vain(stores: Stores) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let catalog = Arc::clone(&stores.catalog);
        writers.spawn(async move {
            let (name, mut from) = (format!("svc-{writer}"), None);
            for version in 1..=5 {
                from = Some(catalog.commit(put(&record(&name, version), from), entry(&name)).await.unwrap());
            }
            from
        });
    }
    let last: BTreeSet<_> = writers.join_all().await.into_iter().collect();
    assert_eq!(last.len(), 8, "every number is given out once");
    assert_eq!(listed(&stores, None, None, 99).await, (1..=40).rev().collect::<Vec<_>>());
}

async fn no_reader_sees_a_change_without_its_entry(stores: Stores) {
    let catalog = Arc::clone(&stores.catalog);
    let writer = tokio::spawn(async move {
        let mut from = None;
        for version in 1..=30 {
            let edit = put_version(&record("a", version), version, from);
            from = Some(catalog.commit(edit, entry("a")).await.unwrap());
        }
        // An abandoned commit is made completely or not at all.
        let mut abandoned = catalog.commit(put_version(&record("a", 31), 31, from), entry("a"));
        let waker = std::task::Waker::noop();
        let _ = abandoned.as_mut().poll(&mut std::task::Context::from_waker(waker));
    });
    loop {
        let is_last = writer.is_finished();
        if let [found] = &stores.catalog.records().await.unwrap()[..] {
            assert!(stores.catalog.entry(found.revision).await.unwrap().is_some(), "{}", found.revision);
            assert!(numbers(&stores, "a").await.last() >= Some(&found.version));
        }
        if is_last {
            return writer.await.unwrap();
        }
    }
}

async fn the_last_versions_are_kept_and_those_at_work_whatever_their_age(stores: Stores) {
    let canary = Record { canary: Some(CanaryRecord { version: 3, weight: 5 }), ..record("a", 1) };
    commit(&stores, put_version(&record("ab", 1), 1, None)).await;
    let mut from = None;
    for number in 1..=20 {
        from = Some(commit(&stores, put_version(&canary, number, from)).await);
    }
    assert_eq!(numbers(&stores, "a").await, [1, 3, 13, 14, 15, 16, 17, 18, 19, 20]);
    assert_eq!(stores.catalog.all_versions().await.unwrap().len(), VERSIONS_KEPT + 1);
    from = Some(commit(&stores, put(&record("a", 20), from)).await);
    assert_eq!(numbers(&stores, "a").await.len(), VERSIONS_KEPT, "nothing is forgotten without need");
    commit(&stores, put_version(&record("a", 20), 21, from)).await;
    assert_eq!(numbers(&stores, "a").await, [3, 13, 14, 15, 16, 17, 18, 19, 20, 21], "1 is at work no longer");
}

async fn a_removed_service_leaves_its_entries_alone(stores: Stores) {
    let ours = commit(&stores, put_version(&record("a", 1), 1, None)).await;
    commit(&stores, put_version(&record("ab", 1), 1, None)).await;
    commit(&stores, remove("a", ours)).await;
    assert!(numbers(&stores, "a").await.is_empty());
    assert_eq!(numbers(&stores, "ab").await, [1], "it takes no other's versions with it");
    let names: Vec<String> = stores.catalog.records().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["ab"]);
    assert_eq!(listed(&stores, Some("a"), None, 9).await, [3, 1]);
}

async fn entries_are_read_by_page_service_and_number(stores: Stores) {
    for service in ["a", "b", "a", "a", "b"] {
        let noted = stores.catalog.commit(Edit::Note, entry(service)).await;
        assert!(noted.is_ok());
    }
    assert_eq!(listed(&stores, None, None, 9).await, [5, 4, 3, 2, 1]);
    assert_eq!(listed(&stores, None, None, 2).await, [5, 4]);
    assert_eq!(listed(&stores, None, Some(4), 2).await, [3, 2]);
    assert_eq!(listed(&stores, Some("a"), None, 9).await, [4, 3, 1]);
    assert_eq!(listed(&stores, Some("a"), Some(4), 1).await, [3]);
    assert!(listed(&stores, Some("nobody"), None, 9).await.is_empty());
    assert!(listed(&stores, None, None, 0).await.is_empty());
    assert!(listed(&stores, None, Some(1), 9).await.is_empty());
    assert_eq!(stores.catalog.entry(2).await.unwrap(), Some(Entry { number: 2, ..entry("b") }));
    for unknown in [0, 6, u64::MAX] {
        assert_eq!(stores.catalog.entry(unknown).await.unwrap(), None, "{unknown}");
    }
}

async fn the_audit_log_forgets_its_oldest_entries(stores: Stores) {
    (stores.note_many)(ENTRIES_KEPT + 2);
    assert_eq!(listed(&stores, None, None, usize::MAX).await.len() as u64, ENTRIES_KEPT);
    assert!(stores.catalog.entry(2).await.unwrap().is_none());
    assert!(stores.catalog.entry(3).await.unwrap().is_some());
    assert_eq!(commit(&stores, Edit::Note).await, ENTRIES_KEPT + 3);
    assert!(stores.catalog.entry(3).await.unwrap().is_none());
}
