//! Components of `wasi:http` 0.3, with asynchronous functions.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response, request};

struct Scene {
    host: TestHost,
    service: Deployed,
}

impl Scene {
    fn set() -> Self {
        Self::with(json!({}))
    }

    fn with(sandbox: Value) -> Self {
        let host = TestHost::start_with(&["--wasi-0.3"], "");
        let metadata = json!({"rpc": {"worker_threads": 1, "keepalive": 3000}});
        let service = host.deploy("parts", "async-faults", json!({"sandbox": sandbox, "metadata": metadata}));
        Self { host, service }
    }

    fn head(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let path = format!("{}{path}", self.service.path);
        request(method, &path, &[("authorization", &self.service.token), ("te", "trailers")], body)
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Response {
        let mut client = self.host.client();
        client.write(&self.head(method, path, body));
        client.read(method)
    }

    /// Asks for a stream, and reads its head.
    fn ask(&self, path: &str) -> Client {
        let mut client = self.host.client();
        client.write(&self.head("GET", path, b""));
        assert_eq!(client.read_head().status, 200);
        client
    }

    fn counted(&self, status: u16) -> u64 {
        self.host.metric(&format!("bulkhead_requests_total{{service=\"parts\",status=\"{status}\"}}"))
    }

    fn wait_until_counted(&self, status: u16, count: u64) {
        self.host.wait_for(&format!("{count} times {status}"), || self.counted(status) == count);
        let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
        self.host.wait_for("the worker to be free", || self.host.metric(busy) == 0);
    }
}

#[test]
fn a_host_accepts_them_only_if_it_is_told_to() {
    let host = TestHost::start();
    let refused = host.try_deploy("parts", "async-faults", json!({}));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("WASI 0.3") && refused.text().contains("--wasi-0.3"), "{}", refused.text());

    let host = TestHost::start_with(&["--wasi-0.3"], "");
    let service = host.deploy("parts", "async-faults", json!({}));
    assert_eq!(
        host.client().send("GET", &format!("{}/calls", service.path), &[("authorization", &service.token)], b"").text(),
        "1"
    );
    let shown = host.call_admin("GET", "/api/v1/services/parts", b"").json();
    assert_eq!(shown["snapshot"]["taken"], false, "{shown}");
    // Those of WASI 0.2 and of our own contract run beside it.
    for processor in ["http-faults", "echo"] {
        let other = host.deploy(processor, processor, json!({}));
        let path = if processor == "echo" { other.path.clone() } else { format!("{}/echo", other.path) };
        let answer = host.client().send("POST", &path, &[("authorization", &other.token)], b"hello");
        assert_eq!(answer.body, b"hello", "{processor}");
    }
    // A restart without the option names the reason.
    let host = host.kill_and_restart();
    let answer =
        host.client().send("GET", &format!("{}/calls", service.path), &[("authorization", &service.token)], b"");
    assert_eq!(answer.status, 503);
    host.wait_for("the reason", || host.log().contains("start the host with --wasi-0.3"));
}

#[test]
fn requests_and_answers_are_streams() {
    let scene = Scene::set();
    let told = scene.send("GET", "/request?x=1", b"").text();
    assert!(told.starts_with("Method::Get /request?x=1 Some(Scheme::Http) \"test\"\n"), "{told}");
    assert!(told.contains("te: trailers\n"), "{told}");
    assert_eq!(scene.send("POST", "/echo", b"hello").body, b"hello");
    let large = vec![7; 1 << 20];
    assert_eq!(scene.send("POST", "/echo", &large).body, large);

    // Each piece arrives before the next one is written, and is answered before the next one is sent.
    let mut client = scene.ask("/events?pieces=3&pause_ms=50");
    for index in 0..3 {
        assert_eq!(client.next_chunk().unwrap(), format!("data: {index}\n\n").as_bytes());
    }
    assert_eq!(client.next_chunk().unwrap(), b"");
    let (path, token) = (format!("{}/echo", scene.service.path), &scene.service.token);
    client.write(
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n")
            .as_bytes(),
    );
    client.write(b"5\r\nhello\r\n");
    assert_eq!(client.read_head().status, 200);
    assert_eq!(client.next_chunk().unwrap(), b"hello");
    client.write(b"6\r\n again\r\n0\r\n\r\n");
    assert_eq!(client.next_chunk().unwrap(), b" again");
    assert_eq!(client.next_chunk().unwrap(), b"");

    let mut client = scene.ask("/trailers");
    assert_eq!(client.next_chunk().unwrap(), b"piece");
    let rest = "0\r\nx-checksum: 42\r\n\r\n";
    assert_eq!(client.read_bytes(rest.len()).unwrap(), rest.as_bytes());
    scene.wait_until_counted(200, 6);
}

#[test]
fn a_guest_answers_many_requests_unless_the_file_says_otherwise() {
    for (sandbox, last) in [(json!({}), "3"), (json!({"isolation": "fresh"}), "1")] {
        let scene = Scene::with(sandbox);
        let calls: Vec<String> = (0..3).map(|_| scene.send("GET", "/calls", b"").text()).collect();
        assert_eq!((&*calls[0], &*calls[2]), ("1", last));
    }
}

