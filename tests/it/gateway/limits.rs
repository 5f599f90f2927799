//! Limits of a route, and of a service over all its instances: exactly as many requests pass as allowed.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use serde_json::json;

use super::fake::Fake;
use super::{PATH, config};
use crate::host::{SOON, TestHost};
use crate::http::{Response, request};

fn limited(limit: serde_json::Value, fake: &Fake) -> TestHost {
    let mut config = config(&[fake.address], json!({}));
    config["routes"]["s"] = limit;
    TestHost::start_gateway(&config, &[])
}

/// Sends requests quickly and checks that as many are answered as the rate allows: a second's worth at once, and then
/// according to the elapsed time. Returns the number answered.
fn limited_to(rate: usize, mut ask: impl FnMut() -> Response) -> usize {
    let began = Instant::now();
    let answers: Vec<Response> = (0..20).map(|_| ask()).collect();
    let most = rate + (rate as f64 * began.elapsed().as_secs_f64()) as usize;
    let (passed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!((rate..=most).contains(&passed.len()) && !refused.is_empty(), "at most {most}: {answers:?}");
    for response in refused {
        let problem = response.assert_problem(429, "rate_limited");
        assert!(problem["detail"].as_str().unwrap().contains("rate_limit"), "{problem}");
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    passed.len()
}

#[test]
fn a_routes_rate_is_its_own() {
    let fake = Fake::echo();
    let gateway = limited(json!({"cluster": "c", "rate_limit": 3}), &fake);
    let mut client = gateway.client();
    let passed = limited_to(3, || client.send("POST", PATH, &[], b"x"));
    assert_eq!(fake.asked().len(), passed);
    assert_eq!(client.send("POST", "/api/predict/other", &[], b"x").status, 200, "other services are not held back");
}

#[test]
fn a_routes_requests_under_way_are_as_many_as_may_be() {
    let (tell, told) = mpsc::channel::<()>();
    let (go, gone) = mpsc::channel::<()>();
    let (tell, gone) = (Mutex::new(tell), Mutex::new(gone));
    let fake = Fake::start(move |mut peer| {
        while peer.request().is_some() {
            tell.lock().unwrap().send(()).unwrap();
            gone.lock().unwrap().recv().unwrap();
            peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
            gone.lock().unwrap().recv().unwrap();
            peer.say("0\r\n\r\n");
        }
    });
    let gateway = limited(json!({"cluster": "c", "concurrency_limit": 1}), &fake);
    let mut first = gateway.client();
    first.write(&request("POST", PATH, &[], b"x"));
    told.recv_timeout(SOON).unwrap();
    let mut other = gateway.client();
    let refused = other.send("POST", PATH, &[], b"x");
    let problem = refused.assert_problem(429, "rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("concurrency_limit"), "{problem}");
    go.send(()).unwrap();
    first.wait_for_bytes();
    other.send("POST", PATH, &[], b"x").assert_problem(429, "rate_limited");
    go.send(()).unwrap();
    assert_eq!(first.read("POST").text(), "ok");
    // The place becomes free at the end of the answer.
    other.write(&request("POST", PATH, &[], b"x"));
    told.recv_timeout(SOON).unwrap();
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(other.read("POST").text(), "ok");
}

/// Tests `networking.gateway_policy` of a service file, which applies to all its instances together.
#[test]
fn a_services_policy_holds_for_its_instances_together() {
    let host = TestHost::start();
    let policy = |keys: serde_json::Value| json!({"metadata": {"instance": 3}, "networking": {"gateway_policy": keys}});
    let rate = host.deploy("rate", "echo", policy(json!({"rate_limit": {"enable": true, "limit": 2}})));
    let mut client = host.client();
    limited_to(2, || client.post(&rate, b"x"));

    let under_way = policy(json!({"concurrency_limit": {"enable": true, "limit": 2}}));
    let faults = host.deploy("faults", "faults", under_way);
    let endless = request("POST", &faults.path, &[("authorization", &faults.token)], br#"{"do":"sleep","ms":60000}"#);
    let mut running = [host.client(), host.client()];
    for client in &mut running {
        client.write(&endless);
    }
    let busy = |i: usize| host.metric(&format!("bulkhead_workers_busy{{service=\"faults\",instance=\"{i}\"}}"));
    host.wait_for("both to run", || (0..3).map(busy).sum::<u64>() == 2);
    client.post(&faults, br#"{"do":"flag"}"#).assert_problem(429, "rate_limited");
    drop(running);
    host.wait_for("both to be over", || (0..3).map(busy).sum::<u64>() == 0);
    assert_eq!(client.post(&faults, br#"{"do":"flag"}"#).status, 200);
}
