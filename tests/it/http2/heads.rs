//! HTTP/2 heads have the same meaning as the same heads in HTTP/1: for the checks, the processor and an upstream.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::raw::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, block, frame};
use super::{ask, call, connect, whole};
use crate::gateway::config;
use crate::gateway::fake::Fake;
use crate::host::{Deployed, TestHost};

/// Returns the request as the processor of `faults` sees it, sent with these pseudo-headers and headers.
fn sight(host: &TestHost, faults: &Deployed, headers: &[(&str, &str)]) -> Value {
    let head = [
        &[(":method", "POST"), (":scheme", "http"), (":path", &*faults.path), ("authorization", &*faults.token)],
        headers,
    ];
    let mut head = head.concat();
    // Pseudo-headers must come first.
    head.sort_by_key(|(name, _)| !name.starts_with(':'));
    let mut raw = Raw::connect(host);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &block(&head)));
    raw.send(&frame(DATA, END_STREAM, 1, br#"{"do":"inspect"}"#));
    let answer = raw.next_that(|frame| frame.kind == DATA && !frame.payload.is_empty()).expect("an answer");
    serde_json::from_slice(&answer.payload).expect("what it sees, or why not")
}

/// Returns the values of a header that the processor sees.
fn values(sight: &Value, name: &str) -> Vec<String> {
    let seen: Vec<(String, String)> =
        serde_json::from_value(sight["headers"].clone()).unwrap_or_else(|_| panic!("no sight: {sight}"));
    seen.into_iter().filter(|(n, _)| n == name).map(|(_, value)| value).collect()
}

/// Processors and upstreams read `host`. HTTP/2 clients send `:authority` in its place, and cookies one by one.
#[test]
fn a_processor_sees_the_host_and_one_cookie_header() {
    let host = TestHost::start_with(&["--http2"], "");
    let faults = host.deploy("faults", "faults", json!({}));
    for (headers, expected) in [
        (&[(":authority", "svc.example:80")][..], "svc.example:80"),
        (&[(":authority", "svc.example"), ("host", "SVC.example:80")], "svc.example"),
        (&[("host", "svc.example")], "svc.example"),
    ] {
        assert_eq!(values(&sight(&host, &faults, headers), "host"), [expected], "{headers:?}");
    }
    let cookies = [(":authority", "a"), ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3; d=4")];
    assert_eq!(values(&sight(&host, &faults, &cookies), "cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_gets_the_host_and_one_cookie_header() {
    let upstream = Fake::echo();
    let gateway = TestHost::start_gateway(&config(&[upstream.address], json!({})), &["--http2"]);
    let client = connect(&gateway).await;
    let mut request = Request::post("http://svc.example/api/predict/any").body(()).unwrap();
    for cookie in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", cookie.parse().unwrap());
    }
    assert_eq!(ask(&client, request).await.0, 200);
    let asked = upstream.asked().remove(0);
    assert_eq!((asked.all("host"), asked.all("cookie")), (vec!["svc.example"], vec!["a=1; b=2"]));
}

/// The outcome of a request over HTTP/2.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Answered(u16),
    /// Reset by h2, for which it is not a valid request.
    Reset,
}

fn verdict(host: &TestHost, headers: &[(&str, &str)]) -> (Verdict, Value) {
    let mut raw = Raw::connect(host);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(headers)));
    let first = raw.next_that(|frame| frame.stream == 1 || frame.kind == GOAWAY).expect("an end");
    match first.kind {
        HEADERS if first.ends_stream() => (Verdict::Answered(200), Value::Null),
        HEADERS => {
            let body = raw.next_that(|frame| frame.kind == DATA && !frame.payload.is_empty()).expect("a body");
            let body: Value = serde_json::from_slice(&body.payload).expect("a problem");
            (Verdict::Answered(u16::try_from(body["status"].as_u64().expect("a status")).unwrap()), body)
        }
        RST_STREAM | GOAWAY => (Verdict::Reset, Value::Null),
        kind => panic!("a frame of kind {kind}"),
    }
}

fn open(host: &TestHost) -> Deployed {
    host.deploy("open", "echo", json!({"generate_token": false}))
}

