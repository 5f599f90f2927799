//! The admin listener of hosts and gateways. Clients without a token cannot lock out others, and malformed requests are
//! refused like on the data listener.

use std::fs;
use std::net::SocketAddr;

use serde_json::json;

use crate::gateway::config;
use crate::host::TestHost;
use crate::http::{Client, Response, request};

/// The number of clients: more than an admin listener accepts.
const CROWD: usize = 300;

/// Starts a gateway without a working upstream.
fn gateway() -> TestHost {
    TestHost::start_gateway(&config(&["127.0.0.1:9".parse().unwrap()], json!({})), &[])
}

/// Opens connections that request much and read nothing, and stay as long as the host keeps them.
fn crowd(admin: SocketAddr, path: &str) -> Vec<Client> {
    let requests = request("GET", path, &[], b"").repeat(20);
    let crowd = (0..CROWD).map(|_| {
        let mut client = Client::connect(admin);
        // The write fails if the host has closed this connection to make room for others.
        client.try_write(&requests);
        client
    });
    crowd.collect()
}

fn list(host: &TestHost, client: &mut Client) -> Response {
    let authorization = format!("Bearer {}", host.admin_token);
    client.send("GET", "/api/v1/services", &[("authorization", &authorization)], b"")
}

/// Regression test: 256 connections without a token that read nothing kept probes, scrapers and operators waiting for
/// ever.
#[test]
fn strangers_who_read_nothing_keep_nobody_out() {
    let host = TestHost::start();
    let mut operator = Client::connect(host.admin);
    assert_eq!(list(&host, &mut operator).status, 200);
    let _crowd = crowd(host.admin, "/openapi.json");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(host.get_admin(path).status, 200, "{path}");
    }
    assert_eq!(host.call_admin("GET", "/api/v1/services", b"").status, 200, "a new connection of an operator");
    assert_eq!(list(&host, &mut operator).status, 200, "one that has shown the token keeps its place");
}

#[test]
fn strangers_keep_nobody_from_a_gateways_probes() {
    let gateway = gateway();
    let _crowd = crowd(gateway.admin, "/metrics");
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/upstreams"] {
        assert_eq!(gateway.get_admin(path).status, 200, "{path}");
    }
}

/// Regression test: the admin listener had its own HTTP parser, which accepted most of these requests.
#[test]
fn what_is_no_request_is_refused_on_every_admin_listener() {
    let (host, gateway) = (TestHost::start(), gateway());
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9 << 10));
    let many = format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(101));
    let faults = [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, "bad_request"),
        ("GET /healthz HTTP/1.1\nhost: a\n\n", 400, "bad_request"),
        ("GET /healthz HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400, "bad_request"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", 400, "bad_request"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 1\r\n\r\nx", 417, "expectation_failed"),
        ("BREW /healthz HTTP/1.1\r\nhost: a\r\n\r\n", 501, "not_implemented"),
        ("GET /healthz HTTP/1.2\r\nhost: a\r\n\r\n", 505, "http_version_not_supported"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"),
        (long.as_str(), 414, "target_too_long"),
        (many.as_str(), 431, "headers_too_large"),
    ];
    for (bytes, status, code) in faults {
        let mut told = Vec::new();
        for admin in [host.admin, gateway.admin] {
            let mut client = Client::connect(admin);
            client.try_write(bytes.as_bytes());
            let response = client.read_to_end().expect("an answer");
            assert_eq!((response.status, response.header("content-type")), (status, Some("application/problem+json")));
            assert!(response.closes(), "{bytes:?}");
            assert_eq!(response.json()["code"], code, "{bytes:?}");
            told.push(response.json());
        }
        let mut data = host.client();
        data.try_write(bytes.as_bytes());
        let by_data = data.read_to_end().expect("an answer").json();
        for problem in told {
            assert_eq!((&problem["status"], &problem["detail"]), (&by_data["status"], &by_data["detail"]), "{bytes:?}");
        }
    }
}

