//! The control API: deploys, changes and refusals.

use serde_json::json;

use crate::host::TestHost;
use crate::http::Client;

#[test]
fn everything_below_api_needs_the_token_and_the_rest_does_not() {
    let host = TestHost::start();
    for (method, path) in [("GET", "/api/v1/services"), ("POST", "/api/v1/services"), ("DELETE", "/api/v1/services/x")]
    {
        for headers in
            [vec![], vec![("authorization", "Bearer wrong")], vec![("authorization", host.admin_token.as_str())]]
        {
            let response = Client::connect(host.admin).send(method, path, &headers, b"");
            assert_eq!(
                (response.status, response.json()["code"].as_str()),
                (401, Some("unauthorized")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(host.get_admin("/healthz").text(), "ok\n");
    assert_eq!(host.get_admin("/readyz").text(), "ready\n");
    assert!(host.get_admin("/metrics").text().contains("bulkhead_connections"));
    assert_eq!(host.get_admin("/nothing").status, 404);
}

#[test]
fn every_mistake_of_a_service_file_is_told_at_once() {
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"keepalive": "soon"}}, "sandbox": {"feul": 5}});
    let response = host.try_deploy("Bad Name", "echo", keys);
    assert_eq!(response.status, 400);
    let problem = response.json();
    assert_eq!(problem["code"], "invalid_service_file");
    let paths: Vec<&str> = problem["errors"].as_array().unwrap().iter().filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(paths, ["metadata.rpc.keepalive", "name", "sandbox.feul"], "{problem}");
    assert!(problem["errors"][2]["message"].as_str().unwrap().contains("sandbox.fuel"), "{problem}");
}

#[test]
fn what_is_no_processor_is_refused_with_its_reason() {
    let host = TestHost::start();
    let refuse = |bytes: &[u8], reason: &str| {
        let body = json!({"spec": {"name": "x", "processor_path": "x.wasm"}, "processor": host.upload_bytes(bytes)});
        let response = host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes());
        let problem = response.json();
        assert_eq!((response.status, problem["code"].as_str()), (400, Some("processor_refused")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    };
    refuse(b"#!/bin/sh\n", "not WebAssembly");
    refuse(b"\x7fELF....", "machine code");
    refuse(b"\0asm\x01\0\0\0", "core WebAssembly module");
    refuse(b"\0asm\x0d\0\x01\0garbage", "not a usable component");
    // An empty component lacks the exports of the contract.
    refuse(b"\0asm\x0d\0\x01\0", "it is a component, but not a processor: no export `initialize` found");
    let echo = std::fs::read(bulkhead_artifacts::guest("echo")).unwrap();
    refuse(&echo[..echo.len() / 2], "not a usable component");
    assert_eq!(host.call_admin("GET", "/api/v1/services", b"").json()["services"], json!([]));
}

/// The parser's own message says only which member is missing.
#[test]
fn what_is_expected_of_a_missing_member_is_said() {
    let host = TestHost::start();
    host.deploy("svc", "echo", json!({}));
    for (path, body, expected) in [
        ("/api/v1/services", json!({"spec": {"name": "x", "processor_path": "x.wasm"}}), "SHA-256"),
        ("/api/v1/services/svc/token", json!({}), "\"rotate\" or \"retire\""),
    ] {
        let problem = host.call_admin("POST", path, body.to_string().as_bytes()).json();
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains(expected)), "{problem}");
    }
}

#[test]
fn an_upload_must_be_what_its_name_says() {
    let host = TestHost::start();
    let name = "ab".repeat(32);
    let response = host.call_admin("PUT", &format!("/api/v1/artifacts/{name}"), b"something else");
    assert_eq!((response.status, response.json()["code"].as_str()), (400, Some("artifact_mismatch")));
    assert_eq!(host.call_admin("GET", &format!("/api/v1/artifacts/{name}"), b"").status, 404);
    assert_eq!(host.call_admin("PUT", "/api/v1/artifacts/..%2f..%2fetc", b"x").status, 400);
    let body = json!({"spec": {"name": "x", "processor_path": "x"}, "processor": name});
    let response = host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes());
    assert_eq!((response.status, response.json()["code"].as_str()), (409, Some("artifact_missing")));
}

