//! HTTP/2: off unless switched on; on, the same answers under the same limits, and no flood of cheap frames.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::figures;
use crate::host::{Deployed, SOON, TestHost};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression: RFC 7541 §6.2.2, names and values as they are.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

fn request_headers(service: &Deployed) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", &service.path),
        ("authorization", &service.token),
    ])
}

/// The frames of a flood, by number.
type Frames<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;

/// A client that speaks frames, and need not be polite.
struct Raw(TcpStream);

impl Raw {
    fn connect(host: &TestHost) -> Self {
        let stream = TcpStream::connect(host.data).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Self(stream);
        raw.0.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
        raw
    }

    /// Writes the frame that often, or until the host has had enough; says whether it has closed the connection.
    fn flood(&mut self, times: u32, frames: impl Fn(u32) -> Vec<u8>) -> bool {
        let mut reader = self.0.try_clone().unwrap();
        // The answers are read away, so that the host is never held up by them.
        let answers = std::thread::spawn(move || {
            let mut piece = [0; 16 << 10];
            while reader.read(&mut piece).is_ok_and(|count| count > 0) {}
        });
        let refused = (0..times).any(|number| self.0.write_all(&frames(number)).is_err());
        let closed = refused || answers_end(answers);
        let _ = self.0.shutdown(std::net::Shutdown::Both);
        closed
    }
}

/// Whether the reading thread came to its end within two seconds.
fn answers_end(answers: std::thread::JoinHandle<()>) -> bool {
    let end = std::time::Instant::now() + Duration::from_secs(2);
    while std::time::Instant::now() < end {
        if answers.is_finished() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

async fn connect(host: &TestHost) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(host.data).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A POST to the service with its token; the body follows.
fn call(service: &Deployed) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://test{}", service.path))
        .header("authorization", &service.token)
        .body(())
        .unwrap()
}

async fn post(client: &SendRequest<Bytes>, service: &Deployed, body: &[u8]) -> (u16, Vec<u8>) {
    let mut client = client.clone().ready().await.unwrap();
    let (response, mut stream) = client.send_request(call(service), false).unwrap();
    stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        whole.extend_from_slice(&piece);
    }
    (head.status.as_u16(), whole)
}

#[test]
fn s505_for_http2_where_it_is_not_switched_on() {
    let host = TestHost::start();
    let mut client = host.client();
    client.write(PREFACE);
    client.read("GET").assert_problem(505, "http_version_not_supported");
    assert!(client.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_on_it_answers_as_http1_does_on_the_same_port() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 400}}});
    let service = host.deploy("faults", "faults", keys);
    let client = connect(&host).await;
    let code = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["code"].clone();
    let large = vec![b'x'; 3 << 20];
    assert_eq!(post(&client, &echo, b"hello").await, (200, b"hello".to_vec()));
    assert_eq!(post(&client, &echo, &large).await, (200, large));
    let (status, body) = post(&client, &service, br#"{"do":"panic"}"#).await;
    assert_eq!((status, code(&body)), (400, json!("processor_exception")));
    let (status, body) = post(&client, &service, br#"{"do":"loop"}"#).await;
    assert_eq!((status, code(&body)), (408, json!("deadline_exceeded")));
    let (status, body) = post(&client, &Deployed { token: "wrong".into(), ..echo.clone() }, b"x").await;
    assert_eq!((status, code(&body)), (401, json!("unauthorized")));
    assert_eq!(post(&client, &echo, b"after all that").await.0, 200);
    tokio::task::block_in_place(|| {
        assert_eq!(host.client().post(&echo, b"one").body, b"one");
        let mut slow = host.client();
        slow.write(b"PRI * HT");
        slow.write(b"TP/1.1\r\n\r\n");
        slow.read("GET").assert_problem(501, "not_implemented");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_share_a_connection_and_each_gets_its_own_answer() {
    let host = TestHost::start_with(&["--http2"], "");
    let keys = json!({"metadata": {"rpc": {"worker_threads": 4, "max_queue_size": 100}}});
    let echo = host.deploy("echo", "echo", keys);
    let client = connect(&host).await;
    let calls: Vec<_> = (0..90)
        .map(|number| {
            let (client, echo) = (client.clone(), echo.clone());
            tokio::spawn(async move { post(&client, &echo, format!("{number}").as_bytes()).await })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), (200, format!("{number}").into_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_stops_its_guest_and_is_a_499() {
    let host = TestHost::start_with(&["--http2"], "");
    let keys = json!({"metadata": {"rpc": {"worker_threads": 1, "keepalive": 60_000}}});
    let service = host.deploy("faults", "faults", keys);
    let client = connect(&host).await;
    let (response, mut stream) = client.clone().ready().await.unwrap().send_request(call(&service), false).unwrap();
    stream.send_data(Bytes::from_static(br#"{"do":"loop"}"#), true).unwrap();
    tokio::task::block_in_place(|| {
        let busy = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";
        host.wait_for("the guest to run", || host.metric(busy) == 1);
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        host.wait_for("the 499", || host.metric("bulkhead_requests_total{service=\"faults\",status=\"499\"}") == 1);
        host.wait_for("the worker to be free", || host.metric(busy) == 0);
    });
    assert_eq!(post(&client, &service, br#"{"do":"flag"}"#).await.0, 200);
}

#[test]
fn floods_of_cheap_frames_end_the_connection_and_no_other() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let headers = request_headers(&echo);
    let mut other = host.client();
    let open_and_reset = |number: u32| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let floods: [(&str, Frames<'_>); 5] = [
        ("ping", Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("reset", Box::new(open_and_reset)),
        (
            "continuation",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_STREAM, 1, &[]),
                _ => frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
            }),
        ),
        (
            "empty_data",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_HEADERS, 1, &headers),
                _ => frame(0, 0, 1, &[]),
            }),
        ),
    ];
    for (name, frames) in floods {
        let ended = Raw::connect(&host).flood(20_000, frames);
        figures::must(&format!("http2.flood_ended.{name}"), "the connection is closed", ended, ended);
        assert_eq!(other.post(&echo, b"unharmed").body, b"unharmed");
    }
}
