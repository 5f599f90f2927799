//! Tests of `queue`.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen};

const QUEUES: &str = "/api/predict/resize";

/// A mock of both listeners, with an asynchronous service.
fn with_queues(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Mock {
    Mock::start(move |request| match request.path.as_str() {
        "/api/v1/services/resize" => {
            let url = format!("http://{}{QUEUES}", request.header("host").unwrap());
            let sink = format!("{url}/sink");
            Reply::json(
                200,
                &json!({ "name": "resize", "type": "Async", "url": url, "sink_url": sink, "token": "t0k" }),
            )
        }
        _ => answer(request),
    })
}

/// The requests to the data listener.
fn calls(mock: &Mock) -> Vec<Seen> {
    mock.seen().into_iter().filter(|seen| seen.path.starts_with(QUEUES)).collect()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_file_and_each_line_is_an_item_with_a_key_of_its_own() {
    let next = AtomicU64::new(7);
    let mock = with_queues(move |_| Reply::new(200, "text/plain", next.fetch_add(1, Ordering::Relaxed).to_string()));
    let directory = tempfile::tempdir().unwrap();
    let (file, rows) = (directory.path().join("a.jpg"), directory.path().join("rows"));
    fs::write(&file, b"\xff\xd8").unwrap();
    fs::write(&rows, "[1]\r\n\n[2]").unwrap();
    let ran = admin(
        &mock,
        &[
            "--json",
            "queue",
            "put",
            "resize",
            file.to_str().unwrap(),
            "-d",
            "text",
            "--lines",
            rows.to_str().unwrap(),
            "--tag",
            "a b=c&d",
            "--priority",
            "9",
            "--path",
            "v1/x",
            "-H",
            "X-Trace: 7",
        ],
    );
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let indexes: Vec<_> = lines(&ran.out).into_iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [7, 8, 9, 10]);
    let calls = calls(&mock);
    let bodies: Vec<_> = calls.iter().map(|call| call.body.clone().unwrap()).collect();
    assert_eq!(bodies, [&b"\xff\xd8"[..], b"text", b"[1]", b"[2]"]);
    let types: Vec<_> = calls.iter().map(|call| call.header("content-type").unwrap()).collect();
    assert_eq!(types[0], "application/octet-stream");
    assert_eq!(types[2], "application/json");
    let mut keys: Vec<_> = calls.iter().map(|call| call.header("x-bulkhead-idempotency-key").unwrap()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for call in &calls {
        assert_eq!(call.line(), format!("POST {QUEUES}/v1/x?a%20b=c%26d&_priority_=9"));
        assert_eq!((call.header("authorization"), call.header("x-trace")), (Some("t0k"), Some("7")));
    }
}

/// A put whose answer was lost may have put the item.
#[test]
fn a_put_is_repeated_with_the_same_key() {
    let tries = AtomicU64::new(0);
    let mock = with_queues(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::problem(450, &json!({ "code": "queue_full", "detail": "full" })),
        1 => Reply::problem(503, &json!({ "code": "queue_unavailable", "detail": "unknown" })),
        _ => Reply::new(200, "text/plain", "5"),
    });
    let ran = admin(&mock, &["queue", "put", "resize", "-d", "x"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let keys: Vec<_> =
        calls(&mock).iter().map(|call| call.header("x-bulkhead-idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_put_that_cannot_succeed_is_not_repeated_and_says_how_many_items_were_put() {
    let tries = AtomicU64::new(0);
    let mock = with_queues(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::new(200, "text/plain", "5"),
        _ => Reply::problem(413, &json!({ "code": "body_too_large", "detail": "too large" })),
    });
    let ran = admin(&mock, &["queue", "put", "resize", "-d", "a", "-d", "b", "-d", "c"]);
    assert_eq!((ran.exit, calls(&mock).len()), (Exit::Refused, 2), "{}", ran.err);
    assert!(ran.err.contains("1 of 3 items were put before this failed"), "{}", ran.err);
    let ran = admin(&mock, &["queue", "put", "resize", "-d", "a", "-d", "b", "--idempotency-key", "k"]);
    assert_eq!(ran.exit, Exit::Usage);
    for wrong in [&["queue", "put", "resize"][..], &["queue", "put", "resize", "-d", "x", "--priority", "101"]] {
        assert_eq!(admin(&mock, wrong).exit, Exit::Usage, "{wrong:?}");
    }
}

fn frame(index: u64, tags: &Value, data: &str) -> Value {
    use base64::Engine;
    let data = base64::engine::general_purpose::STANDARD.encode(data);
    json!({ "index": index, "tags": tags, "data": data, "message": "" })
}

#[test]
fn a_get_prints_the_data_and_says_what_is_no_success() {
    let mock = with_queues(|request| match request.path.contains("requestId=r-2") {
        true => Reply::json(200, &json!([frame(2, &json!({ "requestId": "r-2", "lastCode": "499" }), "no")])),
        false => Reply::json(200, &json!([frame(1, &json!({}), "a"), frame(3, &json!({}), "b\n")])),
    });
    let ran = admin(&mock, &["queue", "get", "resize", "--request-id", "r-2"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "no"), "{}", ran.err);
    assert!(ran.err.contains("item 2 (request r-2): status 499"), "{}", ran.err);
    let ran = admin(&mock, &["queue", "get", "resize", "--input", "--keep", "-n", "2", "--index", "7"]);
    assert_eq!(ran.out, "a\nb\n", "each item begins a line");
    let ran = admin(&mock, &["queue", "get", "resize", "--json", "-n", "2"]);
    assert_eq!(lines(&ran.out)[1], json!({ "index": 3, "request_id": "", "status": 200, "tags": {}, "body": "b\n" }));
    let asked: Vec<_> = calls(&mock).iter().map(Seen::line).collect();
    let common = "_raw_=false&_timeout_=0ms";
    assert_eq!(
        asked,
        [
            format!("GET {QUEUES}/sink?requestId=r-2&_index_=0&_length_=1&_auto_delete_=true&{common}"),
            format!("GET {QUEUES}?_index_=7&_length_=2&_auto_delete_=false&{common}"),
            format!("GET {QUEUES}/sink?_index_=0&_length_=2&_auto_delete_=true&{common}"),
        ]
    );
}

#[test]
fn a_get_that_finds_nothing_has_an_exit_code_of_its_own() {
    let mock = with_queues(|_| Reply::status(204));
    let ran = admin(&mock, &["queue", "get", "resize"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
    assert!(ran.err.contains("no such item in the sink"), "{}", ran.err);
}

#[test]
fn a_service_without_queues_is_told_before_anything_is_put() {
    let mock = super::calls::with_service(|_| panic!("nothing is put"));
    for args in [&["queue", "put", "echo", "-d", "x"][..], &["queue", "get", "echo"], &["queue", "watch", "echo"]] {
        let ran = admin(&mock, args);
        assert_eq!(ran.exit, Exit::Usage, "{args:?}");
        assert!(ran.err.contains("bulkhead invoke echo"), "{}", ran.err);
    }
}

#[test]
fn the_numbers_for_scripts_are_those_of_the_input_queue() {
    let queue = |length: u64| {
        json!({ "length": length, "ready": [{ "priority": 3, "items": length }], "leased": 2, "delayed": 1, "dead": 4,
            "first": 5, "last": 9, "oldest_age_s": 3700, "ended": false, "limits": { "length": 50, "payload": 60 },
            "consumers": [{ "id": "eas.a", "index": 7, "pending": 1, "window": 5, "status": "running", "idle_s": 2 }] })
    };
    let mock =
        Mock::start(move |_| Reply::json(200, &json!({ "name": "resize", "input": queue(7), "sink": queue(0) })));
    let json: Value = serde_json::from_str(&admin(&mock, &["queue", "stats", "resize", "--json"]).out).unwrap();
    assert_eq!((&json["length"], &json["delivered"], &json["dead"]), (&json!(7), &json!(3), &json!(4)), "{json}");
    assert_eq!((&json["input"]["first"], &json["sink"]["length"]), (&json!(5), &json!(0)));
    let ran = admin(&mock, &["queue", "stats", "resize"]);
    let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["input", "7", "7", "2", "1", "4", "50", "5", "9", "1h1m40s", "Open"]);
    assert_eq!(rows[2][9], "-", "an empty queue has no age");
    assert_eq!(rows[4..6], [vec!["QUEUE", "PRIORITY", "READY"], vec!["input", "3", "7"]]);
    assert_eq!(rows[9], ["input", "eas.a", "running", "1/5", "7", "2s"]);
    assert_eq!(mock.lines(), ["GET /api/v1/services/resize/queue"; 2]);
}

#[test]
fn dead_letters_are_listed_over_all_pages_and_changed() {
    let mock = Mock::start(|request| {
        let letter = |index: u64| {
            json!({ "index": index, "request_id": format!("r-{index}"), "died_at": "2026-01-01T00:00:00Z",
                "deliveries": 5, "bytes": 3, "reason": { "code": "408", "text": "not finished in time" } })
        };
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/api/v1/services/resize/queue/dead/7") => Reply::new(200, "image/jpeg", "abc"),
            ("GET", path) if path.ends_with("cursor=7") => {
                Reply::json(200, &json!({ "dead": [letter(7)], "next": null }))
            }
            ("GET", _) => Reply::json(200, &json!({ "dead": [letter(3)], "next": "7" })),
            ("DELETE", _) => Reply::json(200, &json!({ "purged": 2 })),
            _ => Reply::json(200, &json!({ "requeued": 1 })),
        }
    });
    let ran = admin(&mock, &["queue", "dead", "resize"]);
    let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..6], ["3", "r-3", "2026-01-01T00:00:00Z", "5", "3", "408"]);
    assert_eq!((rows.len(), rows[2][0]), (3, "7"));
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert!(admin(&mock, &["queue", "dead", "resize", "--limit", "1"]).err.contains("there are more"));
    assert_eq!(admin(&mock, &["queue", "dead", "resize", "7"]).out, "abc");
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("letter");
    let ran = admin(&mock, &["queue", "dead", "resize", "7", "-o", file.to_str().unwrap()]);
    assert!(ran.out.contains("RequestId   r-7") && fs::read(&file).unwrap() == b"abc", "{}", ran.out);

    assert_eq!(admin(&mock, &["queue", "requeue", "resize", "3", "7"]).out, "1 dead letter is ready again\n");
    assert_eq!(mock.seen().pop().unwrap().json(), json!({ "indexes": [3, 7] }));
    assert_eq!(admin(&mock, &["queue", "requeue", "resize", "--all", "--json"]).out, "{\"requeued\":1}\n");
    assert_eq!(mock.seen().pop().unwrap().json(), json!({ "all": true }));
    assert_eq!(admin(&mock, &["queue", "purge", "resize", "3", "7", "-y"]).out, "2 dead letters are removed\n");
    assert_eq!(mock.lines().pop().unwrap(), "DELETE /api/v1/services/resize/queue/dead?indexes=3,7");
    admin(&mock, &["queue", "purge", "resize", "--all", "-y"]);
    assert_eq!(mock.lines().pop().unwrap(), "DELETE /api/v1/services/resize/queue/dead?all=true");
    for args in [
        &["queue", "dead", "resize", "--sink"][..],
        &["queue", "requeue", "resize", "--all", "--sink"],
        &["queue", "purge", "resize", "7", "-y", "--sink"],
    ] {
        admin(&mock, args);
        assert!(mock.lines().pop().unwrap().contains("queue=sink"), "{:?}", mock.lines());
    }
    let asked = mock.lines().len();
    for wrong in [
        &["queue", "purge", "resize", "7"][..],
        &["queue", "purge", "resize", "-y"],
        &["queue", "requeue", "resize"],
        &["queue", "requeue", "resize", "7", "--all"],
    ] {
        assert_eq!(admin(&mock, wrong).exit, Exit::Usage, "{wrong:?}");
    }
    assert_eq!(mock.lines().len(), asked, "nothing is purged unasked");
}

#[test]
fn a_cancelled_item_is_told_by_its_state() {
    for (state, told) in [("running", "its processor is stopped"), ("waiting", "it is removed")] {
        let mock = Mock::start(move |_| Reply::json(200, &json!({ "cancelled": state, "index": 7 })));
        let ran = admin(&mock, &["queue", "cancel", "resize", "r-1"]);
        assert_eq!(ran.out, format!("item 7 was {state}: {told}\n"));
        assert_eq!(mock.seen()[0].json(), json!({ "request_id": "r-1" }));
    }
}

#[test]
fn items_are_dropped_with_their_service_only_if_that_is_said() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "name": "resize", "state": "deleted" })));
    admin(&mock, &["delete", "resize", "-y"]);
    admin(&mock, &["delete", "resize", "-y", "--drop-items"]);
    assert_eq!(mock.lines(), ["DELETE /api/v1/services/resize", "DELETE /api/v1/services/resize?drop_items=true"]);
}
