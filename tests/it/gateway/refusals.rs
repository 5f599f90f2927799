//! The answers to callers when an upstream does not answer: status, code and Envoy's text, row by row.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use super::fake::{Fake, Peer};
use super::{PATH, before, gateway, upstream};
use crate::host::TestHost;

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

/// Sends one request and checks its refusal: Envoy's text comes first, followed by the name of the cluster. The
/// connection stays open.
fn refused(gateway: &TestHost, status: u16, code: &str, text: &str) -> Value {
    let mut client = gateway.client();
    let problem = client.send("POST", PATH, &[], b"hello").assert_problem(status, code);
    let ours = problem["detail"].as_str().and_then(|detail| detail.strip_prefix(text));
    assert!(ours.is_some_and(|ours| ours.contains("cluster \"c\"")), "{text} in {problem}");
    assert_eq!(client.send("GET", "/nowhere", &[], b"").status, 404, "the connection goes on");
    problem
}

fn one(serve: impl Fn(Peer) + Send + Sync + 'static) -> (Fake, TestHost) {
    let fake = Fake::start(serve);
    let gateway = before(&fake);
    (fake, gateway)
}

fn failures(gateway: &TestHost, fake: &Fake, reason: &str) -> u64 {
    let address = fake.address;
    gateway.metric(&format!(
        "bulkhead_upstream_failures_total{{cluster=\"c\",upstream=\"{address}\",reason=\"{reason}\"}}"
    ))
}

#[test]
fn s503_refused() {
    let gateway = gateway(&[Fake::nobody()], json!({}));
    refused(&gateway, 503, "upstream_failed", &format!("{RESET}remote connection failure"));
    assert_eq!(gateway.metric("bulkhead_requests_total{service=\"*\",status=\"503\"}"), 1);
    assert_eq!(gateway.metric("bulkhead_refusals_total{service=\"*\",code=\"upstream_failed\"}"), 1);
}

#[test]
fn s503_reset_or_closed_before_the_answer() {
    let text = format!("{RESET}connection termination");
    let (fake, gateway) = one(|mut peer| {
        peer.request();
        peer.reset();
    });
    refused(&gateway, 503, "upstream_failed", &text);
    assert_eq!(failures(&gateway, &fake, "connection_termination"), 1);
    let (_fake, gateway) = one(|mut peer| {
        peer.request();
    });
    refused(&gateway, 503, "upstream_failed", &text);
    let (_fake, gateway) = one(|mut peer| {
        peer.request();
        peer.say("HTTP/1.1 200 OK\r\ncontent-le");
    });
    refused(&gateway, 503, "upstream_failed", &text);
}

