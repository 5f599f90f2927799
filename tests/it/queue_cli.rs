//! The command `bulkhead queue` against a real host.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::host::{TestHost, project};

/// Never ends by itself.
const LOOP: &str = r#"{"do":"loop"}"#;

fn command(host: &TestHost, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    command.args(args).stdin(Stdio::null());
    command
}

fn bulkhead(host: &TestHost, args: &[&str]) -> Output {
    command(host, args).output().expect("it runs")
}

fn ok(host: &TestHost, args: &[&str]) -> String {
    let output = bulkhead(host, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json_of(host: &TestHost, args: &[&str]) -> Value {
    serde_json::from_str(&ok(host, &[args, &["--json"]].concat())).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn deploy(host: &TestHost, name: &str, guest: &str, queue: Value) {
    let rpc = json!({"worker_threads": 1});
    host.deploy(name, guest, json!({"metadata": {"type": "Async", "rpc": rpc}, "queue": queue}));
}

#[test]
fn a_service_with_queues_from_create_to_delete() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({"metadata": {"type": "Async"}}));
    let told = ok(&host, &["create", text(&file)]);
    let url = format!("http://{}/api/predict/mine", host.data);
    assert!(told.contains(&format!("sink   {url}/sink\n")) && told.contains("/sink?_timeout_=30s'"), "{told}");
    // The lines that `create` suggests, as a user pastes them.
    let tried: String =
        told.lines().skip_while(|line| *line != "try it:").skip(1).map(|line| format!("{line}\n")).collect();
    let pasted = Command::new("sh").args(["-c", &tried]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "1hello", "{tried}");

    assert_eq!(ok(&host, &["queue", "put", "mine", "-d", "over the wire", "--wait"]), "over the wire");
    let put = json_of(&host, &["queue", "put", "mine", "-d", "kept"]);
    assert_eq!(put["index"], 3);
    let id = put["request_id"].as_str().expect("an id");
    assert_eq!(ok(&host, &["queue", "get", "mine", "--request-id", id, "--wait", "20s", "--keep"]), "kept");
    assert!(ok(&host, &["desc", "mine"]).contains("SinkEndpoint"));
    let list = ok(&host, &["ls"]);
    assert!(list.lines().any(|line| line.split_whitespace().any(|word| word == "Async")), "{list}");

    let refused = bulkhead(&host, &["delete", "mine", "-y"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("--drop-items"), "{said}");
    ok(&host, &["delete", "mine", "-y", "--drop-items"]);
    assert_eq!(bulkhead(&host, &["queue", "stats", "mine"]).status.code(), Some(5));
}

#[test]
fn lines_are_items_and_their_results_come_in_the_same_order() {
    let host = TestHost::start();
    deploy(&host, "svc", "echo", json!({}));
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows");
    fs::write(&rows, "one\ntwo\nthree\n").unwrap();
    assert_eq!(ok(&host, &["queue", "put", "svc", "--lines", text(&rows), "--wait"]), "one\ntwo\nthree\n");
    let stats = json_of(&host, &["queue", "stats", "svc"]);
    assert_eq!((&stats["length"], &stats["delivered"], &stats["dead"]), (&json!(0), &json!(0), &json!(0)), "{stats}");
    assert_eq!((&stats["input"]["last"], &stats["sink"]["length"]), (&json!(3), &json!(0)));
}

#[test]
fn a_put_with_the_same_key_puts_no_second_item() {
    let host = TestHost::start();
    deploy(&host, "svc", "echo", json!({}));
    let put = ["queue", "put", "svc", "-d", "x", "--idempotency-key", "order-7"];
    assert_eq!(ok(&host, &put), "item 1, request order-7\n");
    let again = bulkhead(&host, &put);
    assert_eq!(String::from_utf8_lossy(&again.stdout), "item 1, request order-7\n");
    assert!(String::from_utf8_lossy(&again.stderr).contains("had been put before"));
}

#[test]
fn a_result_that_is_no_success_and_one_that_does_not_come_have_exit_codes() {
    let host = TestHost::start();
    deploy(&host, "svc", "faults", json!({"max_delivery": 1, "timeout_ms": 1000}));
    let wait = |deed: &str, timeout: &str| {
        let output = bulkhead(&host, &["queue", "put", "svc", "-d", deed, "--wait", "--timeout", timeout]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let declined = wait(r#"{"do":"status","status":422,"message":"no"}"#, "20s");
    assert!(declined.0 == Some(3) && declined.2.contains("status 422"), "{declined:?}");
    let dead = wait(LOOP, "20s");
    assert!(dead.0 == Some(5) && dead.2.contains("is dead"), "{dead:?}");
    ok(&host, &["stop", "svc"]);
    let late = wait("{}", "10ms");
    assert!(late.0 == Some(4) && late.2.contains("it stays in the queue"), "{late:?}");
    ok(&host, &["delete", "svc", "-y", "--drop-items"]);
}

#[test]
fn items_are_watched_and_committed_or_only_looked_at() {
    let host = TestHost::start();
    deploy(&host, "svc", "echo", json!({}));
    for tag in ["a=1", "a=2", "a=1"] {
        ok(&host, &["queue", "put", "svc", "-d", "x", "--tag", tag]);
    }
    host.wait_for("the results", || json_of(&host, &["queue", "stats", "svc"])["sink"]["length"] == 3);
    assert_eq!(ok(&host, &["queue", "watch", "svc", "--no-commit", "-n", "3"]), "x\nx\nx\n");
    let stats = json_of(&host, &["queue", "stats", "svc"]);
    assert_eq!((&stats["sink"]["length"], &stats["sink"]["delayed"]), (&json!(3), &json!(0)), "{stats}");
    assert_eq!(ok(&host, &["queue", "watch", "svc", "--tag", "a=1", "-n", "2"]), "x\nx\n");
    assert_eq!(json_of(&host, &["queue", "stats", "svc"])["sink"]["length"], 1);
    assert_eq!(json_of(&host, &["queue", "get", "svc"])["tags"]["a"], "2");
    assert_eq!(bulkhead(&host, &["queue", "get", "svc"]).status.code(), Some(5));
}

#[test]
fn a_watch_goes_on_until_the_queue_has_ended() {
    let host = TestHost::start();
    deploy(&host, "svc", "echo", json!({}));
    let mut watch = command(&host, &["queue", "watch", "svc"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    for text in ["one", "two"] {
        ok(&host, &["queue", "put", "svc", "-d", text]);
        assert_eq!(lines.next().expect("a line").unwrap(), text);
    }
    let described = json_of(&host, &["desc", "svc"]);
    let token = described["token"].as_str().expect("a token");
    let ended = host.client().send("POST", "/api/predict/svc/sink?_eos_=true", &[("authorization", token)], b"");
    assert_eq!(ended.status, 200, "{}", ended.text());
    host.wait_for("the command to end", || watch.try_wait().expect("it can be waited for").is_some());
    assert!(watch.wait().expect("it has ended").success() && lines.next().is_none());
}

#[test]
fn an_operator_inspects_requeues_purges_and_cancels() {
    let host = TestHost::start();
    deploy(&host, "svc", "faults", json!({"max_delivery": 1, "timeout_ms": 1000}));
    for _ in 0..2 {
        ok(&host, &["queue", "put", "svc", "-d", LOOP]);
    }
    host.wait_for("dead letters", || json_of(&host, &["queue", "stats", "svc"])["dead"] == 2);
    let list = ok(&host, &["queue", "dead", "svc"]);
    assert!(list.lines().count() == 3 && list.contains("408"), "{list}");
    assert_eq!(ok(&host, &["queue", "dead", "svc", "2"]), LOOP);
    assert_eq!(bulkhead(&host, &["queue", "dead", "svc", "9"]).status.code(), Some(5));
    ok(&host, &["stop", "svc"]);
    assert_eq!(ok(&host, &["queue", "requeue", "svc", "1"]), "1 dead letter is ready again\n");
    assert_eq!(json_of(&host, &["queue", "purge", "svc", "--all", "-y"]), json!({"purged": 1}));
    let put = json_of(&host, &["queue", "put", "svc", "-d", LOOP]);
    let id = put["request_id"].as_str().expect("an id");
    assert_eq!(json_of(&host, &["queue", "cancel", "svc", id]), json!({"cancelled": "waiting", "index": 3}));
    assert_eq!(bulkhead(&host, &["queue", "cancel", "svc", id]).status.code(), Some(5));
    let log = ok(&host, &["audit", "svc"]);
    for action in ["queue_requeue", "queue_purge", "queue_cancel"] {
        assert!(log.contains(action), "{log}");
    }
    ok(&host, &["delete", "svc", "-y", "--drop-items"]);
}
