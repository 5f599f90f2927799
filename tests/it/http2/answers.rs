//! Answers that a processor streams, over HTTP/2.

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{call, connect};
use crate::host::{Deployed, TestHost};

/// The pieces and the trailers of an answer, and the reason of its reset, if it was reset.
async fn read(
    host: &TestHost,
    service: &Deployed,
    path: &str,
    body: &Value,
) -> (Vec<Bytes>, HeaderMap, Option<Reason>) {
    let mut client = connect(host).await.ready().await.unwrap();
    let mut request = call(service);
    *request.uri_mut() = format!("http://test{}{path}", service.path).parse().unwrap();
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data(body.to_string().into(), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    assert_eq!((head.status.as_u16(), head.headers.get("content-length")), (200, None));
    let mut pieces = Vec::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => pieces.push(piece),
            Err(error) => return (pieces, HeaderMap::new(), error.reason()),
        }
    }
    (pieces, body.trailers().await.unwrap().unwrap_or_default(), None)
}

#[tokio::test]
async fn a_stream_comes_piece_by_piece_and_is_reset_if_its_guest_fails() {
    let host = TestHost::start_with(&["--http2"], "");
    let service = host.deploy("faults", "faults", json!({}));
    for (end, reason) in [("ok", None), ("trap", Some(Reason::INTERNAL_ERROR)), ("error", Some(Reason::INTERNAL_ERROR))]
    {
        let deed = json!({"do": "stream", "pieces": 2, "bytes": 3, "pause_ms": 50, "end": end});
        let (pieces, _, reset) = read(&host, &service, "", &deed).await;
        assert_eq!((pieces, reset), (vec!["aaa".into(), "bbb".into()], reason), "{end}");
    }
    for (status, count) in [(200, 1), (400, 1), (422, 1)] {
        let line = format!("bulkhead_requests_total{{service=\"faults\",status=\"{status}\"}}");
        host.wait_for(&format!("{status} to count"), || host.metric(&line) == count);
    }
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_component() {
    let host = TestHost::start_with(&["--http2"], "");
    let service = host.deploy("parts", "http-faults", json!({}));
    let mut client = connect(&host).await.ready().await.unwrap();
    let mut request = call(&service);
    *request.uri_mut() = format!("http://test{}/echo", service.path).parse().unwrap();
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data("hello".into(), false).unwrap();
    let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())]);
    stream.send_trailers(sum.clone()).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap_or_default(), sum);
}

/// The client keeps its request open; the guest still reads it after its answer.
#[tokio::test]
async fn a_request_breaks_off_for_its_guest_when_the_answer_has_been_sent() {
    let host = TestHost::start_with(&["--http2"], "");
    let rpc = json!({"rpc": {"worker_threads": 1, "keepalive": 300_000}});
    let service = host.deploy("parts", "http-faults", json!({"metadata": rpc}));
    let mut client = connect(&host).await.ready().await.unwrap();
    let mut request = call(&service);
    *request.uri_mut() = format!("http://test{}/late", service.path).parse().unwrap();
    let (response, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data("abc".into(), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let busy = "bulkhead_workers_busy{service=\"parts\",instance=\"0\"}";
    host.wait_for("the worker to be free", || host.metric(busy) == 0);
}

#[tokio::test]
async fn trailers_end_an_answer() {
    let host = TestHost::start_with(&["--http2"], "");
    let service = host.deploy("parts", "http-faults", json!({}));
    let (pieces, trailers, reset) = read(&host, &service, "/trailers", &json!({})).await;
    assert_eq!((pieces.concat(), reset), (b"aaaaa".to_vec(), None));
    assert_eq!(trailers["x-checksum"], "42");
    let counted = "bulkhead_requests_total{service=\"parts\",status=\"200\"}";
    host.wait_for("it to count", || host.metric(counted) == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_its_stream_stops_the_guest() {
    let host = TestHost::start_with(&["--http2"], "");
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"worker_threads": 1}}}));
    let mut client = connect(&host).await.ready().await.unwrap();
    let (response, mut stream) = client.send_request(call(&service), false).unwrap();
    let deed = json!({"do": "stream", "pieces": 1, "pause_ms": 20, "end": "hang"});
    stream.send_data(deed.to_string().into(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    body.data().await.unwrap().unwrap();
    drop(body);
    stream.send_reset(Reason::CANCEL);
    let left = "bulkhead_requests_total{service=\"faults\",status=\"499\"}";
    tokio::task::block_in_place(|| host.wait_for("it to count", || host.metric(left) == 1));
}
