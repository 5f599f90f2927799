//! Several services behind one name.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response};

/// Deploys a member of the group `team` whose guests report their name.
fn deploy(host: &TestHost, name: &str, keys: Value) -> Deployed {
    host.deploy(name, "faults", member(name, keys))
}

fn member(name: &str, keys: Value) -> Value {
    let mut spec = json!({
        "token": "t", "processor_envs": [{"name": "WHO", "value": name}],
        "metadata": {"group": "team", "rpc": {"worker_threads": 1}},
    });
    for (key, value) in keys.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

fn at(name: &str) -> Deployed {
    Deployed { path: format!("/api/predict/{name}"), token: "t".into() }
}

fn who_on(client: &mut Client, name: &str) -> String {
    let response = client.post(&at(name), br#"{"do":"inspect"}"#);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["env"]["WHO"].as_str().expect("a name").to_owned()
}

/// Returns how many of `count` requests for the group each of these members answers.
fn shares<const N: usize>(host: &TestHost, count: usize, names: [&str; N]) -> [usize; N] {
    let mut client = host.client();
    let answered: Vec<String> = (0..count).map(|_| who_on(&mut client, "team")).collect();
    let shares = names.map(|name| answered.iter().filter(|who| *who == name).count());
    assert_eq!(shares.iter().sum::<usize>(), count, "{answered:?}");
    shares
}

fn release(host: &TestHost, name: &str, body: Value) -> Response {
    host.call_admin("POST", &format!("/api/v1/services/{name}/release"), body.to_string().as_bytes())
}

fn must_release(host: &TestHost, name: &str, body: Value) {
    let answer = release(host, name, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn switch(host: &TestHost, name: &str, to: &str) {
    assert_eq!(host.call_admin("POST", &format!("/api/v1/services/{name}/{to}"), b"").status, 200);
}

fn assert_refused(answer: &Response, status: u16, code: &str, says: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
}

#[test]
fn a_group_shares_its_requests_by_weight_and_its_members_keep_their_names() {
    let host = TestHost::start();
    for name in ["a", "b"] {
        deploy(&host, name, json!({}));
    }
    assert_eq!(shares(&host, 10, ["a", "b"]), [5, 5]);
    must_release(&host, "a", json!({"weight": 300}));
    assert_eq!(shares(&host, 40, ["a", "b"]), [30, 10]);
    assert_eq!(who_on(&mut host.client(), "team.b"), "b");
    assert_eq!(who_on(&mut host.client(), "b"), "b");
    let path = Deployed { path: "/api/predict/team.b/deep/path?q=1".into(), token: "t".into() };
    let seen = host.client().post(&path, br#"{"do":"inspect"}"#).json();
    assert_eq!(seen["path"], "/deep/path", "{seen}");
    assert_eq!(host.metric("bulkhead_requests_total{service=\"a\",status=\"200\"}"), 35);

    let host = host.kill_and_restart();
    assert_eq!(shares(&host, 40, ["a", "b"]), [30, 10], "a restart changes nothing");
    must_release(&host, "a", json!({"weight": 0}));
    assert_eq!(shares(&host, 10, ["a", "b"]), [0, 10]);
    assert_eq!(who_on(&mut host.client(), "team.a"), "a", "it is there all the same");
    let listed = host.call_admin("GET", "/api/v1/services", b"").json();
    let row = |index: usize| {
        let row = &listed["services"][index];
        (row["group"].clone(), row["weight"].clone(), row["traffic_state"].clone())
    };
    assert_eq!(row(0), (json!("team"), json!(0), json!("grouping")));
    assert_eq!(row(1), (json!("team"), json!(100), json!("grouping")));
}

#[test]
fn who_stands_alone_or_does_not_run_is_left_out() {
    let host = TestHost::start();
    deploy(&host, "a", json!({}));
    deploy(&host, "b", json!({}));
    deploy(&host, "c", json!({"networking": {"traffic_state": "Standalone"}}));
    assert_eq!(shares(&host, 10, ["a", "b", "c"]), [5, 5, 0], "the file says how it begins");
    must_release(&host, "c", json!({"traffic_state": "grouping", "weight": 200}));
    assert_eq!(shares(&host, 40, ["a", "b", "c"]), [10, 10, 20]);
    must_release(&host, "a", json!({"traffic_state": "standalone"}));
    assert_eq!(shares(&host, 30, ["a", "b", "c"]), [0, 10, 20]);
    assert_eq!(who_on(&mut host.client(), "team.a"), "a");
    switch(&host, "c", "stop");
    assert_eq!(shares(&host, 10, ["a", "b", "c"]), [0, 10, 0]);
    host.client().post(&at("team.c"), b"{}").assert_problem(503, "no_healthy_upstream");
    switch(&host, "b", "stop");
    let problem = host.client().post(&at("team"), b"{}").assert_problem(503, "no_healthy_upstream");
    assert!(problem["detail"].as_str().unwrap().starts_with("no healthy upstream"), "{problem}");
    switch(&host, "c", "start");
    assert_eq!(shares(&host, 10, ["a", "b", "c"]), [0, 0, 10]);
    // A modify keeps the settings made by hand, unless it changes the same key in the file.
    let modify = |body: Value| host.call_admin("PUT", "/api/v1/services/c", body.to_string().as_bytes());
    assert_eq!(modify(json!({"spec": {"metadata": {"rpc": {"keepalive": 4000}}}})).status, 200);
    assert_eq!(shares(&host, 10, ["a", "b", "c"]), [0, 0, 10]);
    assert_eq!(modify(json!({"spec": {"metadata": {"group": null}}})).status, 200);
    host.client().post(&at("team"), b"{}").assert_problem(503, "no_healthy_upstream");
    host.client().post(&at("team.c"), b"{}").assert_problem(404, "service_not_found");
    for name in ["a", "b"] {
        assert_eq!(host.call_admin("DELETE", &format!("/api/v1/services/{name}"), b"").status, 200);
    }
    host.client().post(&at("team"), b"{}").assert_problem(404, "service_not_found");
}

#[test]
fn no_request_fails_while_members_come_and_go() {
    const CALLERS: usize = 4;
    let host = TestHost::start();
    deploy(&host, "a", json!({}));
    deploy(&host, "b", json!({}));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (host, over) = (&host, &over);
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(move || {
                    let (mut client, mut answered) = (host.client(), 0);
                    while !over.load(std::sync::atomic::Ordering::SeqCst) {
                        who_on(&mut client, "team");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let loading = crate::crowd::Over(over);
        for _ in 0..10 {
            switch(host, "a", "stop");
            must_release(host, "b", json!({"weight": 7}));
            switch(host, "a", "start");
            must_release(host, "b", json!({"weight": 70}));
        }
        drop(loading);
        for caller in callers {
            assert!(caller.join().expect("every request is answered") > 10);
        }
    });
}

#[test]
fn a_group_and_a_service_never_have_one_name() {
    let host = TestHost::start();
    deploy(&host, "a", json!({}));
    host.deploy("lone", "faults", json!({}));
    let try_deploy =
        |name: &str, group: &str| host.try_deploy(name, "faults", member(name, json!({"metadata": {"group": group}})));
    assert_refused(&host.try_deploy("team", "faults", json!({})), 409, "name_taken", "\"a\"");
    assert_refused(&try_deploy("self", "self"), 409, "name_taken", "\"self\"");
    assert_refused(&try_deploy("b", "lone"), 409, "name_taken", "\"lone\"");
    let body = json!({"spec": {"metadata": {"group": "lone"}}}).to_string();
    assert_refused(&host.call_admin("PUT", "/api/v1/services/a", body.as_bytes()), 409, "name_taken", "\"lone\"");
    assert_refused(&try_deploy("b", "No Name"), 400, "invalid_service_file", "mistake");
    assert_eq!(who_on(&mut host.client(), "team"), "a");
    // A version whose group now has the name of a service cannot be activated again.
    let body = json!({"spec": {"metadata": {"group": "crew"}}}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/a", body.as_bytes()).status, 200);
    host.deploy("team", "faults", json!({}));
    let back = host.call_admin("POST", "/api/v1/services/a/version", br#"{"version":1}"#);
    assert_refused(&back, 409, "name_taken", "\"team\"");
    assert_eq!(who_on(&mut host.client(), "crew"), "a");
}

#[test]
fn each_member_checks_callers_against_its_own_tokens() {
    let host = TestHost::start();
    deploy(&host, "a", json!({}));
    deploy(&host, "b", json!({"token": "other"}));
    let mut client = host.client();
    let statuses: Vec<u16> = (0..10).map(|_| client.post(&at("team"), br#"{"do":"inspect"}"#).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
    assert_eq!(host.metric("bulkhead_requests_total{service=\"b\",status=\"401\"}"), 5);
}

#[test]
fn a_part_that_cannot_be_is_refused() {
    let host = TestHost::start();
    deploy(&host, "a", json!({}));
    host.deploy("lone", "faults", json!({}));
    assert_refused(&release(&host, "a", json!({"weight": 1001})), 400, "bad_request", "0 to 1000");
    for wrong in
        [json!({"traffic_state": "somewhere"}), json!({"weight": -1}), json!({"abort": true, "weight": 1}), json!({})]
    {
        assert_refused(&release(&host, "a", wrong), 400, "bad_request", "");
    }
    assert_refused(&release(&host, "a", json!({"abort": true})), 409, "no_canary", "no canary");
    assert_refused(&release(&host, "lone", json!({"weight": 10})), 409, "no_share", "in no group");
    assert_refused(&release(&host, "nobody", json!({"weight": 10})), 404, "service_not_found", "");
    for unknown in ["team.lone", "team.", "team.a.b", ".a", "lone.a", "nobody"] {
        host.client().post(&at(unknown), b"{}").assert_problem(404, "service_not_found");
    }
    // With a canary, `weight` is that of the canary, and a request cannot set both.
    let canary = json!({"spec": {"metadata": {"rpc": {"keepalive": 4000}}}, "canary": 10}).to_string();
    assert_eq!(host.call_admin("PUT", "/api/v1/services/a", canary.as_bytes()).status, 200);
    assert_refused(&release(&host, "a", json!({"weight": 500})), 400, "bad_request", "0 to 100");
    let both = json!({"weight": 50, "traffic_state": "standalone"});
    assert_refused(&release(&host, "a", both), 409, "canary_under_way", "version 2");
    must_release(&host, "a", json!({"weight": 50}));
    let described = host.call_admin("GET", "/api/v1/services/a", b"").json();
    assert_eq!((&described["canary"]["weight"], &described["weight"]), (&json!(50), &json!(100)));
}
