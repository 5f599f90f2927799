//! The log: its lines, and the settings that reduce them.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};

/// Sends three requests: a good one, one that panics, and one without a token.
fn traffic(host: &TestHost) -> Deployed {
    let service = host.deploy("svc", "faults", json!({}));
    let mut client = host.client();
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).status, 200);
    let headers = [("authorization", service.token.as_str()), ("x-request-id", "r-panic")];
    client.send("POST", &service.path, &headers, br#"{"do":"panic","message":"out of cheese"}"#);
    assert_eq!(client.send("POST", &service.path, &[], b"{}").status, 401);
    service
}

/// Returns the statuses of the requests that have a line in a text log.
fn requests(log: &str) -> Vec<&str> {
    let lines = log.lines().filter(|line| line.contains(" INFO request "));
    lines.filter_map(|line| line.split(" status=").nth(1)?.split(' ').next()).collect()
}

/// Ends the host and returns its log. A thread writes the lines, the last ones at the end of the host.
fn log_of(host: TestHost) -> String {
    let dir = host.end_and_keep();
    std::fs::read_to_string(dir.path().join("log")).expect("a log")
}

#[test]
fn lines_about_requests_can_be_turned_down() {
    for (log, args, expected) in [
        ("info", &[][..], &["200", "400", "401"][..]),
        ("warn", &[], &[]),
        ("info,request=off", &[], &[]),
        ("warn,request=info", &[], &["200", "400", "401"]),
        ("info", &["--access-log", "failures"], &["400", "401"]),
        ("info", &["--access-log", "0%"], &["400", "401"]),
        ("info", &["--access-log", "off"], &[]),
    ] {
        let host = TestHost::start_logging(log, args);
        traffic(&host);
        let text = log_of(host);
        assert_eq!(requests(&text), expected, "BULKHEAD_LOG={log} {args:?}:\n{text}");
        assert_eq!(text.contains("service deployed"), log.starts_with("info"), "{log}");
        // A guest's fault is a warning, independent of the level for request lines.
        let fault = text.lines().find(|line| line.contains(" WARN processor: ")).unwrap_or_else(|| panic!("{text}"));
        for part in ["the processor panicked: out of cheese", " service=svc ", " request_id=r-panic ", " fault=panic "]
        {
            assert!(fault.contains(part), "no {part:?} in {fault}");
        }
        assert!(fault.contains("stack=") && fault.contains("faults"), "{fault}");
    }
}

#[test]
fn fields_are_written_in_one_way() {
    let host = TestHost::start_logging("info", &[]);
    traffic(&host);
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
    let text = log_of(host);
    assert!(text.lines().filter(|line| line.contains("service=svc")).count() >= 5, "{text}");
    assert!(!text.contains("service=\"svc\""), "{text}");
}

#[test]
fn a_change_that_is_made_has_a_line() {
    let host = TestHost::start_logging("info", &[]);
    host.deploy("svc", "echo", json!({}));
    host.deploy("shadow", "echo", json!({}));
    let mirror = json!({"target": "shadow", "ratio": 5}).to_string();
    for (method, path, body) in [
        ("POST", "restart", ""),
        ("POST", "instances/0/restart", ""),
        ("PUT", "mirror", mirror.as_str()),
        ("DELETE", "mirror", ""),
        ("POST", "start", ""),
        ("POST", "stop", ""),
        ("POST", "start", ""),
    ] {
        let answer = host.call_admin(method, &format!("/api/v1/services/svc/{path}"), body.as_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let text = log_of(host);
    // Lines begin with their time. Those of several threads may have changed places in the log.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let changes = lines.iter().filter_map(|line| line.split(" INFO bulkhead::registry::").nth(1)?.split_once(": "));
    let changes: Vec<&str> = changes.map(|(_, said)| said).filter(|said| said.contains("service=svc")).collect();
    assert_eq!(
        changes,
        [
            "service restarted service=svc",
            "instance restarted service=svc instance=0",
            "mirror set service=svc target=shadow ratio=5",
            "mirror removed service=svc",
            // The first start found the service running and changed nothing.
            "service stopped service=svc",
            "service started service=svc",
        ]
    );
}

#[test]
fn json_lines_have_the_same_facts_and_no_paths_of_the_build() {
    let host = TestHost::start_logging("trace", &["--log-format", "json"]);
    traffic(&host);
    let text = log_of(host);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let fault = lines.iter().find(|line| line["fault"] == "panic").expect("a warning");
    assert_eq!((&fault["level"], &fault["target"]), (&json!("WARN"), &json!("processor")));
    assert_eq!((&fault["service"], &fault["request_id"]), (&json!("svc"), &json!("r-panic")));
    let number = |field: &str| lines.iter().find_map(|line| line.get(field)).is_some_and(Value::is_u64);
    assert!(number("took_ms") && number("grace_ms"), "a time is a number with its unit in its name: {text}");
    for wrong in ["ignoring section", "log.file", "/registry/src/"] {
        assert!(!text.contains(wrong), "{wrong}");
    }
}

#[test]
fn a_level_that_is_none_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::host::binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .env("BULKHEAD_LOG", "info,request=quiet")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("\"quiet\" is not a level") && said.contains("TARGET=LEVEL"), "{said}");
}

