//! Components of `wasi:http`, which were written for any host.

use bulkhead::coding::Coding;
use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::hostile_http::Leave;
use crate::http::{Client, Response};

struct Scene {
    host: TestHost,
    service: Deployed,
}

impl Scene {
    fn set() -> Self {
        Self::with(json!({}))
    }

    fn with(keys: Value) -> Self {
        let host = TestHost::start();
        let mut keys = keys;
        if keys["metadata"].is_null() {
            keys["metadata"] = json!({"rpc": {"worker_threads": 1, "keepalive": 20_000}});
        }
        let service = host.deploy("parts", "http-faults", keys);
        Self { host, service }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.service.path)
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.send_on(&mut self.host.client(), method, path, body)
    }

    fn send_on(&self, client: &mut Client, method: &str, path: &str, body: &[u8]) -> Response {
        client.send(method, &self.path(path), &[("authorization", &self.service.token), ("x-seen", "yes")], body)
    }

    /// Asks for a stream; the answer is not read.
    fn ask(&self, path: &str) -> Client {
        let mut client = self.host.client();
        client.write(&crate::http::request("GET", &self.path(path), &[("authorization", &self.service.token)], b""));
        client
    }

    /// Waits for the log line of the request to this path.
    fn logged(&self, path: &str) -> String {
        let find = || {
            let log = self.host.log();
            let line = log.lines().find(|line| line.contains(" INFO request ") && line.contains(&self.path(path)))?;
            Some(line.to_owned())
        };
        self.host.wait_for(&format!("a line of {path}"), || find().is_some());
        find().unwrap()
    }
}

#[test]
fn a_component_sees_its_request_and_answers_it() {
    let scene = Scene::set();
    let answer = scene.send("POST", "/request?a=1&b=%20", b"hello");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")), "{}", answer.text());
    let text = answer.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Method::Post /request?a=1&b=%20 Some(Scheme::Http) \"test\""));
    assert!(lines.any(|line| line == "x-seen: yes") && text.contains("content-length: 5"), "{text}");
    assert!(!text.contains(&scene.service.token), "a caller's secret is not the processor's: {text}");
    assert_eq!((answer.header("x-mine"), answer.header("server")), (Some("kept"), None));
    assert!(answer.header("x-request-id").is_some());

    let root = scene.send("GET", "", b"");
    assert_eq!((root.status, root.text()), (404, "there is nothing at this path".to_owned()));
    for (code, status) in [(204, 204), (304, 304), (422, 422), (599, 599)] {
        assert_eq!(scene.send("GET", &format!("/status?code={code}"), b"").status, status);
    }
    let echoed = scene.send("POST", "/echo", &[7; 300_000]);
    assert_eq!((echoed.status, echoed.body.len()), (200, 300_000));
}

#[test]
fn events_come_one_by_one() {
    let scene = Scene::set();
    let mut client = scene.ask("/events?pieces=3&pause_ms=60");
    let head = client.read_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    for index in 0..3 {
        assert_eq!(client.next_chunk().unwrap(), format!("data: {index}\n\n").as_bytes());
    }
    assert_eq!(client.next_chunk().unwrap(), b"");
    let line = scene.logged("/events");
    assert!(line.contains(" status=200 ") && line.contains(" chunks=3"), "{line}");
}

#[test]
fn an_answer_that_is_not_finished_is_cut_off() {
    let scene = Scene::with(json!({"sandbox": {"trap_status": 470, "stream_idle_ms": 300}}));
    for (end, status, cause) in [
        ("trap", 470, "unreachable"),
        ("panic", 470, "unreachable"),
        ("drop", 470, "the body of its answer was given up"),
        ("forget", 470, "it returned without finishing the body of its answer"),
        ("hang", 408, "sandbox.stream_idle_ms"),
    ] {
        let path = format!("/stream?pieces=2&bytes=4&pause_ms=40&end={end}");
        let mut client = scene.ask(&path);
        assert_eq!(client.read_head().status, 200);
        assert_eq!(client.next_chunk().unwrap(), b"aaaa");
        assert_eq!(client.next_chunk().unwrap(), b"bbbb");
        assert_eq!(client.next_chunk(), None, "{end}");
        let find =
            || scene.host.log().lines().filter(|line| line.contains(cause) && line.contains(" cut=true")).count();
        scene.host.wait_for(&format!("{end} with {cause}"), || find() == 1 || end == "panic" && find() == 2);
        let counted = format!("bulkhead_requests_total{{service=\"parts\",status=\"{status}\"}}");
        assert!(scene.host.metric(&counted) > 0, "{end}");
    }
    assert_eq!(scene.send("POST", "/echo", b"x").body, b"x");
}

