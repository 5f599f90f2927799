//! HEAD is answered wherever GET is, with the headers of GET's answer and without its body (RFC 9110 §9.3.2).

use serde_json::json;

use crate::gateway::config;
use crate::host::{Deployed, TestHost};
use crate::http::Response;

/// Returns the headers that describe the answer; the others differ per request. `Connection` is one of the others:
/// after a refusal, the connection is kept only if the rest of the body arrives soon enough.
fn about(response: &Response) -> Vec<String> {
    let own = ["date", "x-request-id", "server-timing", "x-bulkhead-fuel", "connection", "keep-alive"];
    let mut names: Vec<&str> = response.names().filter(|name| !own.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    let told = |name: &&str| format!("{name}: {}", response.all(name).join(", "));
    [response.status.to_string()].into_iter().chain(names.iter().map(told)).collect()
}

fn ask(host: &TestHost, method: &str, service: &Deployed, more: &[(&str, &str)], body: &[u8]) -> Response {
    let headers = [&[("authorization", service.token.as_str())], more].concat();
    host.client().send(method, &service.path, &headers, body)
}

#[test]
fn head_says_what_get_would_have_said() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let plain = host.deploy("plain", "echo", json!({"sandbox": {"methods": ["GET"], "compress_responses": false}}));
    let gateway = TestHost::start_gateway(&config(&[host.data], json!({})), &[]);
    let wrong = Deployed { token: "wrong".into(), ..echo.clone() };
    let nobody = Deployed { path: "/api/predict/nobody".into(), ..echo.clone() };
    let short = b"short".as_slice();
    let (long, larger) = ("x".repeat(5000).into_bytes(), "y".repeat(300_000).into_bytes());
    for server in [&host, &gateway] {
        for service in [&echo, &plain, &wrong, &nobody] {
            for body in [b"", short, &long, &larger] {
                for coding in ["gzip", "zstd", "identity", "br"] {
                    for content_type in ["application/json", "image/png"] {
                        let more = [("accept-encoding", coding), ("content-type", content_type)];
                        let [get, head] = ["GET", "HEAD"].map(|method| ask(server, method, service, &more, body));
                        assert_eq!(about(&head), about(&get), "{} {coding} {content_type}", service.path);
                        assert!(head.body.is_empty() && (body.is_empty() || !get.body.is_empty()));
                    }
                }
            }
        }
    }
    // Makes sure that the compared headers exist.
    let coded = ask(&host, "HEAD", &echo, &[("accept-encoding", "gzip"), ("content-type", "text/plain")], &long);
    assert_eq!((coded.header("content-encoding"), coded.header("vary")), (Some("gzip"), Some("accept-encoding")));
    assert!(coded.header("content-length").unwrap().parse::<usize>().unwrap() < 200);
}

#[test]
fn head_of_the_hosts_own_paths_is_that_of_get() {
    let host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    for path in ["/api/v1/servicediscovery/upstreams/echo", "/api/v1/servicediscovery/upstreams/none", "/", "/api"] {
        let [get, head] = ["GET", "HEAD"].map(|method| host.client().send(method, path, &[], b""));
        assert_eq!(about(&head), about(&get), "{path}");
    }
}

/// `GET` in a service file also allows HEAD. The processor is then called with GET, so that it need not know HEAD. If
/// the file lists HEAD, the processor gets HEAD.
#[test]
fn a_service_answers_head_wherever_it_answers_get() {
    let host = TestHost::start();
    let with = |name: &str, methods: serde_json::Value| {
        // With so long a deadline, the time left, which the answer contains, always has the same number of digits.
        let keys =
            json!({"token": "t", "metadata": {"rpc": {"keepalive": 3_600_000}}, "sandbox": {"methods": methods}});
        host.deploy(name, "faults", keys)
    };
    let get = with("get", json!(["GET", "DELETE"]));
    let both = with("both", json!(["GET", "HEAD"]));
    let post = with("post", json!(["POST"]));
    let allowed = |service: &Deployed| {
        let refused = ask(&host, "PUT", service, &[], b"x");
        refused.assert_problem(405, "method_not_allowed");
        refused.header("allow").unwrap().to_owned()
    };
    assert_eq!(
        (allowed(&get), allowed(&both), allowed(&post)),
        ("GET, HEAD, DELETE".into(), "GET, HEAD".into(), "POST".into())
    );
    assert_eq!(ask(&host, "HEAD", &post, &[], b"").status, 405);
    // The processor's answer contains its method; the length of HEAD's answer depends on that.
    let length = |service: &Deployed, method: &str| {
        let more = [("x-request-id", "0123456789"), ("accept-encoding", "identity")];
        let told = ask(&host, method, service, &more, br#"{"do":"inspect"}"#);
        assert_eq!(told.status, 200);
        told.header("content-length").unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(length(&get, "HEAD"), length(&get, "GET"), "it is called with GET");
    assert_eq!(length(&both, "HEAD"), length(&both, "GET") + "HEAD".len() - "GET".len(), "it is called with HEAD");
    host.wait_for("the log", || host.log().matches("request HEAD /api/predict/get answered 200").count() == 1);
}