#[test]
fn a_request_that_does_not_say_well_for_which_host_it_is_is_refused() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = open(&host);
    let asked = |headers: &[(&str, &str)]| {
        let usual = [(":method", "GET"), (":path", &*echo.path)];
        let mut head = [&usual[..], headers].concat();
        head.sort_by_key(|(name, _)| !name.starts_with(':'));
        verdict(&host, &head)
    };
    let http = (":scheme", "http");
    assert_eq!(asked(&[http, (":authority", "a")]).0, Verdict::Answered(200));
    for (headers, why) in [
        (&[http][..], "there is no Host header"),
        (&[http, ("host", "a"), ("host", "a")], "two Host headers"),
        (&[http, (":authority", "a"), ("host", "a"), ("host", "a")], "two Host headers"),
        (&[http, (":authority", "a"), ("host", "b")], "different hosts"),
        (&[http, (":authority", "a"), ("host", "a:443")], "different hosts"),
        (&[http, (":authority", "u@a")], "user information"),
        (&[http, (":authority", "u:p@a:80")], "user information"),
        (&[http, (":authority", "a"), ("host", "u@a")], "user information"),
        (&[http, (":authority", "a:99999")], "a port"),
        (&[http, ("host", "a/b")], "a host cannot have"),
        (&[(":scheme", "ftp"), (":authority", "a")], "neither http nor https"),
        (&[http, (":authority", "a"), ("content-length", "0"), ("content-length", "0")], "two Content-Length"),
    ] {
        let (verdict, problem) = asked(headers);
        assert_eq!(verdict, Verdict::Answered(400), "{headers:?}");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{headers:?}: {problem}");
    }
}

/// Both protocols must accept the same targets: each byte is tested over both.
#[test]
fn a_target_is_judged_alike_over_both_protocols() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = open(&host);
    for byte in 0..=0xff_u8 {
        for place in ["/x", "?x"] {
            let before = format!("{}{place}", echo.path);
            let target = [before.as_bytes(), &[byte], b"y"].concat();
            let mut client = host.client();
            client.write(&[b"GET ", &target[..], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
            let over_http1 = client.read("GET");
            let name = format!("{}", target.escape_ascii());
            if over_http1.status != 200 {
                let detail = over_http1.assert_problem(400, "bad_request")["detail"].as_str().unwrap().to_owned();
                if byte != b'\n' {
                    let told = [format!("at byte {}", before.len()), format!("%{byte:02X}")];
                    assert!(told.iter().all(|told| detail.contains(told)), "{name}: {detail}");
                }
            }
            let over_http2 = path_verdict(&host, &target);
            // h2 removes a fragment, which is harmless (see `http2/head.rs`).
            let expected =
                if byte == b'#' || over_http1.status == 200 { Verdict::Answered(200) } else { Verdict::Reset };
            assert_eq!(over_http2, expected, "{name}");
        }
    }
    for fine in ["/é", "?q=é", "/日本?x=日本"] {
        let target = format!("{}{fine}", echo.path);
        let mut client = host.client();
        client.write(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        assert_eq!(client.read("GET").status, 200, "{fine}");
        assert_eq!(path_verdict(&host, target.as_bytes()), Verdict::Answered(200), "{fine}");
    }
    let star = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
    assert_eq!(verdict(&host, &star).0, Verdict::Answered(400), "`*` goes with OPTIONS alone");
    let star = [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
    assert_eq!(verdict(&host, &star).0, Verdict::Answered(405));
    let no_path = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "?x")];
    assert_eq!(verdict(&host, &no_path).0, Verdict::Answered(400));
}

fn path_verdict(host: &TestHost, path: &[u8]) -> Verdict {
    let mut head = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]);
    head.extend_from_slice(&[0, 5]);
    head.extend_from_slice(b":path");
    head.push(u8::try_from(path.len()).unwrap());
    head.extend_from_slice(path);
    let mut raw = Raw::connect(host);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    match raw.next_that(|frame| frame.stream == 1 || frame.kind == GOAWAY).expect("an end").kind {
        HEADERS => Verdict::Answered(200),
        RST_STREAM | GOAWAY => Verdict::Reset,
        kind => panic!("a frame of kind {kind}"),
    }
}

/// The documented limits of 32 KiB and 100 headers, beyond which the refusal has the host's own body. Only above 128
/// KiB does h2 answer itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_be_as_large_as_in_http1() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let client = connect(&host).await;
    let with = |size: usize| {
        let mut request = call(&echo);
        request.headers_mut().insert("x-large", "y".repeat(size).parse().unwrap());
        request
    };
    for fine in [15 << 10, 17 << 10, 24 << 10, 31 << 10] {
        assert_eq!(ask(&client, with(fine)).await.0, 200, "{fine}");
    }
    for large in [32 << 10, 33 << 10, 64 << 10, 120 << 10] {
        let (status, body) = ask(&client, with(large)).await;
        let problem: Value = serde_json::from_slice(&body).expect("a problem");
        assert_eq!((status, problem["code"].as_str()), (431, Some("headers_too_large")), "{large}");
    }
    assert_eq!(ask(&client, with(129 << 10)).await, (431, Vec::new()));
    assert_eq!(ask(&client, with(1)).await.0, 200, "the connection goes on");
    // Cookies that are sent one by one are one header.
    let mut cookies = call(&echo);
    for number in 0..200 {
        cookies.headers_mut().append("cookie", format!("c{number}=x").parse().unwrap());
    }
    assert_eq!(ask(&client, cookies).await.0, 200);
}

