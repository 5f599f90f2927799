//! `bulkhead bench` against a real host: its counts agree with the host's counts, it can be interrupted, and it gets the
//! results of an asynchronous service.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::host::{TestHost, binary};

fn command(host: &TestHost, args: &[&str]) -> Command {
    bulkhead(host, &[&["bench"], args].concat())
}

fn bulkhead(host: &TestHost, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(args)
        .env("BULKHEAD_ADMIN", format!("http://{}", host.admin))
        .env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    command
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn count(report: &Value, status: u16, code: &str) -> u64 {
    let found = |row: &&Value| row["status"] == status && row["code"] == code;
    report["statuses"].as_array().unwrap().iter().find(found).map_or(0, |row| row["count"].as_u64().unwrap())
}

#[test]
fn what_it_counts_is_what_the_host_counts() {
    let host = TestHost::start_with(&["--max-requests-per-connection", "50"], "");
    host.deploy("echo", "echo", json!({"metadata": {"rpc": {"worker_threads": 1, "rate_limit": 150}}}));
    let ended = |status: u16| host.metric(&format!("bulkhead_requests_total{{service=\"echo\",status=\"{status}\"}}"));
    // Twice the service's capacity, on connections that the host closes after fifty requests each.
    let args = ["echo", "-d", "hello", "--rate", "300", "--duration", "2s", "--warm-up", "0s", "--json"];
    let output = command(&host, &args).output().unwrap();
    let report = report(&output);
    assert!(output.status.success(), "{report}");
    assert_eq!(report["requests"].as_u64().unwrap() + report["unsent"].as_u64().unwrap(), 600, "{report}");
    assert_eq!(report["faults"], json!({}), "{report}");
    let (served, limited) = (count(&report, 200, ""), count(&report, 429, "rate_limited"));
    assert_eq!(report["requests"], served + limited);
    assert!(served > 0 && limited > 0, "{report}");
    assert_eq!((ended(200), ended(429)), (served, limited));
}

#[test]
fn an_interrupt_ends_it_with_the_report_so_far() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    // One request at a time, so that the interrupt drops at most one that the host has counted.
    let mut running = command(&host, &["echo", "-d", "x", "-c", "1", "--duration", "1h", "--warm-up", "0s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let served = || host.metric("bulkhead_requests_total{service=\"echo\",status=\"200\"}");
    host.wait_for("some answers", || served() >= 20);
    let pid = rustix::process::Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = running.wait().unwrap();
    let mut out = String::new();
    running.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(report["stopped"], true);
    assert!(report["succeeded"].as_u64().unwrap() >= 19 && report["seconds"].as_f64().unwrap() < 60.0, "{report}");
}

fn deploy_async(host: &TestHost, guest: &str) {
    host.deploy("later", guest, json!({"metadata": {"type": "Async", "rpc": {"worker_threads": 1}}}));
}

/// The output of another command.
fn ok(host: &TestHost, args: &[&str]) -> String {
    let output = bulkhead(host, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn stats(host: &TestHost) -> Value {
    serde_json::from_str(&ok(host, &["queue", "stats", "later", "--json"])).unwrap()
}

#[test]
fn each_put_of_a_run_has_its_result_and_others_are_not_touched() {
    let host = TestHost::start();
    deploy_async(&host, "echo");
    ok(&host, &["queue", "put", "later", "-d", "of another caller"]);
    let args = ["later", "-d", "hello", "-n", "60", "-c", "4", "--warm-up", "300ms", "--fail-above", "0", "--json"];
    let output = command(&host, &args).output().unwrap();
    let report = report(&output);
    assert!(output.status.success(), "{report}");
    let results = &report["results"];
    assert_eq!((&report["succeeded"], &results["count"], &results["succeeded"]), (&json!(60), &json!(60), &json!(60)));
    assert_eq!((&results["missing"], &results["unmatched"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(results["statuses"], json!([{"status": 200, "code": "", "count": 60}]));
    assert!(results["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    assert!(
        results["latency_ms"]["max"].as_f64().unwrap() <= results["seconds"].as_f64().unwrap() * 1010.0,
        "{report}"
    );
    // The results of the warm-up are gone too.
    let stats = stats(&host);
    assert!(stats["input"]["last"].as_u64().unwrap() > 61, "there was a warm-up: {stats}");
    assert_eq!((&stats["length"], &stats["sink"]["length"]), (&json!(0), &json!(1)), "{stats}");
    assert_eq!(ok(&host, &["queue", "get", "later"]), "of another caller");
}

#[test]
fn results_that_are_failures_have_their_status() {
    let host = TestHost::start();
    deploy_async(&host, "faults");
    let body = r#"{"do":"status","status":422,"message":"no"}"#;
    let output = command(&host, &["later", "-d", body, "-n", "5", "--warm-up", "0s", "--json"]).output().unwrap();
    let report = report(&output);
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert_eq!(report["succeeded"], 5);
    assert_eq!(report["results"]["statuses"][0]["status"], 422, "{report}");
    assert_eq!((&report["results"]["count"], &report["results"]["succeeded"]), (&json!(5), &json!(0)));
    assert_eq!(report["results"]["failed_latency_ms"]["max"].as_f64().map(|max| max > 0.0), Some(true), "{report}");
    assert_eq!(stats(&host)["sink"]["length"], 0);
}

#[test]
fn results_that_do_not_come_are_said_and_fail_the_run_only_if_asked() {
    let host = TestHost::start();
    deploy_async(&host, "echo");
    ok(&host, &["stop", "later"]);
    let run = |more: &[&str]| {
        let args = ["later", "-d", "x", "-n", "5", "--warm-up", "0s", "--result-timeout", "100ms"];
        command(&host, &[&args, more].concat()).output().unwrap()
    };
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("5 results did not come within 100ms of the last one"), "{said}");
    let output = run(&["--fail-above", "50%", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let report = report(&output);
    assert_eq!((&report["results"]["missing"], &report["failed_share"]), (&json!(5), &json!(1.0)), "{report}");
    assert_eq!(stats(&host)["length"], 10);
    ok(&host, &["delete", "later", "-y", "--drop-items"]);
}
