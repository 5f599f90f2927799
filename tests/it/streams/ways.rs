//! The ways that a stream can take: other versions of HTTP, a gateway, a queue, a mirror, a batch.

use std::fs;

use serde_json::json;

use super::{Scene, read_rest, read_stream_head};
use crate::gateway::config;
use crate::host::TestHost;
use crate::http::request;

#[test]
fn http_1_0_gets_a_stream_that_ends_with_its_connection() {
    let scene = Scene::set();
    for (end, is_reset) in [("ok", false), ("trap", true)] {
        let deed = json!({"do": "stream", "pieces": 2, "bytes": 3, "pause_ms": 30, "end": end}).to_string();
        let text = String::from_utf8(request(
            "POST",
            &scene.service.path,
            &[("authorization", &scene.service.token)],
            deed.as_bytes(),
        ))
        .unwrap();
        let mut client = scene.host.client();
        client.write(text.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
        let head = client.read_head();
        assert_eq!(
            (head.status, head.header("transfer-encoding"), head.header("connection")),
            (200, None, Some("close"))
        );
        let (body, was_reset) = client.read_until_close();
        assert_eq!(was_reset, is_reset, "{end}");
        if !is_reset {
            assert_eq!(body, b"aaabbb");
        }
    }
}

/// The end of the connection would mark the end of the answer, so whatever cuts it off resets the connection.
#[test]
fn http_1_0_never_takes_a_part_of_a_stream_for_the_whole() {
    let begin = |scene: &Scene, deed: &serde_json::Value| {
        let headers = [("authorization", scene.service.token.as_str())];
        let text = request("POST", &scene.service.path, &headers, deed.to_string().as_bytes());
        let mut client = scene.host.client();
        client.write(String::from_utf8(text).unwrap().replace("HTTP/1.1", "HTTP/1.0").as_bytes());
        assert_eq!(client.read_head().status, 200);
        client
    };
    // The client does not read for longer than the host waits.
    let scene = Scene::on(TestHost::start_with(&["--write-timeout", "1s"], ""), json!({}));
    let mut client = begin(&scene, &json!({"do": "stream", "pieces": 1_000_000, "bytes": 65_536}));
    scene.wait_until_idle();
    assert!(client.read_until_close().1, "a client that stalls");
    scene.logged(499);

    // The host ends.
    let scene = Scene::on(TestHost::start_with(&["--grace", "100ms"], ""), json!({}));
    let mut client = begin(&scene, &json!({"do": "stream", "pieces": 1, "bytes": 3, "end": "hang", "pause_ms": 20}));
    crate::host::terminate(scene.host.pid());
    assert!(client.read_until_close().1, "the end of the host");
    let line = scene.logged(503);
    assert!(line.contains(" code=draining ") && line.contains(" cut=true"), "{line}");
    scene.host.wait_until_ended();
}

#[test]
fn head_gets_the_head_and_stops_the_guest() {
    let host = TestHost::start();
    let service = host.deploy("parts", "http-faults", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    let mut client = host.client();
    let (path, token) =
        (format!("{}/stream?pieces=1000&pause_ms=20", service.path), [("authorization", &*service.token)]);
    let answer = client.send("HEAD", &path, &token, b"");
    assert_eq!((answer.status, answer.header("content-length")), (200, None));
    let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
    host.wait_for("the worker to be free", || host.metric(busy) == 0);
    assert_eq!(client.send("GET", &format!("{}/early", service.path), &token, b"").status, 200);
}

/// The gateway holds nothing back, and a stream that is cut off stays one.
#[test]
fn a_gateway_passes_each_piece_on_as_it_comes() {
    let scene = Scene::set();
    let gateway = TestHost::start_gateway(&config(&[scene.host.data], json!({})), &[]);
    for (end, is_complete) in [("ok", true), ("trap", false)] {
        let mut client = gateway.client();
        scene.ask_on(&mut client, &json!({"pieces": 3, "bytes": 2, "pause_ms": 60, "end": end}));
        read_stream_head(&mut client);
        assert_eq!(client.next_chunk().unwrap(), b"aa");
        assert_eq!(read_rest(&mut client), (b"bbcc".to_vec(), is_complete), "{end}");
    }
    // This guest ends only when its client leaves, so its piece was not held back.
    let mut client = gateway.client();
    scene.ask_on(&mut client, &json!({"pieces": 1, "bytes": 2, "pause_ms": 20, "end": "linger"}));
    read_stream_head(&mut client);
    assert_eq!(client.next_chunk().unwrap(), b"aa");
    drop(client);
    scene.host.wait_for("it to count", || scene.counted(499) == 1);
}

#[test]
fn a_batch_gives_whole_answers() {
    let host = TestHost::start();
    let rpc = json!({"batching": true, "max_batch_size": 2});
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}}));
    let answer = host.client().post(&service, br#"{"do":"stream"}"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("a service with metadata.rpc.batching gives whole answers"), "{}", answer.text());
}

#[test]
fn a_queue_keeps_the_whole_of_a_stream_as_its_result() {
    let host = TestHost::start();
    let service = host.deploy("faults", "faults", json!({"metadata": {"type": "Async"}}));
    let token = [("authorization", service.token.as_str())];
    let put = host.client().send("POST", &service.path, &token, br#"{"do":"stream","pieces":30,"bytes":10000}"#);
    assert_eq!(put.status, 200, "{}", put.text());
    let sink = format!("{}/sink?_raw_=true&_timeout_=20s", service.path);
    let result = host.client().send("GET", &sink, &token, b"");
    assert_eq!((result.status, result.body.len()), (200, 300_000), "{}", result.text().get(..200).unwrap_or_default());
    // A stream that is cut off gives no half result.
    let put =
        host.client().send("POST", &service.path, &token, br#"{"do":"stream","pieces":3,"pause_ms":20,"end":"trap"}"#);
    assert_eq!(put.status, 200);
    let result = host.client().send("GET", &sink, &token, b"");
    assert!(result.text().contains("unreachable"), "{}", result.text());
}

#[test]
fn a_copy_of_a_request_is_read_to_the_end() {
    let host = TestHost::start();
    host.deploy("copies", "faults", json!({}));
    let mirror = json!({"target": "copies", "ratio": 100});
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"mirror": mirror}}}));
    let scene = Scene { host, service };
    let mut client = scene.ask(&json!({"pieces": 20, "bytes": 10_000, "pause_ms": 2}));
    read_stream_head(&mut client);
    assert!(read_rest(&mut client).1);
    let copied = "bulkhead_requests_total{service=\"copies\",status=\"200\"}";
    scene.host.wait_for("the copy to count", || scene.host.metric(copied) == 1);
    let find = || scene.host.log().lines().find(|line| line.contains("mirrored=true")).map(str::to_owned);
    scene.host.wait_for("the copy to be logged", || find().is_some());
    let line = find().unwrap();
    assert!(line.contains(" bytes_out=200000 "), "{line}");
}

/// A component that was built before there was streaming.
#[test]
fn an_old_component_works_as_before() {
    let host = TestHost::start();
    let component = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/old/echo-0.1.0.wasm")).unwrap();
    let deployed = host.try_deploy_bytes("old", &component, json!({"token": "t"}));
    assert_eq!(deployed.status, 201, "{}", deployed.text());
    let answer = host.client().send("POST", "/api/predict/old", &[("authorization", "t")], b"hello");
    assert_eq!((answer.status, answer.body), (200, b"hello".to_vec()));
}
