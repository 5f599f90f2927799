//! Clients that close their sending side after their request. The route defines whether that means a disconnect.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use serde_json::json;

use super::fake::Fake;
use super::{PATH, config};
use crate::host::{SOON, TestHost};
use crate::http::request;

/// Reports each request and answers it on command, or reports that its connection is closed.
fn waiting() -> (Fake, Sender<()>, Receiver<&'static str>) {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (wait, tell) = (Mutex::new(wait), Mutex::new(tell));
    let fake = Fake::start(move |mut peer| {
        while let Some(asked) = peer.request() {
            tell.lock().unwrap().send("asked").unwrap();
            if asked.all("x-leaves").is_empty() {
                wait.lock().unwrap().recv().unwrap();
                peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
        tell.lock().unwrap().send("gone").unwrap();
    });
    (fake, go, told)
}

fn route(fake: &Fake, half_close: &str) -> TestHost {
    let mut config = config(&[fake.address], json!({}));
    config["routes"]["s"] = json!({"cluster": "c", "half_close": half_close});
    TestHost::start_gateway(&config, &[])
}

fn assert_499(gateway: &TestHost) {
    let line = "bulkhead_requests_total{service=\"s\",status=\"499\"}";
    gateway.wait_for("it to be in the account", || gateway.metric(line) == 1);
}

#[test]
fn a_half_closed_client_has_its_answer_where_the_route_says_so() {
    let (fake, go, told) = waiting();
    let gateway = route(&fake, "answer");
    for body in [&b""[..], b"hello"] {
        let mut client = gateway.client();
        client.write(&request("POST", PATH, &[], body));
        client.finish();
        assert_eq!(told.recv_timeout(SOON), Ok("asked"));
        go.send(()).unwrap();
        assert_eq!(client.read("POST").text(), "ok");
        assert!(client.is_closed(), "nothing more can come");
    }
}

#[test]
fn a_half_closed_client_that_resets_its_connection_has_left() {
    let (fake, _go, told) = waiting();
    let gateway = route(&fake, "answer");
    let mut client = gateway.client();
    client.write(&request("POST", PATH, &[("x-leaves", "1")], b"hello"));
    client.finish();
    assert_eq!(told.recv_timeout(SOON), Ok("asked"));
    client.reset();
    assert_eq!(told.recv_timeout(SOON), Ok("gone"), "the upstream is told");
    assert_499(&gateway);
}

#[test]
fn a_half_closed_client_has_left_where_the_route_does_not_say_otherwise() {
    let (fake, _go, told) = waiting();
    let gateway = route(&fake, "leave");
    let mut client = gateway.client();
    client.write(&request("POST", PATH, &[("x-leaves", "1")], b"hello"));
    assert_eq!(told.recv_timeout(SOON), Ok("asked"));
    client.finish();
    assert_eq!(told.recv_timeout(SOON), Ok("gone"), "the upstream is told");
    assert_499(&gateway);
    assert!(client.is_closed());
}
