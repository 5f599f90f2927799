//! HTTP/2: off by default. If it is on, the answers and limits are the same, and floods of cheap frames are stopped.

mod answers;
mod heads;
mod malformed;
mod raw;
mod streams;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use serde_json::{Value, json};

use self::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS, block, frame,
    request_headers,
};
use crate::figures;
use crate::host::{Deployed, TestHost};

/// The frames of a flood, made from a counter.
type Frames<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;

async fn connect(host: &TestHost) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(host.data).await.unwrap();
    // HTTP/2 clients set this option too. Windows are small, and most of the time would be spent waiting for TCP
    // acknowledgements.
    stream.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Makes a POST to the service with its token; the body follows separately.
fn call(service: &Deployed) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://test{}", service.path))
        .header("authorization", &service.token)
        .body(())
        .unwrap()
}

/// Sends a request without a body, and returns the status and the body of the answer.
async fn ask(client: &SendRequest<Bytes>, request: Request<()>) -> (u16, Vec<u8>) {
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    whole(response).await
}

async fn post(client: &SendRequest<Bytes>, service: &Deployed, body: &[u8]) -> (u16, Vec<u8>) {
    let mut client = client.clone().ready().await.unwrap();
    let (response, mut stream) = client.send_request(call(service), false).unwrap();
    stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    whole(response).await
}

async fn whole(response: h2::client::ResponseFuture) -> (u16, Vec<u8>) {
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
                _ => frame(DATA, 0, 1, &[]),
            }),
        ),
    ];
    for (name, frames) in floods {
        let ended = Raw::connect(&host).flood(20_000, frames);
        figures::must(&format!("http2.flood_ended.{name}"), "the connection is closed", ended, ended);
        assert_eq!(other.post(&echo, b"unharmed").body, b"unharmed");
    }
}
