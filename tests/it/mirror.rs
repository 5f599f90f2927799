//! Mirroring: copies of requests to another service.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::Response;

const FLAG: &[u8] = br#"{"do":"flag"}"#;

fn mirror(host: &TestHost, name: &str, body: Value) -> Response {
    host.call_admin("PUT", &format!("/api/v1/services/{name}/mirror"), body.to_string().as_bytes())
}

fn must_mirror(host: &TestHost, name: &str, target: &str, ratio: u64) {
    let answer = mirror(host, name, json!({"target": target, "ratio": ratio}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["mirror"], json!({"target": target, "ratio": ratio}));
}

fn send(host: &TestHost, service: &Deployed, count: usize, body: &[u8], status: u16) {
    let mut client = host.client();
    for _ in 0..count {
        assert_eq!(client.post(service, body).status, status);
    }
}

fn ended(host: &TestHost, service: &str, status: u16) -> u64 {
    host.metric(&format!("bulkhead_requests_total{{service=\"{service}\",status=\"{status}\"}}"))
}

fn copies(host: &TestHost, target: &str) -> u64 {
    host.metric(&format!("bulkhead_requests_mirrored_total{{service=\"{target}\"}}"))
}

fn dropped(host: &TestHost, source: &str) -> u64 {
    host.metric(&format!("bulkhead_mirror_dropped_total{{service=\"{source}\"}}"))
}

fn assert_refused(answer: &Response, status: u16, code: &str, says: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
}

#[test]
fn copies_count_as_the_targets_requests_and_are_marked() {
    let host = TestHost::start();
    let source = host.deploy("source", "faults", json!({"token": "s"}));
    host.deploy("shadow", "faults", json!({"token": "another"}));
    must_mirror(&host, "source", "shadow", 100);
    send(&host, &source, 20, FLAG, 200);
    host.wait_for("the copies to be answered", || ended(&host, "shadow", 200) + dropped(&host, "source") == 20);
    assert_eq!((ended(&host, "source", 200), copies(&host, "shadow")), (20, ended(&host, "shadow", 200)));
    assert_eq!(copies(&host, "source"), 0);
    let sent = |name: &str| host.metric(&format!("bulkhead_mirror_sent_total{{service=\"{name}\"}}"));
    assert_eq!((sent("source"), sent("shadow")), (copies(&host, "shadow"), 0), "the source says where they came from");
    // The deed is in the body, which the copy contains.
    let decline = br#"{"do":"status","status":422,"message":"no"}"#;
    send(&host, &source, 1, decline, 422);
    host.wait_for("the copy to be declined, too", || ended(&host, "shadow", 422) == 1);

    let headers = [("authorization", "s"), ("x-request-id", "the-same")];
    assert_eq!(host.client().send("POST", &source.path, &headers, FLAG).status, 200);
    let marked =
        || host.log().lines().filter(|line| line.contains("request_id=the-same ")).map(str::to_owned).collect();
    let mut lines: Vec<String> = Vec::new();
    host.wait_for("both to be logged", || {
        lines = marked();
        lines.len() == 2
    });
    let of = |service: &str| lines.iter().find(|line| line.contains(&format!(" service={service} "))).expect("a line");
    assert!(of("shadow").contains(" mirrored=true") && !of("source").contains("mirrored"), "{lines:?}");

    must_mirror(&host, "source", "shadow", 10);
    let host = host.kill_and_restart();
    send(&host, &source, 100, FLAG, 200);
    host.wait_for("ten in a hundred", || copies(&host, "shadow") + dropped(&host, "source") == 10);
    let off = host.call_admin("DELETE", "/api/v1/services/source/mirror", b"");
    assert_eq!((off.status, &off.json()["mirror"]), (200, &Value::Null));
    let audit = host.call_admin("GET", "/api/v1/audit?limit=2&service=source", b"").json();
    let actions = ["0", "1"].map(|at| audit.pointer(&format!("/entries/{at}/action")).and_then(Value::as_str));
    assert_eq!(actions, [Some("mirror_off"), Some("mirror_on")], "the newest comes first: {audit}");
    send(&host, &source, 100, FLAG, 200);
    assert_eq!(copies(&host, "shadow") + dropped(&host, "source"), 10);
}

#[test]
fn a_stuck_target_slows_nobody_and_its_load_is_bounded() {
    let host = TestHost::start();
    let source = host.deploy("source", "echo", json!({}));
    let metadata = json!({
        "rpc": {"worker_threads": 1, "keepalive": 60_000}, "eas": {"termination_grace_period": 0},
    });
    host.deploy("shadow", "faults", json!({"metadata": metadata}));
    must_mirror(&host, "source", "shadow", 100);
    send(&host, &source, 50, br#"{"do":"sleep","ms":60000}"#, 200);
    host.wait_for("sixteen to be under way", || copies(&host, "shadow") == 16);
    host.wait_for("the others to be dropped", || dropped(&host, "source") == 34);
    assert_eq!(host.call_admin("POST", "/api/v1/services/shadow/stop", b"").status, 200);
    host.wait_for("those under way to be stopped", || ended(&host, "shadow", 503) == 16);
    send(&host, &source, 5, b"x", 200);
    host.wait_for("copies for a stopped target to be dropped", || dropped(&host, "source") == 39);
    assert_eq!(host.call_admin("DELETE", "/api/v1/services/shadow", b"").status, 200);
    send(&host, &source, 5, b"x", 200);
    host.wait_for("and for one that is gone", || dropped(&host, "source") == 44);
}

#[test]
fn copies_do_not_go_in_circles() {
    let host = TestHost::start();
    let one = host.deploy("one", "faults", json!({}));
    host.deploy("two", "faults", json!({}));
    must_mirror(&host, "one", "two", 100);
    must_mirror(&host, "two", "one", 100);
    send(&host, &one, 10, FLAG, 200);
    host.wait_for("the copies to be answered", || ended(&host, "two", 200) + dropped(&host, "one") == 10);
    assert_eq!((ended(&host, "one", 200), copies(&host, "one"), dropped(&host, "two")), (10, 0, 0));
}

#[test]
fn what_cannot_be_mirrored_to_is_refused() {
    let host = TestHost::start();
    let rpc = |target: &str| json!({"metadata": {"rpc": {"mirror": {"target": target, "ratio": 5}}}});
    assert_refused(&host.try_deploy("a", "faults", rpc("nobody")), 409, "mirror_refused", "\"nobody\"");
    assert_refused(&host.try_deploy("a", "faults", rpc("a")), 409, "mirror_refused", "itself");
    host.deploy("a", "faults", json!({}));
    host.deploy("b", "faults", rpc("a"));
    let of =
        |name: &str| host.call_admin("GET", &format!("/api/v1/services/{name}/mirror"), b"").json()["mirror"].clone();
    assert_eq!((of("a"), of("b")), (Value::Null, json!({"target": "a", "ratio": 5})), "the file says so");
    let to = |target: &str, ratio: i64| mirror(&host, "a", json!({"target": target, "ratio": ratio}));
    assert_refused(&to("a", 1), 409, "mirror_refused", "itself");
    assert_refused(&to("nobody", 1), 409, "mirror_refused", "no service \"nobody\"");
    assert_refused(&to("b", 101), 400, "bad_request", "the ratio is 101, expected 0 to 100");
    assert_refused(&to("b", -1), 400, "bad_request", "");
    assert_refused(&mirror(&host, "a", json!({"target": "b"})), 400, "bad_request", "ratio");
    assert_refused(&mirror(&host, "nobody", json!({"target": "b", "ratio": 1})), 404, "service_not_found", "");
    // A setting made by hand stays until the file sets the key.
    must_mirror(&host, "b", "a", 50);
    let modify =
        |keys: Value| host.call_admin("PUT", "/api/v1/services/b", json!({"spec": keys}).to_string().as_bytes());
    assert_eq!(modify(json!({"metadata": {"rpc": {"keepalive": 4000}}})).status, 200);
    assert_eq!(of("b"), json!({"target": "a", "ratio": 50}));
    assert_refused(&modify(rpc("nobody")), 409, "mirror_refused", "\"nobody\"");
    assert_eq!(modify(json!({"metadata": {"rpc": {"mirror": null}}})).status, 200);
    assert_eq!(of("b"), Value::Null);
}