/// A panic of the host counts as a refusal in both logs, so that operators can find the outcome of the change.
#[test]
fn a_change_that_panics_is_in_the_log_and_in_the_audit_log() {
    let host = TestHost::start_with(&[], "restart.ready=panic;deploy.initialized=panic@3");
    host.deploy("svc", "faults", json!({}));
    host.call_admin("POST", "/api/v1/services/svc/restart", b"").assert_problem(500, "internal");
    let steps = [("accept", "application/x-ndjson")];
    let body = json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}}).to_string();
    let told = host.ask_admin("PUT", "/api/v1/services/svc", &steps, body.as_bytes()).text();
    assert!(told.contains("\"failed\"") && told.contains("\"internal\""), "{told}");

    let entries = host.call_admin("GET", "/api/v1/audit?limit=2", b"").json()["entries"].clone();
    let told: Vec<_> = entries.as_array().unwrap().iter().map(|entry| (&entry["action"], &entry["outcome"])).collect();
    assert_eq!(told, [(&json!("modify"), &json!("internal")), (&json!("restart"), &json!("internal"))], "{entries}");
    host.wait_for("both to be in the log", || {
        let log = host.log();
        let refused = |line: &&str| line.contains("a change was refused") && line.contains("code=internal");
        log.lines().filter(refused).count() == 2
    });
}

/// The refusal of an unknown name suggests the nearest one, and the audit log has the same text.
#[test]
fn a_refusal_is_put_down_as_its_client_reads_it_with_steps_and_without() {
    let host = TestHost::start();
    host.deploy("scorer", "echo", json!({}));
    let steps = [("accept", "application/x-ndjson")];
    host.ask_admin("PUT", "/api/v1/services/scorr", &steps, b"{\"spec\": {}}");
    host.ask_admin("PUT", "/api/v1/services/scorr", &[], b"{\"spec\": {}}").assert_problem(404, "service_not_found");
    let entries = host.call_admin("GET", "/api/v1/audit?limit=2", b"").json()["entries"].clone();
    let reason = |index: usize| entries[index]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason(0).contains("there is no service \"scorr\""), "{entries}");
    assert_eq!(reason(0), reason(1), "{entries}");
}

/// Operators look for the reason of a failed deploy in the log, and often did not make the deploy themselves.
#[test]
fn a_refused_change_is_in_the_log_and_in_the_audit_log_with_its_reason() {
    let host = TestHost::start_logging("warn", &[]);
    let broken = host.try_deploy("svc", "faults", json!({"model_config": {"initialize": "fail"}}));
    assert_eq!(broken.json()["code"], "processor_refused", "{}", broken.text());
    let reason = broken.json()["detail"].as_str().expect("a reason").to_owned();
    let wrong = host.try_deploy("svc", "faults", json!({"metadata": {"instance": 0}}));
    assert_eq!(wrong.json()["code"], "invalid_service_file", "{}", wrong.text());
    // A client that requests the steps of a deploy gets status 200 before the refusal. That refusal is logged too.
    let body = json!({"spec": {"name": "svc", "processor_path": "x"}, "processor": "ab".repeat(32)}).to_string();
    let steps = [("accept", "application/x-ndjson"), ("x-bulkhead-actor", "alice")];
    assert_eq!(host.ask_admin("POST", "/api/v1/services", &steps, body.as_bytes()).status, 200);

    let entries = host.call_admin("GET", "/api/v1/audit", b"").json()["entries"].clone();
    let told: Vec<_> = entries.as_array().unwrap().iter().map(|entry| (&entry["outcome"], &entry["reason"])).collect();
    let places = json!("the service file has 1 mistake: metadata.instance");
    let missing = json!(format!("artifact {} is not there; upload it first", "ab".repeat(32)));
    assert_eq!(
        told,
        [
            (&json!("artifact_missing"), &missing),
            (&json!("invalid_service_file"), &places),
            (&json!("processor_refused"), &json!(reason)),
        ]
    );
    let text = log_of(host);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("a change was refused")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.iter().all(|line| line.contains(" WARN ") && line.contains("action=create")), "{text}");
    // Lines of two connections may be logged in either order.
    for (code, about) in [("processor_refused", "service=svc"), ("artifact_missing", "actor=alice")] {
        let line = lines.iter().find(|line| line.contains(&format!("code={code}")));
        assert!(line.is_some_and(|line| line.contains(about)), "{text}");
    }
}
