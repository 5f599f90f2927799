//! Several operators at once: entity tags against lost updates, and the audit log.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::host::TestHost;
use crate::http::Response;

mod hostile;

const SERVICE: &str = "/api/v1/services/svc";

/// Sends an operator's request with further headers.
pub(super) fn ask(host: &TestHost, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    host.ask_admin(method, path, headers, body.as_bytes())
}

fn small() -> Value {
    json!({"token": "s3cret-token", "metadata": {"rpc": {"worker_threads": 1}}})
}

fn tag(host: &TestHost) -> String {
    let answer = ask(host, "GET", SERVICE, &[], &Value::Null);
    let tag = answer.header("etag").expect("a tag").to_owned();
    assert_eq!(tag, format!("\"{}\"", answer.json()["revision"]));
    tag
}

/// Returns a change that differs for each number.
fn change(number: u64) -> Value {
    json!({"spec": {"sandbox": {"log_bytes_per_request": number}}})
}

fn audit(host: &TestHost, query: &str) -> Vec<Value> {
    let page = ask(host, "GET", &format!("/api/v1/audit{query}"), &[], &Value::Null).json();
    page["entries"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[test]
fn a_change_is_made_only_to_what_its_operator_has_seen() {
    let host = TestHost::start();
    host.deploy("svc", "echo", small());
    let seen = tag(&host);
    let known = ask(&host, "GET", SERVICE, &[("if-none-match", &seen)], &Value::Null);
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some(seen.as_str()), 0));

    let alice = ask(&host, "PUT", SERVICE, &[("if-match", &seen), ("x-bulkhead-actor", "alice")], &change(1));
    assert_eq!(alice.status, 200, "{}", alice.text());
    let now = tag(&host);
    assert_eq!(alice.header("etag"), Some(now.as_str()), "the answer bears the tag of what it made");
    assert_ne!(now, seen);
    assert_eq!(ask(&host, "GET", SERVICE, &[("if-none-match", &seen)], &Value::Null).status, 200);

    for (method, path) in [
        ("PUT", SERVICE.to_owned()),
        ("DELETE", SERVICE.to_owned()),
        ("POST", format!("{SERVICE}/stop")),
        ("POST", format!("{SERVICE}/start")),
        ("POST", format!("{SERVICE}/restart")),
        ("POST", format!("{SERVICE}/instances/0/restart")),
    ] {
        let body = if method == "PUT" { change(2) } else { Value::Null };
        for tags in [seen.as_str(), "W/\"1\"", "\"\", \"x\""] {
            let bob = ask(&host, method, &path, &[("if-match", tags), ("x-bulkhead-actor", "bob")], &body);
            let problem = bob.json();
            assert_eq!((bob.status, problem["code"].as_str()), (412, Some("precondition_failed")), "{method} {path}");
            assert_eq!((bob.header("etag"), problem["etag"].as_str()), (Some(now.as_str()), Some(now.as_str())));
            let last = &problem["last_change"];
            assert_eq!((&last["actor"], &last["action"]), (&json!("alice"), &json!("modify")), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("by alice"), "{problem}");
        }
    }
    assert_eq!(tag(&host), now, "nothing has changed");

    let several = format!("\"7777\", {now}");
    assert_eq!(ask(&host, "POST", &format!("{SERVICE}/stop"), &[("if-match", &several)], &Value::Null).status, 200);
    assert_eq!(ask(&host, "POST", &format!("{SERVICE}/start"), &[("if-match", "*")], &Value::Null).status, 200);
    assert_eq!(ask(&host, "PUT", SERVICE, &[], &change(3)).status, 200, "whoever asks for nothing is not refused");
    assert_eq!(ask(&host, "PUT", "/api/v1/services/nobody", &[("if-match", "*")], &change(3)).status, 404);

    // A new service of the same name is a different one.
    let old = tag(&host);
    assert_eq!(ask(&host, "DELETE", SERVICE, &[("if-match", &old)], &Value::Null).status, 200);
    host.deploy("svc", "echo", small());
    assert_eq!(ask(&host, "PUT", SERVICE, &[("if-match", &old)], &change(4)).status, 412);
}