#[test]
fn a_declared_length_is_kept() {
    let scene = Scene::set();
    let right = scene.send("GET", "/length?length=5&pause_ms=30", b"");
    assert_eq!((right.header("content-length"), right.body.as_slice()), (Some("5"), &b"aaaaa"[..]));
    for length in [4, 6] {
        let mut client = scene.ask(&format!("/length?length={length}&pause_ms=30"));
        let head = client.read_head();
        if head.status == 200 {
            assert_eq!(head.header("content-length"), Some(&*length.to_string()));
            let (body, _) = client.read_until_close();
            assert!(body.len() < length, "{length}: it must not look complete: {body:?}");
        } else {
            assert_eq!(head.status, 400, "{head:?}");
        }
    }
}

/// A client that has as many bytes as the head declares takes the answer for complete, and uses the connection again. So
/// the last ones wait for the end of the guest's body.
#[test]
fn a_declared_length_is_not_reached_before_the_answer_is_complete() {
    let scene = Scene::with(json!({"sandbox": {"stream_idle_ms": 300}}));
    let mut client = scene.ask("/length?length=5&pause_ms=60000");
    assert_eq!(client.read_head().header("content-length"), Some("5"));
    assert_eq!(client.read_until_close().0, b"");
    let line = scene.logged("/length");
    assert!(line.contains(" status=408 ") && line.contains(" cut=true"), "{line}");

    // No bytes at all are an answer that is complete with its head.
    let mut client = scene.ask("/length?length=0&bytes=0&pause_ms=60000");
    let head = client.read_head();
    assert_eq!((head.header("content-length"), head.header("transfer-encoding")), (None, Some("chunked")));
    assert_eq!(client.next_chunk(), None);
}

/// The guest has not read its request, so nobody reads on the connection.
#[test]
fn a_client_that_leaves_an_unread_request_stops_the_guest() {
    for (rest, leave) in [("", Leave::Fin), ("", Leave::Rst), ("0\r\n\r\n", Leave::Fin), ("0\r\n\r\n", Leave::Rst)] {
        let scene = Scene::set();
        let (path, token) = (scene.path("/stream?pieces=1&bytes=4&end=hang"), &scene.service.token);
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut client = scene.host.client();
        client.write(head.as_bytes());
        assert_eq!(client.read_head().status, 200);
        client.write(format!("5\r\nhello\r\n{rest}").as_bytes());
        assert_eq!(client.next_chunk().unwrap(), b"aaaa");

        // This one waits for the worker.
        let mut waiting = scene.host.client();
        waiting.write(head.as_bytes());
        waiting.write(b"5\r\nhello\r\n");
        let queued = "bulkhead_queue_depth{service=\"parts\",instance=\"0\"}";
        scene.host.wait_for("it to wait", || scene.host.metric(queued) == 1);
        leave.now(waiting);
        scene.host.wait_for("it to leave the queue", || scene.host.metric(queued) == 0);

        leave.now(client);
        let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
        scene.host.wait_for("the worker to be free", || scene.host.metric(busy) == 0);
        let left = "bulkhead_requests_total{service=\"parts\",status=\"499\"}";
        scene.host.wait_for("both to count", || scene.host.metric(left) == 2);
    }
}

#[test]
fn trailers_go_to_clients_that_accept_them() {
    let scene = Scene::set();
    for (te, expected) in [("trailers", "0\r\nx-checksum: 42\r\n\r\n"), ("gzip", "0\r\n\r\n")] {
        let mut client = scene.host.client();
        let headers = [("authorization", scene.service.token.as_str()), ("te", te)];
        client.write(&crate::http::request("GET", &scene.path("/trailers"), &headers, b""));
        assert_eq!(client.read_head().header("transfer-encoding"), Some("chunked"));
        assert_eq!(client.next_chunk().unwrap(), b"aaaaa");
        assert_eq!(client.read_bytes(expected.len()).unwrap(), expected.as_bytes(), "{te}");
        // Nothing else follows.
        assert_eq!(scene.send_on(&mut client, "POST", "/echo", b"x").body, b"x");
    }
}

/// `/echo` sends back the trailers of its request.
#[test]
fn trailers_of_a_request_reach_the_component() {
    let host = TestHost::start_with(&["--wasi-0.3"], "");
    for guest in ["http-faults", "async-faults"] {
        let service = host.deploy(guest, guest, json!({}));
        let (path, token) = (format!("{}/echo", service.path), &service.token);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        for (sent, returned) in [("x-sum: 42\r\nAuthorization: no\r\n", "x-sum: 42\r\n"), ("", "")] {
            let mut client = host.client();
            client.write(head.as_bytes());
            client.write(b"5\r\nhello\r\n");
            assert_eq!(client.read_head().status, 200, "{guest}");
            assert_eq!(client.next_chunk().unwrap(), b"hello");
            client.write(format!("0\r\n{sent}\r\n").as_bytes());
            let rest = format!("0\r\n{returned}\r\n");
            assert_eq!(String::from_utf8(client.read_bytes(rest.len()).unwrap()).unwrap(), rest, "{guest}");
        }
    }
}

