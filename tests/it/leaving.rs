//! Clients that disconnect, in every phase of a request. Each is counted at most once, and its place is free at once.
//!
//! A request exists once its head is complete. A disconnect before that is not counted. A later disconnect, before the
//! answer, counts as 499. A disconnect while the answer is written counts as answered.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::hostile_http::Leave;
use crate::http::{Client, request};

/// The target for the time until a place is free again.
const TARGET: Duration = Duration::from_millis(50);

const BUSY: &str = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";
const QUEUED: &str = "bulkhead_queue_depth{service=\"faults\",instance=\"0\"}";
const ACCEPTED: &str = "bulkhead_requests_accepted_total{service=\"faults\"}";

struct Scene {
    host: TestHost,
    service: Deployed,
    took: Vec<Duration>,
}

impl Scene {
    fn set() -> Self {
        let host = TestHost::start();
        // No deadline passes before the end of the test, so only a disconnect frees a place.
        let rpc = json!({"worker_threads": 1, "max_queue_size": 4, "keepalive": 60_000});
        let sandbox = json!({"max_response_bytes": 67_108_864});
        let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}, "sandbox": sandbox}));
        Self { host, service, took: Vec::new() }
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        request("POST", &self.service.path, &[("authorization", &self.service.token)], body)
    }

    fn endless(&self) -> Vec<u8> {
        self.request(br#"{"do":"loop"}"#)
    }

    /// Makes a client that has sent these bytes.
    fn client(&self, bytes: &[u8]) -> Client {
        let mut client = self.host.client();
        client.write(bytes);
        client
    }

    fn wait_until(&self, line: &str, value: u64) {
        self.host.wait_for(&format!("{line} to be {value}"), || self.host.metric(line) == value);
    }

    /// Disconnects the client, and records the time until `line` shows that its place is free.
    fn leave(&mut self, how: Leave, client: Client, line: &str) {
        let began = Instant::now();
        how.now(client);
        self.wait_until(line, 0);
        self.took.push(began.elapsed());
    }

    /// Checks the account of a phase: the number of disconnects, each counted with the right status.
    fn tell(mut self, phase: &str, left: usize, status: Option<u16>) {
        let meant = status.map_or(0, |_| left as u64);
        if let Some(status) = status {
            let line = format!("bulkhead_requests_total{{service=\"faults\",status=\"{status}\"}}");
            self.wait_until(&line, meant);
        }
        self.wait_until("bulkhead_connections", 0);
        self.wait_until(QUEUED, 0);
        self.wait_until(BUSY, 0);
        assert_eq!(self.host.metric("bulkhead_requests_accepted_total{service=\"\"}"), 0);
        assert_eq!(self.host.client().post(&self.service, br#"{"do":"flag"}"#).status, 200);
        let counted = self.host.metric(ACCEPTED) - 1;
        must(&format!("leaving.{phase}.counted"), &meant.to_string(), counted, counted == meant);
        self.took.sort_unstable();
        let Some(worst) = self.took.last() else { return };
        let median = self.took[self.took.len() / 2];
        let ms = |time: &Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        let measured = json!({"median_ms": ms(&median), "worst_ms": ms(worst)});
        tell(&format!("leaving.{phase}.free_again"), "50 ms", measured, *worst <= TARGET);
    }
}

fn each(mut act: impl FnMut(Leave)) -> usize {
    let times = rounds(20, 200);
    for round in 0..times {
        act(if round % 2 == 0 { Leave::Fin } else { Leave::Rst });
    }
    times
}

#[test]
fn before_the_first_byte() {
    let scene = Scene::set();
    let left = each(|how| how.now(scene.client(b"")));
    scene.tell("connect", left, None);
}

#[test]
fn in_the_middle_of_the_head() {
    let scene = Scene::set();
    let whole = scene.endless();
    let head = whole.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let mut cut = 0;
    let left = each(|how| {
        cut = (cut + 37) % (head + 3);
        let client = scene.client(&whole[..=cut]);
        scene.host.wait_for("the connection to be there", || scene.host.metric("bulkhead_connections") == 1);
        how.now(client);
        scene.wait_until("bulkhead_connections", 0);
    });
    scene.tell("head", left, None);
}

#[test]
fn in_the_middle_of_the_body() {
    let mut scene = Scene::set();
    let whole = scene.endless();
    let mut count = 0;
    let left = each(|how| {
        let client = scene.client(&whole[..whole.len() - 1 - count as usize % 13]);
        count += 1;
        scene.wait_until(ACCEPTED, count);
        scene.leave(how, client, "bulkhead_connections");
    });
    scene.tell("body", left, Some(499));
}

#[test]
fn while_waiting_in_the_queue() {
    let mut scene = Scene::set();
    let whole = scene.endless();
    let running = scene.client(&whole);
    scene.wait_until(BUSY, 1);
    let left = each(|how| {
        let client = scene.client(&whole);
        scene.wait_until(QUEUED, 1);
        scene.leave(how, client, QUEUED);
    });
    drop(running);
    scene.tell("queue", left + 1, Some(499));
}

/// The disconnect arrives with the request, so it is first seen after the call's first slice.
#[test]
fn in_the_first_slice() {
    let mut scene = Scene::set();
    let whole = scene.endless();
    let times = rounds(20, 200);
    for count in 1..=times as u64 {
        let mut client = scene.client(&whole);
        client.finish();
        let began = Instant::now();
        scene.wait_until(ACCEPTED, count);
        scene.wait_until(BUSY, 0);
        scene.took.push(began.elapsed());
    }
    scene.tell("first_slice", times, Some(499));
}

#[test]
fn in_the_background() {
    let mut scene = Scene::set();
    let whole = scene.endless();
    let left = each(|how| {
        let client = scene.client(&whole);
        scene.wait_until(BUSY, 1);
        scene.leave(how, client, BUSY);
    });
    scene.tell("background", left, Some(499));
}

/// After any of these bytes, hyper alone would not look for the end of the stream. The last ones are too many to be
/// read, so the host must detect the end without reading up to it.
#[test]
fn with_more_behind_the_request() {
    let mut scene = Scene::set();
    let whole = scene.endless();
    let behind = [b"\r\n".to_vec(), whole.clone(), whole.repeat(10), vec![b'x'; 100 << 10]];
    let mut round = 0;
    let left = each(|how| {
        let client = scene.client(&[whole.as_slice(), &behind[round / 2 % behind.len()]].concat());
        round += 1;
        scene.wait_until(BUSY, 1);
        scene.leave(how, client, BUSY);
    });
    scene.tell("more_behind", left, Some(499));
}

#[test]
fn while_asleep_in_a_host_call() {
    let mut scene = Scene::set();
    let whole = scene.request(br#"{"do":"sleep","ms":60000}"#);
    let left = each(|how| {
        let client = scene.client(&whole);
        scene.wait_until(BUSY, 1);
        scene.leave(how, client, BUSY);
    });
    scene.tell("host_call", left, Some(499));
}

/// The request has been answered; the host does not count how much of the answer the client read.
#[test]
fn while_the_answer_is_written() {
    let mut scene = Scene::set();
    let whole = scene.request(br#"{"do":"body","bytes":16777216}"#);
    let left = each(|how| {
        let mut client = scene.client(&whole);
        client.wait_for_bytes();
        assert_eq!(scene.host.metric(BUSY), 0, "a slow reader holds no worker");
        scene.leave(how, client, "bulkhead_connections");
    });
    scene.tell("answer", left, Some(200));
}