#[test]
fn of_two_operators_who_saw_the_same_exactly_one_changes_it() {
    let host = TestHost::start();
    host.deploy("svc", "echo", small());
    for round in 1..=12 {
        let seen = tag(&host);
        let start = Barrier::new(2);
        let race = |number: u64| {
            start.wait();
            // In every third round, one operator makes another kind of change.
            let headers = [("if-match", seen.as_str())];
            match (round % 3, number % 2) {
                (0, 1) => ask(&host, "POST", &format!("{SERVICE}/stop"), &headers, &Value::Null),
                _ => ask(&host, "PUT", SERVICE, &headers, &change(number)),
            }
        };
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| race(round * 2));
            let other = scope.spawn(|| race(round * 2 + 1));
            (one.join().expect("no panic"), other.join().expect("no panic"))
        });
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "round {round}: {} {}", one.text(), other.text());
        let winner = if one.status == 200 { &one } else { &other };
        assert_eq!(winner.header("etag"), Some(tag(&host).as_str()), "round {round}");
    }
    let outcomes = audit(&host, "?limit=24");
    let made = outcomes.iter().filter(|entry| entry["outcome"] == "done").count();
    let refused = outcomes.iter().filter(|entry| entry["outcome"] == "precondition_failed").count();
    assert_eq!((made, refused), (12, 12), "both are in the log");
}

#[test]
fn the_log_says_who_changed_what_when_and_no_secret() {
    let host = TestHost::start();
    host.deploy("other", "echo", small());
    host.deploy("svc", "echo", small());
    let as_alice = [("x-bulkhead-actor", "alice of operations")];
    let patch = json!({"spec": {"metadata": {"rpc": {"keepalive": 7000}}, "token": "an0ther-s3cret",
        "processor_envs": [{"name": "KEY", "value": "envs3cret"}]}});
    assert_eq!(ask(&host, "PUT", SERVICE, &as_alice, &patch).status, 200);
    let wrong = json!({"spec": {"token": "two s3cret words"}});
    assert_eq!(ask(&host, "PUT", SERVICE, &as_alice, &wrong).status, 400);
    assert_eq!(ask(&host, "POST", &format!("{SERVICE}/stop"), &[], &Value::Null).status, 200);
    assert_eq!(ask(&host, "POST", &format!("{SERVICE}/token"), &[], &json!({"action": "rotate"})).status, 200);
    assert_eq!(ask(&host, "DELETE", SERVICE, &as_alice, &Value::Null).status, 200);

    let entries = audit(&host, "?service=svc");
    let told: Vec<_> = entries
        .iter()
        .map(|entry| [&entry["action"], &entry["outcome"], &entry["version_before"], &entry["version_after"]])
        .map(|row| row.map(|value| value.to_string().replace('"', "")).join(" "))
        .collect();
    assert_eq!(
        told,
        [
            "delete done 2 null",
            "token done 2 2",
            "stop done 2 2",
            "modify invalid_service_file null null",
            "modify done 1 2",
            "create done null 1"
        ]
    );
    let modified = &entries[4];
    assert_eq!(modified["changed"], json!(["metadata.rpc.keepalive", "processor_envs", "token", "tokens"]));
    assert_eq!((&modified["actor"], &modified["token"]), (&json!("alice of operations"), &json!("admin")));
    assert_eq!((&modified["peer"], &entries[5]["actor"]), (&json!("127.0.0.1"), &Value::Null));
    assert!(modified["at"].as_str().unwrap().ends_with('Z'));
    let whole = json!(audit(&host, "")).to_string();
    assert!(!whole.contains("s3cret"), "{whole}");

    // Read page by page; the result is the same after the host was killed.
    let pages = |host: &TestHost| {
        let (mut numbers, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(host, "GET", &format!("/api/v1/audit?limit=2{cursor}"), &[], &Value::Null).json();
            numbers.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return numbers,
            }
        }
    };
    assert_eq!(pages(&host), [7, 6, 5, 4, 3, 2, 1]);
    let host = host.kill_and_restart();
    assert_eq!(pages(&host), [7, 6, 5, 4, 3, 2, 1]);
    for (query, accepted) in [
        ("cursor=x", "the `next` of the previous page"),
        ("service=A", "1 to 63 of a-z"),
        ("limit=1001", "from 1 to 1000"),
    ] {
        let refused = ask(&host, "GET", &format!("/api/v1/audit?{query}"), &[], &Value::Null);
        assert!(refused.status == 400 && refused.text().contains(accepted), "{query}: {}", refused.text());
    }
}