#[test]
fn a_component_that_does_not_answer_is_refused_for() {
    let scene = Scene::set();
    let nothing = scene.send("GET", "/nothing", b"");
    nothing.assert_problem(400, "processor_exception");
    assert!(nothing.text().contains("it returned without an answer"), "{}", nothing.text());
    let error = scene.send("GET", "/error", b"");
    assert_eq!(error.status, 400);
    assert!(error.text().contains("asked to fail"), "{}", error.text());
}

#[test]
fn each_request_gets_an_instance_of_its_own_unless_the_file_says_otherwise() {
    for (sandbox, last) in
        [(json!({}), "1"), (json!({"isolation": "fresh"}), "1"), (json!({"isolation": "reuse"}), "3")]
    {
        let scene = Scene::with(json!({"sandbox": sandbox}));
        let calls: Vec<String> = (0..3).map(|_| scene.send("GET", "/calls", b"").text()).collect();
        assert_eq!((&*calls[0], &*calls[2]), ("1", last), "{sandbox}");
    }
}

/// The guest answers each piece as it comes, long before the end of the request.
#[test]
fn a_request_is_read_while_it_arrives() {
    let scene = Scene::set();
    let mut client = scene.host.client();
    let (path, token) = (scene.path("/echo"), &scene.service.token);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n");
    client.write(head.as_bytes());
    client.write(b"5\r\nhello\r\n");
    assert_eq!(client.read_head().status, 200);
    assert_eq!(client.next_chunk().unwrap(), b"hello");
    client.write(b"6\r\n again\r\n");
    assert_eq!(client.next_chunk().unwrap(), b" again");
    client.write(b"0\r\n\r\n");
    assert_eq!(client.next_chunk().unwrap(), b"");
    let line = scene.logged("/echo");
    assert!(line.contains(" bytes_in=11 ") && line.contains(" bytes_out=11 "), "{line}");
}

#[test]
fn a_request_that_breaks_off_or_is_too_large_is_the_clients_fault() {
    let scene = Scene::with(json!({"sandbox": {"max_request_bytes": 1000}, "metadata": {"rpc": {"keepalive": 1500}}}));
    let (path, token) = (scene.path("/request?read=1"), &scene.service.token);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut client = scene.host.client();
    client.write(head.as_bytes());
    client.write(format!("3e9\r\n{}\r\n", "x".repeat(1001)).as_bytes());
    client.read("POST").assert_problem(413, "body_too_large");

    let mut client = scene.host.client();
    client.write(head.as_bytes());
    client.write(b"5\r\nhello\r\n");
    client.write(b"zz\r\n");
    client.read("POST").assert_problem(400, "bad_request");

    // What is announced and does not fit is not awaited.
    let mut client = scene.host.client();
    client.write(head.as_bytes());
    client.write(b"7fffffff\r\nabc");
    client.read("POST").assert_problem(413, "body_too_large");

    // A body that never ends is stopped by the deadline of the head.
    let mut client = scene.host.client();
    client.write(head.as_bytes());
    client.write(b"5\r\nhello\r\n");
    client.read("POST").assert_problem(408, "deadline_exceeded");

    // A client that leaves in the middle of its request takes the call with it.
    let mut client = scene.host.client();
    client.write(head.as_bytes());
    client.write(b"5\r\nhello\r\n");
    scene
        .host
        .wait_for("it to run", || scene.host.metric("bulkhead_workers_busy{service=\"parts\",instance=\"0\"}") == 1);
    drop(client);
    let left = "bulkhead_requests_total{service=\"parts\",status=\"499\"}";
    scene.host.wait_for("it to count", || scene.host.metric(left) == 1);

    let declared = scene.send("POST", "/echo", &[1; 1001]);
    declared.assert_problem(413, "body_too_large");
}

#[test]
fn a_client_that_leaves_while_its_request_is_worked_on_is_noticed() {
    let scene = Scene::with(json!({"metadata": {"rpc": {"keepalive": 300_000}}}));
    let (path, token) = (scene.path("/swallow"), &scene.service.token);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ntransfer-encoding: chunked\r\n\r\n");
    // The end of the body comes with its head, before the guest waits for it, while the guest waits for it.
    for (index, pieces) in
        [&["0\r\n\r\n"][..], &["5\r\nhello\r\n", "0\r\n\r\n"], &["", "5\r\nhello\r\n0\r\n\r\n"]].into_iter().enumerate()
    {
        let mut client = scene.host.client();
        client.write(format!("{head}{}", pieces[0]).as_bytes());
        if let Some(second) = pieces.get(1) {
            let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
            scene.host.wait_for("it to run", || scene.host.metric(busy) == 1);
            client.write(second.as_bytes());
        }
        scene.host.wait_for("it to be read", || scene.host.log().matches("the body is read").count() == index + 1);
        drop(client);
        let left = "bulkhead_requests_total{service=\"parts\",status=\"499\"}";
        scene.host.wait_for("it to count", || scene.host.metric(left) == index as u64 + 1);
    }
}

