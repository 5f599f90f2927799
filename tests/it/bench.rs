//! `bulkhead bench` against a real host: its counts agree with the host's counts, and it can be interrupted.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::host::{TestHost, binary};

fn command(host: &TestHost, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("bench")
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
    let mut running =
        command(&host, &["echo", "-d", "x", "--rate", "200", "--duration", "1h", "--warm-up", "0s", "--json"])
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