/// The connection must be closed: the next request on it could be taken for the rest of the slow one (RFC 9110
/// §15.5.9).
#[test]
fn an_upstreams_408_closes_the_connection() {
    let (_fake, gateway) = one(|mut peer| {
        peer.request();
        peer.say("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    });
    let answer = gateway.client().send("POST", PATH, &[], b"hello");
    assert!(answer.status == 408 && answer.closes(), "{answer:?}");
}

#[test]
fn s502_for_a_status_or_a_length_that_there_is_not() {
    for (method, head) in [
        ("GET", "600 Beyond\r\ncontent-length: 0"),
        ("GET", "999 Beyond\r\ncontent-length: 0"),
        ("HEAD", "200 OK\r\ncontent-length: 18446744073709551616"),
    ] {
        let (_fake, gateway) = one(move |mut peer| {
            peer.request();
            peer.say(format!("HTTP/1.1 {head}\r\n\r\n"));
        });
        assert_eq!(gateway.client().send(method, PATH, &[], b"").status, 502, "{method} {head}");
    }
}

/// Regression test: with `Via` in the request, the gateway accepted heads that exceeded the limits of the host once the
/// gateway had added its own lines.
#[test]
fn a_host_takes_every_head_that_its_gateway_takes() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let gateway = gateway(&[host.data], json!({}));
    for gateways in 0..6 {
        let via = vec!["1.1 x"; gateways].join(", ");
        let mut counts = [0; 2];
        for count in 80..150 {
            let mut headers = vec![("authorization", echo.token.as_str())];
            headers.extend((gateways > 0).then_some(("via", via.as_str())));
            headers.extend(vec![("x", "y"); count]);
            let status = gateway.client().send("POST", &echo.path, &headers, b"1").status;
            assert!(matches!(status, 200 | 431), "{status}");
            counts[usize::from(status == 431)] += 1;
        }
        assert!(counts[0] > 0 && counts[1] > 0, "{gateways}: {counts:?}");
    }
    let refused = |at: &TestHost| {
        let text = at.get_admin("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with("bulkhead_requests_total{") && line.contains("431"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    assert!(refused(&gateway) > 0 && refused(&host) == 0, "the gateway refuses what its host would");
}

#[test]
fn s503_connection_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // No connection is accepted, so soon no further one can be made.
    let patience = Duration::from_millis(200);
    let waiting: Vec<TcpStream> = (0..32).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    assert!(waiting.len() < 32, "the system lets everybody wait");
    let gateway = gateway(&[address], json!({"connect_timeout_ms": 200}));
    let problem = refused(&gateway, 503, "upstream_failed", &format!("{RESET}connection timeout"));
    assert!(problem["detail"].as_str().unwrap().ends_with(" ms, connect_timeout_ms)"), "{problem}");
}

#[test]
fn s503_overflow() {
    let (fake, gateway) = {
        let fake = Fake::start(|mut peer| {
            peer.request();
            peer.wait_until_gone();
        });
        let gateway = gateway(&[fake.address], json!({"max_connections": 1, "max_pending": 1}));
        (fake, gateway)
    };
    let mut first = gateway.client();
    first.write(&crate::http::request("POST", PATH, &[], b"x"));
    gateway.wait_for("it to have a connection", || gateway.metric(&upstream("active", fake.address)) == 1);
    let mut second = gateway.client();
    second.write(&crate::http::request("POST", PATH, &[], b"x"));
    gateway.wait_for("it to wait", || gateway.metric(&upstream("pending", fake.address)) == 1);
    let problem = refused(&gateway, 503, "upstream_failed", &format!("{RESET}overflow"));
    assert!(problem["detail"].as_str().unwrap().ends_with(", max_pending)"), "{problem}");
    assert_eq!(fake.connections(), 1);
    drop((first, second));
    gateway.wait_for("both to be over", || gateway.metric(&upstream("active", fake.address)) == 0);
}

#[test]
fn s502_what_is_no_answer() {
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(60_000));
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(20_000);
    for answer in [
        "garbage and more of it\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101)),
        &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(33 << 10)),
        &endless,
        &interim,
    ] {
        let fake = Fake::answering(answer);
        let gateway = before(&fake);
        let problem = gateway.client().send("POST", PATH, &[], b"hello").assert_problem(502, "bad_gateway");
        assert_eq!(problem["detail"], format!("{RESET}protocol error (cluster \"c\")"), "{:.60}", answer);
        assert_eq!(failures(&gateway, &fake, "protocol_error"), 1, "{answer:.60}");
    }
}

#[test]
fn s504_no_answer_in_time_and_the_upstream_learns_of_it() {
    let fake = Fake::start(|mut peer| {
        peer.request();
        peer.wait_until_gone();
        // The upstream may send anything now.
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let gateway = gateway(&[fake.address], json!({"request_timeout_ms": 200}));
    let problem = refused(&gateway, 504, "gateway_timeout", "upstream request timeout");
    assert!(problem["detail"].as_str().unwrap().ends_with(" ms (request_timeout_ms)"), "{problem}");
    gateway.wait_for("its connection to be closed", || gateway.metric(&upstream("active", fake.address)) == 0);
    assert_eq!(failures(&gateway, &fake, "timeout"), 1);
}

#[test]
fn s503_no_upstream_is_healthy() {
    let keys = json!({"health_check": {"interval_ms": 20}});
    let gateway = gateway(&[Fake::nobody(), Fake::nobody()], keys);
    refused(&gateway, 503, "no_healthy_upstream", "no healthy upstream");
    let view = gateway.get_admin("/api/v1/upstreams").json();
    assert_eq!(view["clusters"][0]["upstreams"][0]["state"], "unhealthy", "{view}");
    assert!(view["clusters"][0]["upstreams"][0]["message"].as_str().unwrap().contains("refused"), "{view}");
}

#[test]
fn s404_without_a_route() {
    let fake = Fake::echo();
    let mut config = super::config(&[fake.address], json!({}));
    config["routes"] = json!({"mine": "c", "g.mine": "c"});
    let gateway = TestHost::start_gateway(&config, &[]);
    let mut client = gateway.client();
    let problem = client.send("POST", PATH, &[], b"x").assert_problem(404, "service_not_found");
    assert_eq!(problem["detail"], "there is no route for \"s\" at this gateway");
    assert_eq!(client.send("POST", "/api/predict/g.mine/v1", &[], b"x").text(), "x");
    assert_eq!(gateway.metric("bulkhead_requests_total{service=\"g.mine\",status=\"200\"}"), 1);
}

#[test]
fn s408_when_the_client_stops_sending() {
    let fake = Fake::start(|mut peer| {
        peer.head();
        peer.wait_until_gone();
    });
    let gateway = gateway(&[fake.address], json!({"idle_timeout_ms": 200}));
    let mut client = gateway.client();
    client.write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").as_bytes());
    let response = client.read("POST");
    let problem = response.assert_problem(408, "deadline_exceeded");
    assert_eq!(
        problem["detail"],
        "nothing more of the request's body came for 200 ms (idle_timeout_ms of cluster \"c\")"
    );
    assert!(response.closes());
}

#[test]
fn s400_when_the_chunks_are_malformed() {
    let fake = Fake::start(|mut peer| {
        peer.head();
        peer.wait_until_gone();
    });
    let gateway = before(&fake);
    let mut client = gateway.client();
    client
        .write(format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").as_bytes());
    gateway.wait_for("it to be forwarded", || gateway.metric(&upstream("active", fake.address)) == 1);
    client.write(b"broken\r\n");
    let response = client.read("POST");
    response.assert_problem(400, "bad_request");
    assert!(response.closes());
}

/// Answers of upstreams are passed on unchanged, refusals included.
#[test]
fn what_an_upstream_answers_passes_as_it_is() {
    for (line, status, reason) in [
        ("450 Queue Full", 450, "Queue Full"),
        ("499 Whatever", 499, "Whatever"),
        ("503 My Own", 503, "My Own"),
        ("418 I'm a teapot", 418, "I'm a teapot"),
        ("599 ", 599, ""),
    ] {
        let body = "{\"own\":\"body\"}";
        let length = body.len();
        let gateway = before(&Fake::answering(format!(
            "HTTP/1.1 {line}\r\nx-own: a\r\nx-own: b\r\nset-cookie: c=1\r\nretry-after: 7\r\ncontent-length: {length}\r\n\r\n{body}"
        )));
        let response = gateway.client().send("POST", PATH, &[], b"x");
        assert_eq!((response.status, response.reason.as_str(), response.text().as_str()), (status, reason, body));
        assert_eq!(response.all("x-own"), ["a", "b"]);
        assert_eq!((response.header("set-cookie"), response.header("retry-after")), (Some("c=1"), Some("7")));
        assert_eq!(gateway.metric(&format!("bulkhead_requests_total{{service=\"*\",status=\"{status}\"}}")), 1);
    }
}
