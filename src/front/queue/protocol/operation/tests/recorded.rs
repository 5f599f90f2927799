//! Requests that official clients of EAS have sent, as they were recorded, and those that the Java client's source
//! builds.

use super::*;

fn put(pairs: &[(&str, &str)], priority: u8) -> Operation {
    Operation::Put { tags: tags(pairs), priority }
}

fn list(index: u64, length: usize, timeout_ms: u64, auto_delete: bool, pairs: &[(&str, &str)]) -> Operation {
    let timeout = Duration::from_millis(timeout_ms);
    Operation::Get { index: Start::From(index), length, timeout, auto_delete, raw: false, tags: tags(pairs) }
}

fn watch(index_only: bool, auto_commit: bool, pairs: &[(&str, &str)]) -> Operation {
    Operation::Watch { index: Start::From(0), window: 5, index_only, auto_commit, progress: false, tags: tags(pairs) }
}

#[test]
fn requests_of_the_python_client_are_read() {
    for (request, expected) in [
        ("POST /api/predict/qin", put(&[], 0)),
        ("POST /api/predict/qin/sink", put(&[], 0)),
        ("POST /api/predict/qin?k=v&_priority_=1", put(&[("k", "v")], 1)),
        ("GET /api/predict/qin?_attrs_=true", Operation::Attributes),
        ("GET /api/predict/qin/sink?_attrs_=true", Operation::Attributes),
        ("GET /api/predict/qin?_search_=true&_index_=17", Operation::Search { item: Sought::Index(17) }),
        (
            "GET /api/predict/qin?_index_=17&_length_=1&_timeout_=5s&_raw_=false&_auto_delete_=true",
            list(17, 1, 5000, true, &[]),
        ),
        (
            "GET /api/predict/qin?_index_=0&_length_=2&_timeout_=3s&_raw_=false&_auto_delete_=false\
             &requestId=2f0f4c7e-rid&t=1",
            list(0, 2, 3000, false, &[("requestId", "2f0f4c7e-rid"), ("t", "1")]),
        ),
        ("PUT /api/predict/qin?_indexes_=3", Operation::Commit { indexes: vec![3] }),
        ("DELETE /api/predict/qin?_indexes_=1%2C2", Operation::Delete { indexes: vec![1, 2] }),
        ("DELETE /api/predict/qin?_index_=18&_trunc_=true", Operation::Truncate { before: 18 }),
        (
            "GET /api/predict/qw_auto?_watch_=true&_index_=0&_window_=5&_index_only_=true&_auto_commit_=true&z=1",
            watch(true, true, &[("z", "1")]),
        ),
        (
            "GET /api/predict/qw_dropws?_watch_=true&_index_=0&_window_=5&_index_only_=false&_auto_commit_=true",
            watch(false, true, &[]),
        ),
        (
            "GET /api/predict/qw_manual?_watch_=true&_index_=0&_window_=5&_index_only_=false&_auto_commit_=false",
            watch(false, false, &[]),
        ),
    ] {
        assert_eq!(read(request, None), Ok(expected), "{request}");
    }
}

#[test]
fn requests_of_the_go_client_are_read() {
    for (request, expected) in [
        ("GET /api/predict/qin?_attrs_=true", Operation::Attributes),
        ("POST /api/predict/qin?t=v", put(&[("t", "v")], 0)),
        ("POST /api/predict/qin/sub/path", put(&[], 0)),
        (
            "GET /api/predict/qin?_auto_delete_=true&_index_=17&_length_=1&_raw_=false&_timeout_=0s",
            list(17, 1, 0, true, &[]),
        ),
        (
            "GET /api/predict/qin?_auto_delete_=true&_index_=0&_length_=1&_raw_=false&_timeout_=0s&requestId=rid",
            list(0, 1, 0, true, &[("requestId", "rid")]),
        ),
        (
            "GET /api/predict/qin?_auto_delete_=true&_index_=0&_length_=2&_raw_=false&_timeout_=1.5s&t=v",
            list(0, 2, 1500, true, &[("t", "v")]),
        ),
        ("PUT /api/predict/qin?_indexes_=1%2C2", Operation::Commit { indexes: vec![1, 2] }),
        ("PUT /api/predict/qin?_indexes_=3&_negative_=true", Operation::NegativeCommit { indexes: vec![3] }),
        ("DELETE /api/predict/qin?_indexes_=4%2C5", Operation::Delete { indexes: vec![4, 5] }),
        ("DELETE /api/predict/qin?_index_=18&_trunc_=true", Operation::Truncate { before: 18 }),
        ("POST /api/predict/qin?_eos_=true", Operation::End { force: false }),
        ("POST /api/predict/qin?_eos_=true&_force_=true", Operation::End { force: true }),
        (
            "GET /api/predict/qin?_auto_commit_=false&_index_=0&_index_only_=false&_watch_=true&_window_=5",
            watch(false, false, &[]),
        ),
    ] {
        assert_eq!(read(request, None), Ok(expected), "{request}");
    }
    let priority = Some(("X-Eas-Queueservice-Priority", "1"));
    assert_eq!(read("POST /api/predict/qin", priority), Ok(put(&[], 1)));
}

#[test]
fn requests_of_the_java_client_are_read() {
    for (request, expected) in [
        ("GET /api/predict/qin?_count_=true", Operation::Count { priority: None, tags: Tags::default() }),
        (
            "GET /api/predict/qin?_count_=true&_priority_=1&t=v",
            Operation::Count { priority: Some(1), tags: tags(&[("t", "v")]) },
        ),
        (
            "GET /api/predict/qin?_index_=-1&_length_=1&_timeout_=0s&_raw_=false&_auto_delete_=true",
            Operation::Get {
                index: Start::Newest,
                length: 1,
                timeout: Duration::ZERO,
                auto_delete: true,
                raw: false,
                tags: Tags::default(),
            },
        ),
        ("PUT /api/predict/qin?_indexes_=1%2C2&_negative_=true", Operation::NegativeCommit { indexes: vec![1, 2] }),
        // `clear` of a queue that never had an item.
        ("DELETE /api/predict/qin?_index_=1&_trunc_=true", Operation::Truncate { before: 1 }),
    ] {
        assert_eq!(read(request, None), Ok(expected), "{request}");
    }
    assert_eq!(read("POST /api/predict/qin?_priority_=1", Some((PRIORITY, "1"))), Ok(put(&[], 1)));
}
