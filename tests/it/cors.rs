//! Requests from pages of other origins, as browsers send them.

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response};

const PAGE: &str = "https://app.example.com";
const ALLOWED: &str = "access-control-allow-origin";

fn cors(more: Value) -> Value {
    let mut cors = json!({"origins": [PAGE]});
    for (key, value) in more.as_object().into_iter().flatten() {
        cors[key] = value.clone();
    }
    json!({"token": "t", "sandbox": {"cors": cors}})
}

/// Sends the preflight request that a browser sends before a page's own request.
fn preflight(client: &mut Client, service: &Deployed, origin: &str) -> Response {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    client.send("OPTIONS", &service.path, &headers, b"")
}

fn post(client: &mut Client, service: &Deployed, token: &str, origin: &str, body: &[u8]) -> Response {
    client.send("POST", &service.path, &[("authorization", token), ("origin", origin)], body)
}

#[test]
fn a_preflight_is_answered_before_anybody_asks_for_a_token() {
    let host = TestHost::start();
    let service = host.deploy("page", "echo", cors(json!({"max_age_s": 5})));
    let mut client = host.client();
    let answer = preflight(&mut client, &service, PAGE);
    assert_eq!((answer.status, answer.header(ALLOWED), answer.all("vary")), (204, Some(PAGE), vec!["origin"]));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(answer.header("access-control-max-age"), Some("5"));
    assert_eq!((answer.header("access-control-allow-credentials"), answer.header("content-type")), (None, None));
    assert!(answer.body.is_empty() && answer.header("x-request-id").is_some() && !answer.closes());

    let stranger = preflight(&mut client, &service, "https://other.example");
    assert_eq!((stranger.status, stranger.header(ALLOWED)), (204, None));
    assert_eq!(stranger.header("access-control-allow-methods"), None);
    let ended = |line: &str| host.metric(&format!("bulkhead_requests_total{{service=\"page\",status=\"{line}\"}}"));
    assert_eq!(ended("204"), 2, "it is counted like any answer");
    assert!(!host.get_admin("/metrics").text().contains("bulkhead_refusals_total{service=\"page\""));

    // Without the preflight headers, OPTIONS is a method that the service does not list.
    client.send("OPTIONS", &service.path, &[("origin", PAGE)], b"").assert_problem(401, "unauthorized");
    let headers = [("authorization", "t"), ("origin", PAGE)];
    client.send("OPTIONS", &service.path, &headers, b"").assert_problem(405, "method_not_allowed");
}

#[test]
fn answers_and_refusals_can_be_read_by_the_page() {
    let host = TestHost::start();
    let service = host.deploy("page", "faults", cors(json!({})));
    let mut client = host.client();
    let own = br#"{"do": "headers", "headers": [["access-control-allow-origin", "*"], ["vary", "x-mine"]]}"#;
    for (token, body, status) in [("t", &own[..], 200), ("wrong", own, 401), ("t", br#"{"do": "panic"}"#, 400)] {
        let answer = post(&mut client, &service, token, PAGE, body);
        assert_eq!((answer.status, answer.all(ALLOWED)), (status, vec![PAGE]), "{}", answer.text());
        assert!(answer.all("vary").contains(&"origin"), "{status}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["x-request-id", "retry-after", "server-timing"] {
            assert!(exposed.split(", ").any(|listed| listed == name), "{exposed}");
        }
        let other = post(&mut client, &service, token, "https://other.example", body);
        assert_eq!((other.status, other.header(ALLOWED)), (status, None), "{}", other.text());
        assert!(other.all("vary").contains(&"origin"), "a cache must not show it to the page");
    }
    // The page may also read the refusal of a stopped service.
    assert_eq!(host.call_admin("POST", "/api/v1/services/page/stop", b"").status, 200);
    let stopped = post(&mut client, &service, "t", PAGE, own);
    assert_eq!((stopped.status, stopped.header(ALLOWED)), (503, Some(PAGE)), "{}", stopped.text());
    assert_eq!(preflight(&mut client, &service, PAGE).status, 204);
}

#[test]
fn a_service_without_it_is_as_before() {
    let host = TestHost::start();
    let service = host.deploy("plain", "echo", json!({"token": "t"}));
    let mut client = host.client();
    let refused = preflight(&mut client, &service, PAGE);
    refused.assert_problem(401, "unauthorized");
    assert_eq!((refused.header(ALLOWED), refused.header("vary")), (None, None));
    let public = host.deploy("public", "echo", json!({"generate_token": false}));
    preflight(&mut client, &public, PAGE).assert_problem(405, "method_not_allowed");
}

#[test]
fn cookies_and_all_origins_are_said_as_browsers_want_them() {
    let host = TestHost::start();
    let mut client = host.client();
    let with_cookies = host.deploy("cookies", "echo", cors(json!({"credentials": true})));
    for answer in [preflight(&mut client, &with_cookies, PAGE), post(&mut client, &with_cookies, "t", PAGE, b"x")] {
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
    let open = host.deploy("open", "echo", cors(json!({"origins": ["*"]})));
    let answer = post(&mut client, &open, "t", "null", b"x");
    assert_eq!((answer.header(ALLOWED), answer.all("vary")), (Some("*"), vec![]));
    let both = host.try_deploy("both", "echo", cors(json!({"origins": ["*"], "credentials": true})));
    let problem = both.assert_problem(400, "invalid_service_file");
    assert_eq!(problem["errors"][0]["path"], "sandbox.cors.credentials");
}

#[test]
fn a_gateway_passes_it_through() {
    let host = TestHost::start();
    let service = host.deploy("page", "echo", cors(json!({})));
    let config = json!({"clusters": {"c": {"upstreams": [host.data.to_string()]}}, "routes": {"*": "c"}});
    let gateway = TestHost::start_gateway(&config, &[]);
    let mut client = gateway.client();
    let answer = preflight(&mut client, &service, PAGE);
    assert_eq!((answer.status, answer.all(ALLOWED)), (204, vec![PAGE]));
    for (token, status) in [("t", 200), ("wrong", 401)] {
        let answer = post(&mut client, &service, token, PAGE, b"x");
        assert_eq!((answer.status, answer.all(ALLOWED)), (status, vec![PAGE]), "{}", answer.text());
    }
}
