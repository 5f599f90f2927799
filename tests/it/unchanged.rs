//! Changes without effect: ten versions are kept, and none is made if a change has no effect.

use serde_json::{Value, json};

use crate::host::TestHost;

fn modify(host: &TestHost, body: Value) -> Value {
    let answer = host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn versions(host: &TestHost) -> usize {
    host.call_admin("GET", "/api/v1/services/svc/versions", b"").json()["versions"].as_array().unwrap().len()
}

#[test]
fn a_modify_that_changes_nothing_makes_no_version_and_says_so() {
    let host = TestHost::start();
    let service = host.deploy("svc", "faults", json!({"token": "t", "metadata": {"rpc": {"worker_threads": 2}}}));
    let mut client = host.client();
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).json(), json!({"calls": 1}));
    let tag = |host: &TestHost| host.call_admin("GET", "/api/v1/services/svc", b"").header("etag").map(str::to_owned);
    let before = tag(&host);
    for same in [
        json!({}),
        json!({"spec": {}}),
        json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}}),
        json!({"spec": {"metadata.rpc.worker_threads": "2"}}),
        json!({"spec": {"metadata": {"instance": 1}}}),
        json!({"spec": {"token": "t"}}),
        json!({"processor": host.upload("faults")}),
        json!({"model": [], "warm_up": null}),
        json!({"spec": {"metadata": {"rpc": {"worker_threads": 2}}}, "canary": 10}),
    ] {
        let answer = modify(&host, same.clone());
        assert_eq!((&answer["version"], &answer["unchanged"]), (&json!(1), &json!(true)), "{same}");
        assert_eq!(answer["canary"], Value::Null, "{same}");
    }
    assert_eq!((tag(&host), versions(&host)), (before.clone(), 1));
    assert_eq!(client.post(&service, br#"{"do":"flag"}"#).json()["calls"], 2, "its guests go on");

    // The attempt is recorded in the audit log, and a stale tag is refused as usual.
    let last = host.call_admin("GET", "/api/v1/audit?limit=1", b"").json()["entries"][0].clone();
    assert_eq!(
        (&last["action"], &last["outcome"], &last["changed"]),
        (&json!("modify"), &json!("unchanged"), &json!([]))
    );
    let stale = host.ask_admin("PUT", "/api/v1/services/svc", &[("if-match", "\"999\"")], b"{}");
    assert_eq!(stale.status, 412);
    let fresh = host.ask_admin("PUT", "/api/v1/services/svc", &[("if-match", before.as_deref().unwrap())], b"{}");
    assert_eq!(fresh.status, 200);

    let changed = modify(&host, json!({"spec": {"metadata": {"rpc": {"worker_threads": 3}}}}));
    assert_eq!((&changed["version"], &changed["unchanged"]), (&json!(2), &json!(false)));
}

#[test]
fn a_change_of_the_token_alone_makes_no_version_and_counts_at_once() {
    let host = TestHost::start();
    let service = host.deploy("svc", "faults", json!({"token": "first"}));
    let mut client = host.client();
    let mut calls = |token: &str| {
        let headers = [("authorization", token)];
        client.send("POST", &service.path, &headers, br#"{"do":"flag"}"#)
    };
    assert_eq!(calls("first").status, 200);
    let answer = modify(&host, json!({"spec": {"token": "second"}}));
    assert_eq!(
        (&answer["version"], &answer["unchanged"], &answer["token"]),
        (&json!(1), &json!(false), &json!("second"))
    );
    assert_eq!((calls("first").status, versions(&host)), (401, 1));
    assert_eq!(calls("second").json()["calls"], 2, "its guests go on");
    // A processor with the same contents, from another path on the operator's disk, makes no version.
    let moved =
        modify(&host, json!({"spec": {"processor_path": "elsewhere.wasm"}, "processor": host.upload("faults")}));
    assert_eq!((&moved["version"], versions(&host)), (&json!(1), 1));
    let described = |host: &TestHost| host.call_admin("GET", "/api/v1/services/svc", b"").json();
    assert_eq!(described(&host)["spec"]["processor_path"], "elsewhere.wasm");
    // The version defines whether callers need a token, so this change makes a version.
    let public = modify(&host, json!({"spec": {"token": null, "generate_token": false}}));
    assert_eq!((&public["version"], versions(&host)), (&json!(2), 2));

    let host = host.kill_and_restart();
    assert_eq!(described(&host)["version"], 2);
}

#[test]
fn whatever_else_is_so_already_is_left_alone() {
    let host = TestHost::start();
    host.deploy("svc", "echo", json!({}));
    let post = |path: &str, body: &[u8]| host.call_admin("POST", &format!("/api/v1/services/svc/{path}"), body);
    let revision = || host.call_admin("GET", "/api/v1/services/svc", b"").json()["revision"].clone();
    let before = revision();
    let same = post("version", br#"{"version": 1}"#);
    assert_eq!((same.status, &same.json()["unchanged"]), (200, &json!(true)));
    assert_eq!(post("start", b"").status, 200);
    assert_eq!(post("token", br#"{"action": "retire"}"#).status, 200);
    assert_eq!(revision(), before);
    let again = host.try_deploy("svc", "echo", json!({}));
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("service_exists")));
    assert!(again.json()["detail"].as_str().unwrap().contains("there is nothing to create"), "{}", again.text());
    let other = host.try_deploy("svc", "echo", json!({"metadata": {"instance": 2}}));
    assert!(!other.json()["detail"].as_str().unwrap().contains("nothing to create"), "{}", other.text());
}
