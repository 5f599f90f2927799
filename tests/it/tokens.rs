//! Two tokens at once: callers move from one to the other, and none is refused meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::crowd::Over;
use crate::host::{Deployed, TestHost};
use crate::http::Response;

fn change(host: &TestHost, name: &str, body: Value) -> Response {
    host.call_admin("POST", &format!("/api/v1/services/{name}/token"), body.to_string().as_bytes())
}

fn refused(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{}", answer.text());
}

fn described(host: &TestHost, name: &str) -> Value {
    host.call_admin("GET", &format!("/api/v1/services/{name}"), b"").json()
}

fn status(host: &TestHost, service: &Deployed, token: &str) -> u16 {
    host.client().send("POST", &service.path, &[("authorization", token)], b"x").status
}

#[test]
fn a_rotation_under_load_fails_no_request_and_makes_no_version() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"token": "first"}));
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = host.client();
                while !over.load(Ordering::SeqCst) {
                    // This caller uses its first token until that token is retired.
                    let response = client.post(&echo, b"x");
                    assert_eq!(response.status, 200, "{}", response.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                    if response.closes() {
                        client = host.client();
                    }
                }
            });
        }
        let _over = Over(&over);
        for turn in 0..10 {
            let seen = answered.load(Ordering::Relaxed);
            let new = format!("second-{turn}");
            let rotated = change(&host, "echo", json!({"action": "rotate", "token": new}));
            assert_eq!(rotated.status, 200, "{}", rotated.text());
            assert_eq!(rotated.json(), json!({"name": "echo", "token": new, "previous_token": "first"}));
            assert_eq!((status(&host, &echo, &new), status(&host, &echo, "first")), (200, 200));
            host.wait_for("requests between two rotations", || answered.load(Ordering::Relaxed) > seen + 20);
            // Rotates back, which refuses no caller either; then the new token is retired.
            assert_eq!(change(&host, "echo", json!({"action": "rotate", "token": "first"})).status, 200);
            assert_eq!(change(&host, "echo", json!({"action": "retire"})).status, 200);
            assert_eq!(status(&host, &echo, &new), 401);
        }
    });
    let service = described(&host, "echo");
    assert_eq!((&service["version"], &service["instances"][0]["restarts"]), (&json!(1), &json!(0)), "{service}");
}

#[test]
fn both_tokens_outlive_modifies_and_restarts_until_the_first_is_retired() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({"token": "first"}));
    assert_eq!(change(&host, "echo", json!({"action": "rotate"})).status, 200);
    let second = described(&host, "echo")["token"].as_str().unwrap().to_owned();
    let accepted = |host: &TestHost| [&*second, "first"].map(|token| status(host, &echo, token));
    assert_eq!(accepted(&host), [200, 200]);

    let modify = |spec: Value| {
        let body = json!({ "spec": spec }).to_string();
        assert_eq!(host.call_admin("PUT", "/api/v1/services/echo", body.as_bytes()).status, 200);
    };
    modify(json!({"metadata": {"rpc": {"worker_threads": 2}}}));
    assert_eq!(accepted(&host), [200, 200]);
    assert_eq!(described(&host, "echo")["token"], *second);
    // A deploy script would send the first file again.
    modify(json!({"token": "first"}));
    assert_eq!(accepted(&host), [200, 200]);
    modify(json!({"token": second}));

    let third = change(&host, "echo", json!({"action": "rotate", "token": "third"}));
    refused(&third, 409, "two_tokens");

    let host = host.kill_and_restart();
    assert_eq!(accepted(&host), [200, 200]);
    assert_eq!(described(&host, "echo")["previous_token"], "first");
    assert_eq!(change(&host, "echo", json!({"action": "retire"})).status, 200);
    assert_eq!(accepted(&host), [200, 401]);
    let host = host.kill_and_restart();
    assert_eq!(accepted(&host), [200, 401]);
    let service = described(&host, "echo");
    assert_eq!((&service["previous_token"], &service["spec"]["token"]), (&Value::Null, &json!(second)));
}

#[test]
fn what_cannot_be_done_to_tokens_is_said() {
    let host = TestHost::start();
    host.deploy("open", "echo", json!({"generate_token": false}));
    refused(&change(&host, "open", json!({"action": "rotate"})), 409, "service_is_public");
    refused(&change(&host, "nobody", json!({"action": "rotate"})), 404, "service_not_found");
    for body in [
        json!({}),
        json!({"action": "swap"}),
        json!({"action": "retire", "token": "x"}),
        json!({"action": "rotate", "token": "two words"}),
        json!({"action": "rotate", "token": "x", "more": 1}),
    ] {
        refused(&change(&host, "open", body), 400, "bad_request");
    }
    let wrong_method = host.call_admin("GET", "/api/v1/services/open/token", b"");
    assert_eq!(wrong_method.header("allow"), Some("POST"), "{}", wrong_method.text());
}