#[test]
fn what_any_admin_listener_answers_is_not_kept_and_is_what_it_says_it_is() {
    let (host, gateway) = (TestHost::start(), gateway());
    for path in ["/healthz", "/metrics", "/nothing"] {
        for admin in [&host, &gateway] {
            let answer = admin.get_admin(path);
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
    }
}

/// The host does not wait for the body of a refused upload, and the refusal reaches the client.
#[test]
fn an_upload_is_read_when_it_is_wanted() {
    let host = TestHost::start();
    let authorization = format!("Bearer {}", host.admin_token);
    let bytes = vec![b'x'; 300_000];
    let sha256 = {
        use sha2::{Digest, Sha256};
        bulkhead::hex::hex(&Sha256::digest(&bytes))
    };
    let head = |authorization: &str, framing: &str| {
        format!(
            "PUT /api/v1/artifacts/{sha256} HTTP/1.1\r\nhost: a\r\nauthorization: {authorization}\r\n{framing}\r\n\
             expect: 100-continue\r\n\r\n"
        )
    };
    let length = format!("content-length: {}", bytes.len());

    let mut stranger = Client::connect(host.admin);
    stranger.write(head("Bearer wrong", &length).as_bytes());
    let refused = stranger.read("PUT");
    assert_eq!((refused.status, refused.closes()), (401, true), "nobody asked for the body");

    let mut operator = Client::connect(host.admin);
    operator.write(head(&authorization, &length).as_bytes());
    assert_eq!(operator.read_interim(), "HTTP/1.1 100 Continue\r\n\r\n");
    operator.write(&bytes);
    let made = operator.read("PUT");
    assert_eq!((made.status, made.closes()), (201, false));
    assert_eq!(list(&host, &mut operator).status, 200, "the connection goes on");

    // The artifact exists, so its bytes are not read again.
    let mut again = Client::connect(host.admin);
    again.write(head(&authorization, "transfer-encoding: chunked").as_bytes());
    let there = again.read("PUT");
    assert_eq!((there.status, there.closes()), (200, true));
}

/// HEAD is allowed on every path that answers GET, and has no body.
#[test]
fn head_is_answered_wherever_get_is() {
    let (host, gateway) = (TestHost::start(), gateway());
    host.deploy("echo", "echo", json!({"token": "t"}));
    let authorization = format!("Bearer {}", host.admin_token);
    let paths = ["/healthz", "/readyz", "/openapi.json", "/nothing", "/api/v1/services", "/api/v1/services/echo"];
    let further = ["/api/v1/services/echo/versions", "/api/v1/services/nobody", "/api/v1/upstreams", "/api/v1/audit"];
    let of_host = paths.into_iter().chain(further).map(|path| (host.admin, path));
    let of_gateway = ["/healthz", "/readyz", "/api/v1/upstreams", "/nothing"].map(|path| (gateway.admin, path));
    for (admin, path) in of_host.chain(of_gateway) {
        let mut client = Client::connect(admin);
        let mut ask = |method| client.send(method, path, &[("authorization", &authorization)], b"");
        let (get, head) = (ask("GET"), ask("HEAD"));
        let headers = |response: &Response| {
            let names = response.names().filter(|name| *name != "date");
            names.map(|name| (name.to_owned(), response.all(name).join(", "))).collect::<Vec<_>>()
        };
        assert_eq!((head.status, headers(&head)), (get.status, headers(&get)), "{path}");
        assert_eq!(ask("GET").status, get.status, "no body is in the way of what comes next");
        // Metrics may change between two requests.
        let allow = client.send("PATCH", path, &[("authorization", &authorization)], b"");
        assert!(allow.status == 404 || allow.header("allow").is_some_and(|a| a.starts_with("GET, HEAD")), "{path}");
    }
}

/// Regression test: OpenMetrics used to be sent to scrapers that had requested the text format.
#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let (host, gateway) = (TestHost::start(), gateway());
    for admin in [host.admin, gateway.admin] {
        let get = |accept: &[(&str, &str)]| Client::connect(admin).send("GET", "/metrics", accept, b"");
        for accept in [&[][..], &[("accept", "*/*")], &[("accept", "text/plain; version=0.0.4")]] {
            let text = get(accept);
            assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
            let text = text.text();
            assert!(text.contains("# TYPE bulkhead_connections_turned_away_total counter\n"), "{text}");
            assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        }
        let openmetrics = get(&[("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")]);
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(openmetrics.header("content-type"), Some(content_type));
        let text = openmetrics.text();
        assert!(text.contains("# TYPE bulkhead_connections_turned_away counter\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}

/// Regression test: clients without a token, or with a wrong one, used to lock out an operator with the same address.
#[test]
fn an_operator_is_not_locked_out_by_others_at_the_same_address() {
    let host = TestHost::start();
    let stranger = |headers: &[(&str, &str)]| Client::connect(host.admin).send("GET", "/api/v1/services", headers, b"");
    let mut slowed = 0;
    for step in 0..60 {
        assert_eq!(stranger(&[]).status, 401, "who shows nothing guesses nothing");
        let guess = format!("Bearer wrong-{step}");
        slowed += usize::from(stranger(&[("authorization", &guess)]).status == 429);
        assert_eq!(host.call_admin("GET", "/api/v1/services", b"").status, 200);
    }
    assert!(slowed > 0, "guesses are slowed down all the same");
}

/// A token chosen by an operator may be weak, so failed attempts are limited. A client that has shown the right token
/// is not locked out.
#[test]
fn a_chosen_admin_token_is_guarded_and_its_owner_is_not_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/admin.token"), "chosen-by-a-person").unwrap();
    let host = TestHost::start_in_dir(dir);
    let list = |token: &str| {
        let authorization = format!("Bearer {token}");
        Client::connect(host.admin).send("GET", "/api/v1/services", &[("authorization", &authorization)], b"").status
    };
    // As long as the right token was never used from an address, that address is refused after too many attempts,
    // whatever it sends.
    assert!((0..1000).any(|_| list("wrong") == 429));
    host.wait_for("the bound to be past", || list(&host.admin_token) == 200);
    for _ in 0..100 {
        assert_eq!(list("wrong"), 401);
        assert_eq!(list(&host.admin_token), 200);
    }
}

/// On the data listener, where the limit is an option, failed attempts by others do not lock out a client that has
/// shown the right token either.
#[test]
fn a_caller_is_not_locked_out_by_others_at_the_same_address() {
    let host = TestHost::start_with(&["--max-failed-logins-per-address", "3"], "");
    let chosen = host.deploy("chosen", "echo", json!({"token": "chosen"}));
    let generated = host.deploy("generated", "echo", json!({}));
    let wrong = |path: &str| host.client().send("POST", path, &[("authorization", "wrong")], b"x").status;
    assert_eq!(host.client().post(&chosen, b"x").status, 200, "it is known here from now on");
    for _ in 0..50 {
        assert_eq!(wrong(&chosen.path), 401);
        assert_eq!(host.client().post(&chosen, b"x").status, 200);
    }
    assert!((0..1000).any(|_| wrong(&generated.path) == 429));
    assert_eq!(host.client().post(&generated, b"x").status, 200, "nobody guesses this token");
}