#[test]
fn instances_are_listed_and_made_anew() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"instance": 2, "rpc": {"worker_threads": 1}}});
    let service = host.deploy("svc", "echo", keys);
    let list = |host: &TestHost| ask(host, "GET", &format!("{SERVICE}/instances"), &[], &Value::Null).json();
    let listed = list(&host);
    let rows = listed["instances"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[1]["index"], &rows[0]["state"]), (2, &json!(1), &json!("running")), "{listed}");
    assert_eq!(rows[0]["address"], host.data.to_string());
    let before = tag(&host);
    for path in ["restart", "instances/1/restart"] {
        let answer = ask(&host, "POST", &format!("{SERVICE}/{path}"), &[], &Value::Null);
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("running")), "{}", answer.text());
        assert_eq!(host.client().post(&service, b"still").text(), "still");
    }
    assert_eq!(tag(&host), before, "no change of the service");
    for (index, status) in [("2", 404), ("-1", 400), ("x", 400), ("99999999999999999999", 400)] {
        let path = format!("{SERVICE}/instances/{index}/restart");
        assert_eq!(ask(&host, "POST", &path, &[], &Value::Null).status, status, "{index}");
    }
    let actions: Vec<_> = audit(&host, "").iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions[4..], [json!("restart_instance"), json!("restart"), json!("create")]);
}

#[test]
fn another_number_of_instances_leaves_those_that_are_there_at_work() {
    let host = TestHost::start();
    let service = host.deploy("svc", "faults", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    let mut busy = host.client();
    let sleep = br#"{"do":"sleep","ms":3000}"#;
    busy.write(&crate::http::request("POST", &service.path, &[("authorization", &service.token)], sleep));
    let instances =
        || ask(&host, "GET", &format!("{SERVICE}/instances"), &[], &Value::Null).json()["instances"].clone();
    host.wait_for("it to run", || instances()[0]["busy"] == 1);
    let to = |count: u64| {
        let lines = [("accept", "application/x-ndjson")];
        let answer = ask(&host, "PUT", SERVICE, &lines, &json!({"spec": {"metadata": {"instance": count}}}));
        let events: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let steps: Vec<_> = events.iter().filter_map(|event| event["step"].as_str().map(str::to_owned)).collect();
        (steps.join(" "), events.last().unwrap()["result"]["version"].as_u64())
    };
    assert_eq!(to(3), ("check initialize swap".into(), Some(2)), "nothing is compiled");
    let listed = instances();
    let seen: Vec<_> = listed.as_array().unwrap().iter().map(|row| (&row["busy"], &row["version"])).collect();
    assert_eq!(
        seen,
        [(&json!(1), &json!(2)), (&json!(0), &json!(2)), (&json!(0), &json!(2))],
        "the first is as it was"
    );
    assert_eq!(to(1), ("check swap".into(), Some(3)));
    assert_eq!(instances().as_array().unwrap().len(), 1);
    assert_eq!(busy.read("POST").json(), json!({"slept_ms": 3000}));
    assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200);

    // A change of the number together with other keys is an ordinary deploy.
    let both = json!({"spec": {"metadata": {"instance": 2, "rpc": {"max_queue_size": 3}}}});
    assert_eq!(ask(&host, "PUT", SERVICE, &[], &both).json()["version"], 4);
    let host = host.kill_and_restart();
    let described = ask(&host, "GET", SERVICE, &[], &Value::Null).json();
    assert_eq!((&described["version"], described["instances"].as_array().map(Vec::len)), (&json!(4), Some(2)));
}