#[test]
fn a_guest_that_reads_its_request_after_its_answer_does_not_wait_for_ever() {
    let scene = Scene::with(json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 300_000}}}));
    for round in 1..=3 {
        let mut client = scene.host.client();
        let (path, token) = (scene.path("/late"), &scene.service.token);
        client.write(
            format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ncontent-length: 50\r\n\r\nabc")
                .as_bytes(),
        );
        assert_eq!(client.read_head().status, 200);
        // The host closes a connection whose request is not whole.
        client.read_until_close();
        let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
        scene.host.wait_for("the worker to be free", || scene.host.metric(busy) == 0);
        let counted = "bulkhead_requests_total{service=\"parts\",status=\"200\"}";
        scene.host.wait_for("it to count", || scene.host.metric(counted) == round);
    }
}

/// An encoded body is decoded before the guest sees it, and so arrives as a whole.
#[test]
fn an_encoded_request_arrives_decoded() {
    let scene = Scene::set();
    let packed = crate::codings::coded(Coding::Gzip, b"hello hello hello");
    let mut client = scene.host.client();
    let headers = [("authorization", scene.service.token.as_str()), ("content-encoding", "gzip")];
    assert_eq!(client.send("POST", &scene.path("/echo"), &headers, &packed).text(), "hello hello hello");
}

#[test]
fn an_answer_that_does_not_wait_for_its_request_comes_early() {
    let scene = Scene::set();
    let mut client = scene.host.client();
    let (path, token) = (scene.path("/early"), &scene.service.token);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ncontent-length: 1000000\r\n\r\nhello");
    client.write(head.as_bytes());
    let answer = client.read("POST");
    assert_eq!((answer.status, answer.closes()), (200, true));
}

#[test]
fn work_after_the_answer_goes_on_while_the_client_has_all_of_it() {
    let scene = Scene::with(json!({"sandbox": {"stream_idle_ms": 200}}));
    let mut client = scene.host.client();
    let answer = scene.send_on(&mut client, "GET", "/after?pause_ms=700", b"");
    assert_eq!(answer.body, b"aaaaa");
    assert_eq!(scene.host.metric("bulkhead_workers_busy{service=\"parts\",instance=\"0\"}"), 1);
    drop(client);
    scene.host.wait_for("the rest of the work", || scene.host.log().contains("the work after the answer is done"));
}

#[test]
fn a_request_without_a_host_has_an_authority_too() {
    let scene = Scene::set();
    let mut client = scene.host.client();
    client.write(
        format!("GET {} HTTP/1.0\r\nauthorization: {}\r\n\r\n", scene.path("/request"), scene.service.token).as_bytes(),
    );
    let answer = client.read("GET");
    assert!(answer.text().starts_with("Method::Get /request Some(Scheme::Http) \"localhost\""), "{}", answer.text());
}

#[test]
fn a_component_reads_its_configuration_and_logs() {
    let scene =
        Scene::with(json!({"processor_envs": [{"name": "LEVEL", "value": "high"}, {"name": "B", "value": "1"}]}));
    assert_eq!(scene.send("GET", "/config?LEVEL", b"").text(), "high");
    assert_eq!(scene.send("GET", "/config?OTHER", b"").text(), "none of 2 values");
    let line = || scene.host.log().lines().find(|line| line.contains("config: LEVEL was read")).map(str::to_owned);
    scene.host.wait_for("it to be logged", || line().is_some());
    let line = line().unwrap();
    assert!(line.contains(" WARN processor: ") && line.contains("request_id="), "{line}");
}

/// Functions of the host cost no fuel, so their work is counted, and the guest yields.
#[test]
fn a_guest_that_lets_the_host_work_is_stopped_at_its_deadline() {
    let scene = Scene::with(json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 1500}}}));
    scene.send("GET", "/churn", b"").assert_problem(408, "deadline_exceeded");
    assert_eq!(scene.send("POST", "/echo", b"x").body, b"x");
}

#[test]
fn a_batching_service_cannot_have_such_a_component() {
    let host = TestHost::start();
    let refused = host.try_deploy("parts", "http-faults", json!({"metadata": {"rpc": {"batching": true}}}));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("metadata.rpc.batching"), "{}", refused.text());
}