#[test]
fn every_end_of_a_stream_counts_once_with_its_status() {
    let scene = Scene::with(json!({"stream_idle_ms": 500, "stream_total_ms": 2000}));
    for (round, end) in ["trap", "panic"].into_iter().enumerate() {
        let mut client = scene.ask(&format!("/end?pause_ms=50&end={end}"));
        assert_eq!(client.next_chunk().unwrap(), b"piece");
        assert_eq!(client.next_chunk(), None, "{end}: it must not end as if it were complete");
        scene.wait_until_counted(400, round as u64 + 1);
    }
    // The limits of a stream end an answer that its guest does not end.
    for (round, end) in ["hang", "spin", "forget"].into_iter().enumerate() {
        let mut client = scene.ask(&format!("/end?pause_ms=50&end={end}"));
        assert_eq!(client.next_chunk().unwrap(), b"piece");
        assert_eq!(client.next_chunk(), None, "{end}");
        scene.wait_until_counted(408, round as u64 + 1);
    }
    let mut client = scene.ask("/end?pause_ms=50&end=well");
    assert_eq!((client.next_chunk().unwrap(), client.next_chunk().unwrap()), (b"piece".to_vec(), b"".to_vec()));
    scene.wait_until_counted(200, 1);
    // The answer is complete before the guest is, which keeps its worker to its end.
    let mut client = scene.ask("/end?end=after&pause_ms=300");
    assert_eq!((client.next_chunk().unwrap(), client.next_chunk().unwrap()), (b"piece".to_vec(), b"".to_vec()));
    scene.host.wait_for("the work after it", || scene.host.log().contains("the work after the answer is done"));
    scene.wait_until_counted(200, 2);

    let client = scene.ask("/events?pieces=1000000&pause_ms=10");
    drop(client);
    scene.wait_until_counted(499, 1);
    // A declared length is kept.
    for length in [3, 7] {
        let mut client = scene.host.client();
        client.write(&scene.head("GET", &format!("/length?length={length}"), b""));
        // The head may be out before the guest has written another length.
        let looks_whole = client.read_head().status == 200 && client.read_bytes(length).is_some();
        assert!(!looks_whole, "{length}");
    }
    scene.wait_until_counted(400, 4);
    assert_eq!(scene.send("GET", "/calls", b"").status, 200);
}

/// The host itself sends such a body. It has the limits of any other.
#[test]
fn an_answer_that_is_the_request_ends_with_it() {
    let scene = Scene::with(json!({"stream_idle_ms": 500, "stream_total_ms": 2000}));
    let (service, token) = (&scene.service.path, &scene.service.token);
    let begin = |path: &str| {
        let mut client = scene.host.client();
        let head = format!("POST {service}{path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n");
        client.write(format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").as_bytes());
        assert_eq!(client.read_head().status, 200);
        assert_eq!(client.next_chunk().unwrap(), b"hello");
        client
    };
    let mut whole = begin("/pipe");
    whole.write(b"0\r\n\r\n");
    assert_eq!(whole.next_chunk().unwrap(), b"");
    scene.wait_until_counted(200, 1);
    for (round, path) in ["/pipe", "/echo"].into_iter().enumerate() {
        assert_eq!(begin(path).next_chunk(), None, "{path}: it stands still");
        scene.wait_until_counted(408, round as u64 + 1);
        drop(begin(path));
        scene.wait_until_counted(499, round as u64 + 1);
    }
    assert_eq!(scene.send("POST", "/pipe", b"at once").body, b"at once");
}

#[test]
fn a_guest_that_does_not_answer_is_refused_for() {
    let scene = Scene::with(json!({"fuel": 2_000_000_000_u64}));
    let error = scene.send("GET", "/error", b"");
    assert_eq!(error.status, 400);
    assert!(error.text().contains("asked to fail"), "{}", error.text());
    // A task that is left behind fails in the call that has begun it.
    scene.send("GET", "/error-later", b"").assert_problem(400, "processor_exception");
    assert_eq!(scene.send("GET", "/calls", b"").text(), "1");
    scene.send("GET", "/hang", b"").assert_problem(408, "deadline_exceeded");
    scene.send("GET", "/spin", b"").assert_problem(400, "fuel_exhausted");
    // Tasks and streams are bounded, and the work of the host yields.
    for (path, code) in [("/flood", "processor_exception"), ("/streams", "processor_exception")] {
        scene.send("GET", path, b"").assert_problem(400, code);
    }
    for path in ["/churn", "/random"] {
        let refused = scene.send("GET", path, b"");
        assert!([400, 408].contains(&refused.status), "{path}: {}", refused.text());
    }
    assert_eq!(scene.send("GET", "/calls", b"").text(), "1");
}

#[test]
fn requests_to_other_hosts_go_through_the_same_gate() {
    let scene = Scene::set();
    let denied = scene.send("GET", "/fetch?http://127.0.0.1:1/", b"").text();
    assert!(denied.contains("HttpRequestDenied"), "{denied}");
    let line = "an outgoing request failed: 127.0.0.1:1 is not in sandbox.allow_hosts";
    scene.host.wait_for("the reason", || scene.host.log().contains(line));

    let admin = scene.host.admin;
    let scene = Scene {
        service: scene.host.deploy("asks", "async-faults", json!({"sandbox": {"allow_hosts": [admin.to_string()]}})),
        host: scene.host,
    };
    let fetched = scene.send("GET", &format!("/fetch?http://{admin}/healthz"), b"").text();
    assert!(fetched.starts_with("200 "), "{fetched}");
}