/// A client that waits for `100 Continue` gets it when the body is read, and not before a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn leave_to_send_a_body_is_given_when_it_is_wanted() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    // The upstream sends `100 Continue`, so the gateway does too.
    let gateway = TestHost::start_gateway(&config(&[host.data], json!({})), &["--http2"]);
    for server in [&host, &gateway] {
        let client = connect(server).await;
        let mut request = call(&echo);
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        request.headers_mut().insert("content-length", "5".parse().unwrap());
        let mut sender = client.clone().ready().await.unwrap();
        let (mut response, mut stream) = sender.send_request(request, false).unwrap();
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        assert_eq!(interim.expect("leave").unwrap().status(), 100);
        stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
        assert_eq!(whole(response).await, (200, b"hello".to_vec()));

        let mut refused = call(&Deployed { token: "wrong".into(), ..echo.clone() });
        refused.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let (mut response, _stream) = sender.clone().ready().await.unwrap().send_request(refused, false).unwrap();
        let first = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        assert!(first.is_none(), "no leave: {first:?}");
        assert_eq!(whole(response).await.0, 401);

        let mut bodiless = call(&echo);
        bodiless.headers_mut().insert("expect", "100-continue".parse().unwrap());
        assert_eq!(ask(&client, bodiless).await.0, 200);
    }
}

/// However much a client continues to send, a refusal reaches it every time, and the windows are released.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_large_body_is_seen_and_the_connection_goes_on() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let small = host.deploy("small", "echo", json!({"sandbox": {"max_request_bytes": 1000}}));
    let client = connect(&host).await;
    let wrong = Deployed { token: "wrong".into(), ..echo.clone() };
    for round in 0..20 {
        for (service, status) in [(&wrong, 401), (&small, 413)] {
            let mut sender = client.clone().ready().await.unwrap();
            let (response, mut stream) = sender.send_request(call(service), false).unwrap();
            let sending = tokio::spawn(async move {
                let mut left = 12 << 20;
                while left > 0 {
                    stream.reserve_capacity(left.min(1 << 20));
                    // The stream ends when the host wants no more of the body.
                    let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                    let piece = room.min(left);
                    left -= piece;
                    if stream.send_data(vec![b'x'; piece].into(), left == 0).is_err() {
                        return;
                    }
                }
            });
            assert_eq!(whole(response).await.0, status, "round {round}");
            sending.await.unwrap();
        }
        assert_eq!(super::post(&client, &echo, &vec![b'y'; 2 << 20]).await.0, 200, "round {round}");
    }
}

/// A body that its client resets is incomplete and is never processed.
#[test]
fn a_body_that_is_reset_half_way_is_not_taken_for_whole() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let mut raw = Raw::connect(&host);
    for (number, error) in [8_u32, 0].into_iter().enumerate() {
        let stream = 2 * u32::try_from(number).unwrap() + 1;
        raw.send(&frame(HEADERS, END_HEADERS, stream, &super::request_headers(&echo)));
        raw.send(&frame(DATA, 0, stream, b"half of it"));
        assert!(raw.settle());
        raw.send(&frame(RST_STREAM, 0, stream, &error.to_be_bytes()));
    }
    let ended = |status: u16| host.metric(&format!("bulkhead_requests_total{{service=\"echo\",status=\"{status}\"}}"));
    host.wait_for("both to end", || ended(499) + ended(200) == 2);
    assert_eq!(ended(499), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_is_without_the_body() {
    let host = TestHost::start_with(&["--http2"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let client = connect(&host).await;
    let body = "x".repeat(5000);
    let mut seen = Vec::new();
    for method in [Method::GET, Method::HEAD] {
        let mut request = call(&echo);
        *request.method_mut() = method.clone();
        for (name, value) in [("accept-encoding", "gzip"), ("content-type", "text/plain")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let mut sender = client.clone().ready().await.unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        let response = response.await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.body().is_end_stream(), method == Method::HEAD);
        seen.push((response.status(), ["content-length", "content-encoding", "vary", "content-type"].map(header)));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1[1].as_deref(), Some("gzip"));
}
