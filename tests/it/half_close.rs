//! Clients that close their sending side after their request, like `nc -N`, with a service that answers them.
//!
//! By default such a client counts as disconnected (see `hostile_http/timing.rs`). With `"half_close": "answer"` the
//! client waits for its answer, and only a broken connection is a disconnect.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::hostile_http::Leave;
use crate::http::{Client, request};

const BUSY: &str = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";
const QUEUED: &str = "bulkhead_queue_depth{service=\"faults\",instance=\"0\"}";
const LEFT: &str = "bulkhead_requests_total{service=\"faults\",status=\"499\"}";

/// Deploys with one worker, and with deadlines after the end of the test.
fn deploy(host: &TestHost, half_close: &str) -> Deployed {
    let keys: Value = json!({
        "metadata": {"rpc": {"worker_threads": 1, "keepalive": 60_000}},
        "sandbox": {"half_close": half_close}
    });
    host.deploy("faults", "faults", keys)
}

fn post(service: &Deployed, body: &str) -> Vec<u8> {
    request("POST", &service.path, &[("authorization", &service.token)], body.as_bytes())
}

/// Makes a client that has sent these bytes and closed its sending side.
fn half_closed(host: &TestHost, bytes: &[u8]) -> Client {
    let mut client = host.client();
    client.write(bytes);
    client.finish();
    client
}

#[test]
fn who_has_nothing_more_to_send_is_answered() {
    let host = TestHost::start();
    let service = deploy(&host, "answer");
    let slow = post(&service, r#"{"do":"sleep","ms":300}"#);
    let mut running = half_closed(&host, &slow);
    host.wait_for("it to run", || host.metric(BUSY) == 1);
    // The worker is busy, so the second request waits in the queue.
    let mut waiting = half_closed(&host, &slow);
    host.wait_for("it to wait", || host.metric(QUEUED) == 1);
    for client in [&mut running, &mut waiting] {
        assert_eq!(client.read("POST").status, 200);
        assert!(client.is_closed(), "nothing more can come");
    }

    let chunked = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n17\r\n{}\r\n0\r\n\r\n",
        service.path, service.token, r#"{"do":"sleep","ms":300}"#
    );
    let several = [slow.as_slice(), chunked.as_bytes(), &slow].concat();
    let mut client = half_closed(&host, &several);
    for _ in 0..3 {
        assert_eq!(client.read("POST").status, 200);
    }
    assert!(client.is_closed());
    assert_eq!(host.metric(LEFT), 0);
}

#[test]
fn a_request_that_is_not_whole_has_been_given_up() {
    let host = TestHost::start();
    let service = deploy(&host, "answer");
    let whole = post(&service, r#"{"do":"flag"}"#);
    let mut client = half_closed(&host, &whole[..whole.len() - 3]);
    assert!(client.is_closed(), "the rest of its body cannot come any more");
    host.wait_for("the 499", || host.metric(LEFT) == 1);
}

/// The end of the stream no longer means a disconnect, so a later reset must be detected.
#[test]
fn a_reset_stops_what_runs_and_what_waits() {
    let host = TestHost::start();
    let service = deploy(&host, "answer");
    let endless = post(&service, r#"{"do":"loop"}"#);
    // Unread bytes after the request must not hide the reset either.
    let behind = [Vec::new(), b"GET".to_vec(), endless.repeat(100), vec![b'x'; 100 << 10]];
    for (count, behind) in (1..).zip(behind) {
        let running = half_closed(&host, &[endless.as_slice(), &behind].concat());
        host.wait_for("it to run", || host.metric(BUSY) == 1);
        let waiting = half_closed(&host, &endless);
        host.wait_for("it to wait", || host.metric(QUEUED) == 1);
        Leave::Rst.now(waiting);
        host.wait_for("its place in the queue to be free", || host.metric(QUEUED) == 0);
        Leave::Rst.now(running);
        host.wait_for("its worker to be free", || host.metric(BUSY) == 0);
        host.wait_for("both to be counted", || host.metric(LEFT) == 2 * count);
    }
    // A client that resets the connection without closing a side first has also disconnected.
    let mut whole = host.client();
    whole.write(&endless);
    host.wait_for("it to run", || host.metric(BUSY) == 1);
    Leave::Rst.now(whole);
    host.wait_for("its worker to be free", || host.metric(BUSY) == 0);
}

/// The setting belongs to the service: each request on a connection follows its own service's setting.
#[test]
fn a_half_closed_client_has_left_where_the_service_says_so() {
    let host = TestHost::start();
    let answers = deploy(&host, "answer");
    let leaves = host.deploy("leaves", "faults", json!({"metadata": {"rpc": {"keepalive": 60_000}}}));
    let both = [post(&answers, r#"{"do":"sleep","ms":200}"#), post(&leaves, r#"{"do":"loop"}"#)].concat();
    let mut client = half_closed(&host, &both);
    assert_eq!(client.read("POST").status, 200);
    assert!(client.is_closed(), "the other service's client has left");
    let left = "bulkhead_requests_total{service=\"leaves\",status=\"499\"}";
    host.wait_for("the 499", || host.metric(left) == 1);
    let busy = "bulkhead_workers_busy{service=\"leaves\",instance=\"0\"}";
    host.wait_for("its worker to be free", || host.metric(busy) == 0);
}
