//! Requests that the gateway must send a second time, and requests that it must not. The tests count the requests that
//! reach the upstreams.

use serde_json::json;

use super::fake::Fake;
use super::{PATH, gateway, upstream};
use crate::host::TestHost;
use crate::http::request;

const FULL: &str = "HTTP/1.1 450 Queue Full\r\ncontent-length: 4\r\n\r\nfull";

fn retried(gateway: &TestHost, fakes: &[&Fake]) -> u64 {
    fakes.iter().map(|fake| gateway.metric(&upstream("retried_total", fake.address))).sum()
}

#[test]
fn a_full_queue_sends_a_request_to_another_host_once() {
    let (full, good) = (Fake::answering(FULL), Fake::echo());
    let gateway = gateway(&[full.address, good.address], json!({}));
    let mut client = gateway.client();
    for i in 0..40 {
        let response = client.send("POST", PATH, &[("x-n", &i.to_string())], format!("body {i}").as_bytes());
        assert_eq!((response.status, response.text()), (200, format!("body {i}")));
    }
    assert_eq!(good.asked().len(), 40);
    let asked_twice = full.asked().len() as u64;
    assert!(asked_twice > 0, "by lot, the full one is asked first as often as not");
    assert_eq!(retried(&gateway, &[&full, &good]), asked_twice);
    assert!(gateway.log().contains("retries=1"), "{}", gateway.log());
}

#[test]
fn two_full_queues_are_one_answer() {
    let fakes = [Fake::answering(FULL), Fake::answering(FULL), Fake::answering(FULL)];
    let gateway = gateway(&[fakes[0].address, fakes[1].address, fakes[2].address], json!({}));
    let response = gateway.client().send("POST", PATH, &[], b"x");
    assert_eq!((response.status, response.text().as_str()), (450, "full"));
    assert_eq!(fakes.iter().map(|fake| fake.asked().len()).sum::<usize>(), 2, "at most one more");
}

#[test]
fn a_full_queue_beside_a_host_that_does_not_answer_is_a_full_queue() {
    let full = Fake::answering(FULL);
    let gateway = gateway(&[full.address, Fake::nobody()], json!({}));
    for _ in 0..20 {
        assert_eq!(gateway.client().send("POST", PATH, &[], b"x").status, 450);
    }
}

/// The first bytes of the body are already gone when the answer arrives.
#[test]
fn a_body_that_was_still_coming_is_not_sent_again() {
    let full = || {
        Fake::start(|mut peer| {
            if peer.head().is_some() {
                peer.take(5);
                peer.say(FULL);
                peer.wait_until_gone();
            }
        })
    };
    let fakes = [full(), full()];
    let gateway = gateway(&[fakes[0].address, fakes[1].address], json!({}));
    let mut client = gateway.client();
    client.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").as_bytes());
    assert_eq!(client.read("POST").status, 450);
    assert_eq!(fakes[0].connections() + fakes[1].connections(), 1);
}

#[test]
fn a_host_that_cannot_be_reached_costs_nobody_a_request() {
    let good = Fake::echo();
    let gateway = gateway(&[Fake::nobody(), good.address], json!({}));
    let mut client = gateway.client();
    for i in 0..40 {
        assert_eq!(client.send("POST", PATH, &[], format!("{i}").as_bytes()).text(), i.to_string());
    }
    // A body that is still arriving has not been forwarded either.
    let mut slow = gateway.client();
    for _ in 0..10 {
        slow.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").as_bytes());
        let asked = good.connections();
        gateway.wait_for("it to be forwarded", || gateway.metric(&upstream("active", good.address)) == 1);
        slow.write(b"world");
        assert_eq!(slow.read("POST").text(), "helloworld", "{asked}");
    }
}

#[test]
fn nobody_reachable_is_told_after_one_retry() {
    let gateway = gateway(&[Fake::nobody(), Fake::nobody()], json!({}));
    let problem = gateway.client().send("POST", PATH, &[], b"x").assert_problem(503, "upstream_failed");
    let text = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
                remote connection failure";
    assert_eq!(problem["detail"], format!("{text} (cluster \"c\")"));
}

/// The upstream may have processed the request, so not even a GET is sent again.
#[test]
fn what_may_have_been_worked_on_is_not_sent_again() {
    let dies = || {
        Fake::start(|mut peer| {
            peer.request();
            peer.reset();
        })
    };
    let fakes = [dies(), dies()];
    let gateway = gateway(&[fakes[0].address, fakes[1].address], json!({}));
    for (count, method) in (1..).zip(["POST", "GET", "PUT"]) {
        gateway.client().send(method, PATH, &[], b"").assert_problem(503, "upstream_failed");
        assert_eq!(fakes[0].asked().len() + fakes[1].asked().len(), count);
    }
    assert_eq!(retried(&gateway, &[&fakes[0], &fakes[1]]), 0);
}

/// A connection that was closed while idle is detected before a request is sent on it.
#[test]
fn a_connection_that_the_upstream_has_closed_costs_no_request() {
    let fake = Fake::start(|mut peer| {
        if let Some(asked) = peer.request() {
            peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", asked.body.len()));
            peer.say(&asked.body);
        }
    });
    let gateway = super::before(&fake);
    let mut client = gateway.client();
    for i in 0..30 {
        assert_eq!(client.send("POST", PATH, &[], format!("{i}").as_bytes()).text(), i.to_string());
        // The close has arrived once the gateway counts no idle connection.
        gateway
            .wait_for("the connection to be gone", || gateway.metric(&upstream("idle_connections", fake.address)) == 0);
    }
    assert_eq!(fake.asked().len(), 30);
    client.write(&request("POST", PATH, &[], b"last"));
    assert_eq!(client.read("POST").text(), "last");
}