#[test]
fn a_failing_initialize_refuses_the_deploy_and_says_why() {
    let host = TestHost::start();
    for (how, reason) in
        [("fail", "initialize failed"), ("panic", "panicked"), ("loop", "did not return within 200 ms")]
    {
        let keys = json!({"model_config": {"initialize": how}, "sandbox": {"initialize_timeout_ms": 200}});
        let response = host.try_deploy("faults", "faults", keys);
        let problem = response.json();
        assert_eq!((response.status, problem["code"].as_str()), (400, Some("processor_refused")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{how}: {problem}");
        // The stack frames stay in `stack`; there is no `hint`.
        let frames = problem["stack"].as_array().map_or(0, Vec::len);
        assert_eq!((frames > 0, problem.get("hint")), (how == "panic", None), "{how}: {problem}");
    }
}

#[test]
fn a_modify_makes_a_new_version_and_a_failed_one_leaves_the_old() {
    let host = TestHost::start();
    let service = host.deploy("svc", "echo", json!({"token": "t"}));
    let mut client = host.client();
    assert_eq!(client.post(&service, b"hello").text(), "hello");
    let modify = |body: serde_json::Value| host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes());

    let broken = modify(json!({"spec": {"model_config": {"initialize": "fail"}}, "processor": host.upload("faults")}));
    assert_eq!((broken.status, broken.json()["code"].as_str()), (400, Some("processor_refused")));
    let wrong = modify(json!({"spec": {"metadata": {"instance": 0}}}));
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (400, Some("invalid_service_file")));
    assert_eq!(client.post(&service, b"still").text(), "still", "the old version is untouched");

    let changed = modify(json!({"spec": {"sandbox": {"max_request_bytes": 3}}, "processor": host.upload("faults")}));
    assert_eq!((changed.status, &changed.json()["version"]), (200, &json!(2)), "{}", changed.text());
    client.post(&service, b"1234").assert_problem(413, "body_too_large");
    let described = host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!(
        (&described["version"], &described["state"], &described["token"]),
        (&json!(2), &json!("running"), &json!("t"))
    );
    assert_eq!(modify(json!({"spec": {"name": "other"}})).status, 400);
    assert_eq!(host.call_admin("PUT", "/api/v1/services/nobody", b"{}").status, 404);
}

#[test]
fn a_running_request_is_finished_by_the_version_that_began_it() {
    let host = TestHost::start();
    let service = host.deploy("faults", "faults", json!({}));
    let mut client = host.client();
    let body = br#"{"do":"sleep","ms":700}"#;
    client.write(&crate::http::request("POST", &service.path, &[("authorization", &service.token)], body));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") == 1);
    let body = json!({"processor": host.upload("echo")}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/faults", body.as_bytes()).status, 200);
    assert_eq!(host.client().post(&service, b"new").text(), "new");
    assert_eq!(client.read("POST").json(), json!({"slept_ms": 700}));
}

#[test]
fn services_are_listed_stopped_started_and_deleted() {
    let host = TestHost::start();
    host.deploy("b", "echo", json!({}));
    host.deploy("a", "echo", json!({"metadata": {"cpu": 4}}));
    assert_eq!(host.try_deploy("a", "echo", json!({})).json()["code"], "service_exists");
    let listed = host.call_admin("GET", "/api/v1/services", b"").json();
    let names: Vec<&str> = listed["services"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(host.call_admin("GET", "/api/v1/services/a", b"").json()["ignored"], json!(["metadata.cpu"]));
    assert_eq!(host.call_admin("POST", "/api/v1/services/a/stop", b"").json()["state"], "stopped");
    assert_eq!(host.call_admin("POST", "/api/v1/services/a/start", b"").json()["state"], "running");
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/a", b"").json()["state"], "deleted");
    assert_eq!(host.call_admin("GET", "/api/v1/services/a", b"").status, 404);
    assert_eq!(host.call_admin("PATCH", "/api/v1/services/b", b"").header("allow"), Some("GET, HEAD, PUT, DELETE"));
}

#[test]
fn progress_is_told_step_by_step_to_who_asks() {
    let host = TestHost::start();
    let body = json!({"spec": {"name": "x", "processor_path": "x"}, "processor": host.upload("echo")}).to_string();
    let headers = [("accept", "application/x-ndjson")];
    let response = host.ask_admin("POST", "/api/v1/services", &headers, body.as_bytes());
    let lines: Vec<serde_json::Value> =
        response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&str> = lines.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(steps, ["check", "compile", "initialize", "snapshot", "swap"]);
    assert_eq!(lines.last().unwrap()["result"]["version"], 1);
}

#[test]
fn a_list_comes_a_page_at_a_time_and_can_be_narrowed() {
    let host = TestHost::start();
    for name in ["a-1", "a-2", "a-3", "b-1"] {
        host.deploy(name, "echo", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    }
    let names = |query: &str| {
        let answer = host.call_admin("GET", &format!("/api/v1/services{query}"), b"");
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let page = answer.json();
        let rows = page["services"].as_array().unwrap().clone();
        let names: Vec<String> = rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(names(""), ("a-1 a-2 a-3 b-1".into(), None));
    assert_eq!(names("?limit=3"), ("a-1 a-2 a-3".into(), Some("a-3".into())));
    // The last service of a page may be deleted before the next page is requested.
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/a-3", b"").status, 200);
    assert_eq!(names("?limit=3&cursor=a-3"), ("b-1".into(), None));
    assert_eq!(names("?prefix=a-&limit=2"), ("a-1 a-2".into(), None));
    host.call_admin("POST", "/api/v1/services/a-2/stop", b"");
    assert_eq!(names("?state=stopped"), ("a-2".into(), None));
    for (query, accepted) in [
        ("limit=0", "a whole number from 1 to 1000"),
        ("limit=many", "a whole number from 1 to 1000"),
        ("cursor=../x", "the `next` of the previous page"),
        ("state=asleep", "starting, running, stopped, failed"),
        ("limt=1", "limit, cursor, prefix, state"),
    ] {
        let answer = host.call_admin("GET", &format!("/api/v1/services?{query}"), b"");
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (400, Some("bad_request")), "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(accepted), "{problem}");
    }
}

#[test]
fn the_control_api_describes_itself_to_anybody() {
    let host = TestHost::start();
    let answer = host.get_admin("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.text(), include_str!("../../openapi.json"));
}
