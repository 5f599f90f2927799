//! Versions of a service: the kept versions, the return to one of them, and the grace period of a replaced one.

mod canary;
mod run;

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response, request};

/// Returns the keys of a service whose guests report their version.
fn keys(mark: u64) -> Value {
    json!({
        "token": "t", "processor_envs": marked(mark),
        "metadata": {"rpc": {"worker_threads": 2, "keepalive": 20_000}},
    })
}

fn marked(mark: u64) -> Value {
    json!([{"name": "VERSION", "value": mark.to_string()}])
}

fn svc() -> Deployed {
    Deployed { path: "/api/predict/svc".into(), token: "t".into() }
}

fn modify(host: &TestHost, body: Value) -> Response {
    host.call_admin("PUT", "/api/v1/services/svc", body.to_string().as_bytes())
}

/// Makes a modify that must succeed, and returns the version that is current afterwards.
fn modify_to(host: &TestHost, mark: u64) -> u64 {
    let answer = modify(host, json!({"spec": {"processor_envs": marked(mark)}}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["version"].as_u64().expect("a number")
}

fn post(host: &TestHost, what: &str, body: Value) -> Response {
    host.call_admin("POST", &format!("/api/v1/services/svc/{what}"), body.to_string().as_bytes())
}

fn go_back(host: &TestHost, version: u64) -> Response {
    post(host, "version", json!({"version": version}))
}

fn described(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc", b"").json()
}

fn versions(host: &TestHost) -> Value {
    host.call_admin("GET", "/api/v1/services/svc/versions", b"").json()
}

fn numbers(versions: &Value) -> Vec<u64> {
    versions["versions"].as_array().expect("a list").iter().filter_map(|row| row["version"].as_u64()).collect()
}

/// Returns the mark of the guest that answers.
fn mark_on(client: &mut Client) -> u64 {
    let response = client.post(&svc(), br#"{"do":"inspect"}"#);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["env"]["VERSION"].as_str().expect("a mark").parse().expect("a number")
}

fn assert_refused(answer: &Response, status: u16, code: &str, says: &[&str]) {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    for text in says {
        assert!(detail.contains(text), "no {text:?} in {detail:?}");
    }
}

#[test]
fn a_version_comes_back_under_its_own_number_and_the_next_one_counts_on() {
    let host = TestHost::start();
    host.deploy("svc", "faults", keys(1));
    assert_eq!(modify_to(&host, 2), 2);
    let answer = go_back(&host, 1);
    assert_eq!((answer.status, &answer.json()["version"]), (200, &json!(1)), "{}", answer.text());
    assert_eq!(mark_on(&mut host.client()), 1);
    let listed = versions(&host);
    assert_eq!((&listed["current_version"], &listed["latest_version"]), (&json!(1), &json!(2)));
    assert_eq!(numbers(&listed), [2, 1], "the newest first");
    let current: Vec<&Value> = listed["versions"].as_array().unwrap().iter().map(|row| &row["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true)]);
    assert_eq!(listed["versions"][1]["note"], "created");
    assert_eq!(listed["versions"][0]["note"], "changed processor_envs");

    let host = host.kill_and_restart();
    assert_eq!((versions(&host), mark_on(&mut host.client())), (listed, 1), "a restart changes nothing");
    let change = json!({"spec": {"metadata": {"rpc": {"keepalive": 10_000}}}});
    assert_eq!(modify(&host, change).json()["version"], 3);
    assert_eq!(mark_on(&mut host.client()), 1, "it goes on from the version that was current");
    assert_eq!(go_back(&host, 2).status, 200, "forward again");
    assert_eq!((mark_on(&mut host.client()), numbers(&versions(&host))), (2, vec![3, 2, 1]));
    assert_eq!(described(&host)["latest_version"], 3);
}

#[test]
fn what_cannot_be_gone_back_to_is_told_and_changes_nothing() {
    let host = TestHost::start();
    host.deploy("svc", "faults", keys(1));
    let other = host.upload("echo");
    let body = json!({"processor": other, "spec": {"processor_envs": marked(2)}});
    assert_eq!(modify(&host, body).json()["version"], 2);
    modify_to(&host, 3);
    let back = modify(&host, json!({"processor": host.upload("faults"), "spec": {"processor_envs": marked(4)}}));
    assert_eq!(back.json()["version"], 4);
    let before = (described(&host), versions(&host));

    for unknown in [0, 5, u64::MAX] {
        let says = ["there is no version", "kept are versions 1, 2, 3 and 4"];
        assert_refused(&go_back(&host, unknown), 404, "version_not_found", &says);
    }
    std::fs::remove_file(host.dir().join("data/artifacts").join(&other)).unwrap();
    let says = ["version 2 cannot be brought up", "its processor", &other, "kept are versions 1, 2, 3 and 4"];
    assert_refused(&go_back(&host, 2), 409, "version_incomplete", &says);
    for wrong in [json!({}), json!({"version": "one"}), json!({"version": -1}), json!({"version": 1, "x": 1})] {
        assert_refused(&post(&host, "version", wrong), 400, "bad_request", &[]);
    }
    let nobody = host.call_admin("POST", "/api/v1/services/nobody/version", br#"{"version":1}"#);
    assert_refused(&nobody, 404, "service_not_found", &[]);
    assert_refused(&host.call_admin("GET", "/api/v1/services/nobody/versions", b""), 404, "service_not_found", &[]);
    assert_eq!((described(&host), versions(&host)), before, "nothing has changed");
    assert_eq!(mark_on(&mut host.client()), 4);
}

#[test]
fn the_last_ten_are_kept_with_their_files_and_a_deleted_service_leaves_none() {
    let host = TestHost::start();
    host.deploy("svc", "faults", keys(1));
    for mark in 2..=12 {
        modify_to(&host, mark);
    }
    assert_eq!(numbers(&versions(&host)), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_refused(&go_back(&host, 2), 404, "version_not_found", &["not kept any more", "3, 4, 5"]);
    assert_eq!(go_back(&host, 3).status, 200);
    assert_eq!(mark_on(&mut host.client()), 3);
    // Version 3 is the oldest and is current, so it stays while others are deleted.
    modify_to(&host, 13);
    assert_eq!(go_back(&host, 4).status, 200);
    assert_eq!(modify_to(&host, 14), 14);
    assert_eq!(numbers(&versions(&host)), [14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);

    assert_eq!(host.call_admin("DELETE", "/api/v1/services/svc", b"").status, 200);
    host.deploy("svc", "faults", keys(20));
    assert_eq!(numbers(&versions(&host)), [1], "a new service of the same name begins anew");
}

#[test]
fn going_back_brings_neither_a_stopped_service_up_nor_an_old_token_back() {
    let host = TestHost::start();
    host.deploy("svc", "faults", keys(1));
    let body = json!({"spec": {"token": "new", "processor_envs": marked(2)}});
    assert_eq!(modify(&host, body).status, 200);
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    assert_eq!(go_back(&host, 1).status, 200);
    let now = described(&host);
    assert_eq!((&now["state"], &now["version"], &now["token"]), (&json!("stopped"), &json!(1), &json!("new")));
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    host.client().post(&svc(), b"{}").assert_problem(401, "unauthorized");
    let service = Deployed { token: "new".into(), ..svc() };
    assert_eq!(host.client().post(&service, br#"{"do":"inspect"}"#).json()["env"]["VERSION"], "1");
}

/// Sends a request that outlasts the grace period of its version, and another that waits behind it.
fn with_two_at_work(host: &TestHost, service: &Deployed, change: impl FnOnce()) -> Vec<Response> {
    let send = || {
        let mut client = host.client();
        let headers = [("authorization", service.token.as_str())];
        client.write(&request("POST", &service.path, &headers, br#"{"do":"sleep","ms":15000}"#));
        client
    };
    let mut runs = send();
    host.wait_for("one to run", || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"0\"}") == 1);
    let mut waits = send();
    host.wait_for("one to wait", || host.metric("bulkhead_queue_depth{service=\"svc\",instance=\"0\"}") == 1);
    change();
    vec![runs.read("POST"), waits.read("POST")]
}

#[test]
fn an_old_version_is_stopped_when_its_grace_is_over_however_it_was_replaced() {
    let host = TestHost::start();
    let mut keys = keys(1);
    keys["metadata"] = json!({
        "rpc": {"worker_threads": 1, "keepalive": 20_000}, "eas": {"termination_grace_period": 0},
    });
    let service = host.deploy("svc", "faults", keys);
    let assert_stopped = |answers: Vec<Response>| {
        for answer in answers {
            let problem = answer.assert_problem(503, "draining");
            assert!(problem["detail"].as_str().unwrap().contains("termination_grace_period"), "{problem}");
        }
    };
    assert_stopped(with_two_at_work(&host, &service, || assert_eq!(modify_to(&host, 2), 2)));
    assert_stopped(with_two_at_work(&host, &service, || assert_eq!(go_back(&host, 1).status, 200)));
    assert_stopped(with_two_at_work(&host, &service, || {
        assert_eq!(host.call_admin("POST", "/api/v1/services/svc/stop", b"").status, 200);
    }));
    assert_eq!(host.call_admin("POST", "/api/v1/services/svc/start", b"").status, 200);
    let canary = || modify(&host, json!({"spec": {"processor_envs": marked(3)}, "canary": 100}));
    assert_eq!(canary().status, 200);
    assert_stopped({
        // The canary's instance is the second in the list, and gets all requests.
        let mut client = host.client();
        client.write(&request("POST", &service.path, &[("authorization", "t")], br#"{"do":"sleep","ms":15000}"#));
        host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"1\"}") == 1);
        assert_eq!(post(&host, "release", json!({"abort": true})).status, 200);
        vec![client.read("POST")]
    });
    assert_eq!(mark_on(&mut host.client()), 1);
    assert_eq!(host.metric("bulkhead_refusals_total{service=\"svc\",code=\"draining\"}"), 7);
}

#[test]
fn within_its_grace_an_old_version_ends_what_it_has_begun() {
    let host = TestHost::start();
    let mut keys = keys(1);
    keys["metadata"] = json!({
        "rpc": {"worker_threads": 1, "keepalive": 20_000}, "eas": {"termination_grace_period": 10},
    });
    let service = host.deploy("svc", "faults", keys);
    let mut client = host.client();
    client.write(&request("POST", &service.path, &[("authorization", "t")], br#"{"do":"sleep","ms":700}"#));
    host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"svc\",instance=\"0\"}") == 1);
    modify_to(&host, 2);
    assert_eq!(mark_on(&mut host.client()), 2);
    assert_eq!(client.read("POST").json(), json!({"slept_ms": 700}));
}
