//! Request smuggling: one request or answer must not affect another.

use serde_json::json;

use super::fake::Fake;
use super::{PATH, before, upstream};
use crate::http::request;

/// The upstream gets one request with one framing, whatever the headers say about the connection or the framing.
#[test]
fn the_upstream_gets_as_many_requests_as_were_sent() {
    let fake = Fake::echo();
    let gateway = before(&fake);
    let smuggled = "GET /api/predict/s/smuggled HTTP/1.1\r\nhost: b\r\n\r\n";
    let (length, size) = (smuggled.len(), format!("{:x}", smuggled.len()));
    for (sent, forwarded) in [
        (format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{smuggled}"), true),
        (format!("GET {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{smuggled}"), true),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\n{smuggled}\r\n0\r\n\r\n"
            ),
            true,
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\nconnection: content-length\r\ncontent-length: {length}\r\n\r\n{smuggled}"
            ),
            true,
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\n{smuggled}\r\n0\r\n\r\n"
            ),
            true,
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nhttp2-settings: x\r\nconnection: upgrade, http2-settings\r\ncontent-length: {length}\r\n\r\n{smuggled}"
            ),
            true,
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            false,
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: {length}\r\n\r\n{smuggled}"
            ),
            false,
        ),
        (format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n{smuggled}"), false),
        (format!("POST {PATH} HTTP/1.1\r\nhost: a\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n{smuggled}"), false),
        (format!("POST {PATH} HTTP/1.1\r\nhost: a\r\nx: a\rtransfer-encoding: chunked\r\n\r\n{smuggled}"), false),
    ] {
        let before = fake.asked().len();
        let mut client = gateway.client();
        client.write(sent.as_bytes());
        let response = client.read("POST");
        assert_eq!(response.status < 400, forwarded, "{sent:?}: {}", response.text());
        assert!(!forwarded || response.text() == smuggled, "{sent:?}");
        assert_eq!(fake.asked().len() - before, usize::from(forwarded), "{sent:?}");
    }
    for asked in fake.asked() {
        assert!(!asked.head.contains("smuggled") && asked.all("upgrade").is_empty(), "{}", asked.head);
        assert_eq!(asked.all("content-length").len() + asked.all("transfer-encoding").len(), 1, "{}", asked.head);
        assert_eq!(asked.all("host"), ["a"]);
    }
    assert_eq!(fake.connections(), 1, "and all of them on one connection");
}

#[test]
fn the_target_and_the_headers_pass_as_they_are_and_those_of_the_connection_do_not() {
    let fake = Fake::echo();
    let gateway = before(&fake);
    let target = "/api/predict/s/a%2Fb/%7e//..;/x?q=%zz&a=b+c%20d&&";
    let mut client = gateway.client();
    let headers = [
        ("authorization", "EAS AbC/+=="),
        ("connection", "x-mine, close"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("keep-alive", "timeout=1"),
        ("x-forwarded-for", "9.9.9.9, 8.8.8.8"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-proto", "https"),
        ("via", "1.0 first"),
        ("x-request-id", "mine-1"),
        ("x-empty", ""),
    ];
    client.write(&request("POST", target, &headers, b"x"));
    let response = client.read("POST");
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    let asked = fake.asked().pop().unwrap();
    assert_eq!(asked.request_line(), format!("POST {target} HTTP/1.1"));
    assert_eq!((asked.all("authorization"), asked.all("x-request-id")), (vec!["EAS AbC/+=="], vec!["mine-1"]));
    assert_eq!(
        asked.all("x-forwarded-for"),
        ["9.9.9.9, 8.8.8.8, 7.7.7.7, 127.0.0.1"],
        "one line, and its last item is true"
    );
    assert_eq!(asked.all("x-forwarded-proto"), ["https"]);
    let [via] = asked.all("via")[..] else { panic!("not one line: {}", asked.head) };
    assert!(via.starts_with("1.0 first, 1.1 bulkhead-"), "{via}");
    for gone in ["x-mine", "te", "keep-alive", "connection"] {
        assert!(asked.all(gone).is_empty(), "{gone} in {}", asked.head);
    }
    // The same target in absolute form is the same request for the upstream.
    let mut absolute = gateway.client();
    absolute.write(format!("GET http://test{target} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
    assert_eq!(absolute.read("GET").status, 200);
    assert_eq!(fake.asked().pop().unwrap().request_line(), format!("GET {target} HTTP/1.1"));
}

/// Bytes after an answer belong to no request, so their connection is not used again.
#[test]
fn what_an_upstream_says_too_much_reaches_nobody() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for answer in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{evil}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"),
        format!("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n{evil}"),
        format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}"),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n".to_owned(),
    ] {
        let fake = Fake::answering(answer.clone());
        let gateway = before(&fake);
        let mut client = gateway.client();
        for _ in 0..5 {
            let response = client.send("POST", PATH, &[], b"x");
            assert!(!response.text().contains("evil") && response.status != 502, "{answer:?}: {}", response.text());
        }
        assert_eq!((fake.asked().len(), fake.connections()), (5, 5), "{answer:?}");
    }
}

/// Bytes that arrive while a connection is idle belong to no request, so the connection is not used again.
#[test]
fn what_an_upstream_says_unasked_reaches_nobody() {
    let fake = Fake::start(|mut peer| {
        while peer.request().is_some() {
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            std::thread::sleep(std::time::Duration::from_millis(20));
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        }
    });
    let gateway = before(&fake);
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.send("POST", PATH, &[], b"x").text(), "ok");
        gateway.wait_for("the connection to be closed", || {
            gateway.metric(&upstream("idle_connections", fake.address)) == 0
        });
    }
    assert_eq!(fake.connections(), 3);
}

#[test]
fn requests_that_go_in_a_circle_are_stopped() {
    let gateway = super::gateway(&[Fake::nobody()], json!({}));
    super::change(&gateway, &super::config(&[gateway.data], json!({})).to_string(), "has been read again");
    let problem = gateway.client().send("POST", PATH, &[], b"x").assert_problem(502, "bad_gateway");
    assert!(problem["detail"].as_str().unwrap().contains("circle"), "{problem}");
    assert_eq!(gateway.metric("bulkhead_requests_total{service=\"*\",status=\"502\"}"), 2, "once round");
}
