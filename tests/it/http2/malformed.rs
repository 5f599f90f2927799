//! Malformed requests end their stream or their connection, and requests that HTTP/1 refuses are refused in the same
//! way.

use http::{Method, Request};
use serde_json::{Value, json};

use super::raw::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM, Raw, block, frame,
    request_headers, request_headers_with,
};
use super::{ask, call, connect, post};
use crate::figures;
use crate::host::TestHost;

/// The scope of the error that answers a malformed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stream,
    Connection,
}

/// Returns the frame by which the host ends stream 1 or its connection.
fn end(raw: &mut Raw) -> Option<Frame> {
    raw.next_that(|frame| frame.kind == GOAWAY || (frame.stream == 1 && frame.kind != super::raw::WINDOW_UPDATE))
}

#[test]
fn a_malformed_request_ends_its_stream_and_a_malformed_block_the_connection() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let with = |name: &str, value: &str| request_headers_with(&echo, &[(name, value)]);
    let without_path = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "test")]);
    let rows: [(&str, Vec<u8>, End); 16] = [
        ("connection", with("connection", "close"), End::Stream),
        ("keep_alive", with("keep-alive", "timeout=5"), End::Stream),
        ("proxy_connection", with("proxy-connection", "close"), End::Stream),
        ("transfer_encoding", with("transfer-encoding", "chunked"), End::Stream),
        ("upgrade", with("upgrade", "h2c"), End::Stream),
        ("te_gzip", with("te", "gzip"), End::Stream),
        ("no_path", without_path, End::Stream),
        ("empty_path", block(&[(":method", "GET"), (":scheme", "http"), (":path", "")]), End::Stream),
        ("more_data_than_length", with("content-length", "1"), End::Stream),
        ("less_data_than_length", with("content-length", "9"), End::Stream),
        ("length_is_no_number", with("content-length", "three"), End::Stream),
        ("uppercase_name", with("X-Upper", "y"), End::Connection),
        ("space_in_name", with("x y", "z"), End::Connection),
        ("crlf_in_value", with("x", "a\r\nb: c"), End::Connection),
        ("nul_in_value", with("x", "a\0b"), End::Connection),
        ("second_path", with(":path", "/"), End::Stream),
    ];
    let mut right = 0;
    for (name, headers, expected) in &rows {
        let mut raw = Raw::connect(&host);
        raw.send(&frame(HEADERS, END_HEADERS, 1, headers));
        raw.send(&frame(DATA, END_STREAM, 1, b"abc"));
        let ended = end(&mut raw).unwrap_or_else(|| panic!("{name}: the connection ended without a word"));
        let how = match ended.kind {
            RST_STREAM => End::Stream,
            GOAWAY => End::Connection,
            kind => panic!("{name}: answered with a frame of kind {kind}"),
        };
        assert_eq!((how, ended.error()), (*expected, PROTOCOL_ERROR), "{name}");
        if how == End::Stream {
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &request_headers(&echo)));
            assert!(raw.next_that(|frame| frame.stream == 3 && frame.ends_stream()).is_some(), "{name}: the next one");
        } else {
            assert!(raw.next_that(|_| false).is_none(), "{name}: the connection is closed");
        }
        right += 1;
    }
    assert_eq!(host.client().post(&echo, b"unharmed").body, b"unharmed");
    figures::must("http2.malformed", &format!("{} of {}", rows.len(), rows.len()), right, right == rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http1_refuses_is_refused_alike() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let client = connect(&host).await;
    let request = |method: &str, more: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri = format!("http://test{}{more}", echo.path);
        Request::builder().method(method).uri(uri).header("authorization", &echo.token).body(()).unwrap()
    };
    let refused = async |request: Request<()>, status: u16, code: &str| {
        let (got, body) = ask(&client, request).await;
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{}", String::from_utf8_lossy(&body));
    };
    refused(request("FROB", ""), 501, "not_implemented").await;
    refused(request("TRACE", ""), 405, "method_not_allowed").await;
    refused(request("GET", &format!("/{}", "x".repeat(8 << 10))), 414, "target_too_long").await;
    let mut expecting = request("POST", "");
    expecting.headers_mut().insert("expect", "200-ok".parse().unwrap());
    refused(expecting, 417, "expectation_failed").await;
    let mut crowded = request("GET", "");
    for number in 0..100 {
        let name: http::HeaderName = format!("x-{number}").parse().unwrap();
        crowded.headers_mut().insert(name, "y".parse().unwrap());
    }
    refused(crowded, 431, "headers_too_large").await;
    assert_eq!(post(&client, &echo, b"after all that").await, (200, b"after all that".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_head_has_its_length_and_no_body() {
    let host = TestHost::start_with(&["--http2"], "");
    let faults = host.deploy("faults", "faults", json!({"sandbox": {"methods": ["HEAD", "POST"]}}));
    let client = connect(&host).await;
    let mut head = call(&faults);
    *head.method_mut() = Method::HEAD;
    let mut sender = client.clone().ready().await.unwrap();
    let response = sender.send_request(head, true).unwrap().0.await.unwrap();
    assert!(response.headers().contains_key("content-length"));
    assert!(response.body().is_end_stream(), "{response:?}");
}
