//! Hostile requests to the control API. It answers each with a documented status and keeps working.

use serde_json::{Value, json};

use super::{SERVICE, ask, small};
use crate::host::TestHost;
use crate::http::{Client, request};

/// Returns the operations of the document: method, path and statuses.
fn operations() -> Vec<(String, String, Vec<u16>)> {
    let document: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let statuses = statuses.map(|status| status.parse().unwrap()).collect();
            found.push((method.to_uppercase(), path.clone(), statuses));
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// Makes bodies that are missing, malformed or wrong.
fn bodies() -> Vec<Vec<u8>> {
    let deep = format!("{{\"spec\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000));
    let wide = format!("{{\"spec\":{{{}}}}}", (0..300).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","));
    [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"{\"spec\":",
        b"\xff\xfe\x00",
        b"{\"spec\": {\"name\": \"svc\"}, \"unknown\": 1}",
        b"{\"version\": -1}",
        b"{\"version\": 18446744073709551616}",
        b"{\"weight\": 1e300, \"abort\": true}",
        b"{\"action\": \"rotate\", \"token\": \"two words\"}",
        b"{\"spec\": {\"metadata\": {\"instance\": 99999999999}}}",
        deep.as_bytes(),
        wide.as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

#[test]
fn every_operation_refuses_nonsense_as_documented_and_the_host_goes_on() {
    let host = TestHost::start();
    let service = host.deploy("svc", "echo", small());
    for (method, path, statuses) in operations() {
        // These operations are left out, because a nonsense request could succeed and remove or stop the service.
        if method == "DELETE" || path.ends_with("/stop") {
            continue;
        }
        for name in ["svc", "nobody", "..", "..%2f..%2fadmin.token", "%00", "A", &"a".repeat(2000), "svc%20", "ü"] {
            let path = path.replace("{name}", name).replace("{index}", "0").replace("{sha256}", name);
            for body in if name == "svc" { bodies() } else { vec![b"{}".to_vec()] } {
                let authorization = format!("Bearer {}", host.admin_token);
                let mut client = Client::connect(host.admin);
                client.try_write(&request(&method, &path, &[("authorization", &authorization)], &body));
                let answer = client.read(&method);
                // A malformed request line is answered before the request reaches an operation.
                let known = statuses.contains(&answer.status) || (name == "ü" && answer.status == 400);
                assert!(known || answer.status == 404, "{method} {path}: {} {}", answer.status, answer.text());
                assert!(answer.status < 500 || path == "/readyz", "{method} {path}: {}", answer.text());
                assert!(!answer.text().contains(&host.admin_token), "{path}");
            }
        }
    }
    assert_eq!(host.client().post(&service, b"alive").text(), "alive");
}

#[test]
fn only_the_methods_of_a_path_are_answered() {
    let host = TestHost::start();
    for (_, path, _) in operations() {
        let path = path.replace("{name}", "svc").replace("{index}", "0").replace("{sha256}", &"ab".repeat(32));
        for method in ["PATCH", "OPTIONS", "TRACE"] {
            let answer = ask(&host, method, &path, &[], &Value::Null);
            assert_eq!((answer.status, answer.json()["code"].as_str()), (405, Some("method_not_allowed")), "{path}");
            assert!(answer.header("allow").is_some_and(|allow| !allow.is_empty()), "{method} {path}");
        }
        // An unknown method gets 501, as on the data listener (RFC 9110 §15.6.2).
        let answer = ask(&host, "BREW", &path, &[], &Value::Null);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (501, Some("not_implemented")), "{path}");
    }
}

#[test]
fn headers_that_are_not_understood_are_refused_and_change_nothing() {
    let host = TestHost::start();
    host.deploy("svc", "echo", small());
    let long = "x".repeat(65);
    for (header, value, status) in [
        ("if-match", "42", 400),
        ("if-match", "\"1", 400),
        ("if-match", "*, \"1\"", 400),
        ("if-match", "", 400),
        ("x-bulkhead-actor", "", 400),
        ("x-bulkhead-actor", &long, 400),
        ("x-bulkhead-actor", "tab\there", 400),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-type", "application/jsonp", 415),
        ("content-type", "application/json; charset=utf-8", 200),
        ("content-type", "APPLICATION/JSON", 200),
    ] {
        let answer = ask(&host, "PUT", SERVICE, &[(header, value)], &json!({"spec": {}}));
        assert_eq!(answer.status, status, "{header}: {value:?}: {}", answer.text());
    }
    assert_eq!(ask(&host, "GET", SERVICE, &[("if-none-match", "x")], &Value::Null).status, 400);
    let create = ask(&host, "POST", "/api/v1/services", &[("if-match", "*")], &json!({}));
    assert!(create.status == 400 && create.text().contains("If-Match has no meaning here"), "{}", create.text());
    assert_eq!(ask(&host, "GET", SERVICE, &[], &Value::Null).json()["version"], 1, "none of them was a change");
}

#[test]
fn a_body_has_an_end() {
    let host = TestHost::start();
    let mut client = Client::connect(host.admin);
    let authorization = format!("Bearer {}", host.admin_token);
    let headers = [("authorization", authorization.as_str())];
    client.try_write(&request("POST", "/api/v1/services", &headers, &vec![b' '; (4 << 20) + 1]));
    let answer = client.read("POST");
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body_too_large")));
}

/// Regression test: `If-None-Match` (RFC 9110 §13.1.2) was ignored, and the change was made.
#[test]
fn a_change_is_not_made_where_its_operator_knows_the_tag() {
    let host = TestHost::start();
    host.deploy("svc", "echo", small());
    let tag = ask(&host, "GET", SERVICE, &[], &Value::Null).header("etag").unwrap().to_owned();
    let weak = format!("\"7777\", W/{tag}");
    for known in ["*", &tag, &weak] {
        let header = [("if-none-match", known)];
        for (method, path, body) in [
            ("PUT", SERVICE.to_owned(), json!({"spec": {}})),
            ("DELETE", SERVICE.to_owned(), Value::Null),
            ("POST", format!("{SERVICE}/stop"), Value::Null),
            ("POST", format!("{SERVICE}/token"), json!({"action": "rotate"})),
        ] {
            let problem = ask(&host, method, &path, &header, &body).assert_problem(412, "precondition_failed");
            assert_eq!(problem["etag"], tag.as_str(), "{method} {path}");
        }
    }
    let create = |name: &str, known: &str| {
        let spec = json!({"name": name, "processor_path": "x.wasm"});
        let body = json!({"spec": spec, "processor": host.upload("echo")});
        ask(&host, "POST", "/api/v1/services", &[("if-none-match", known)], &body)
    };
    create("svc", "*").assert_problem(412, "precondition_failed");
    create("svc", "\"7777\"").assert_problem(409, "service_exists");
    create("svc", "x").assert_problem(400, "bad_request");
    assert_eq!(ask(&host, "GET", SERVICE, &[], &Value::Null).header("etag"), Some(tag.as_str()), "nothing was changed");
    assert_eq!(create("new", "*").status, 201);
    assert_eq!(ask(&host, "DELETE", SERVICE, &[("if-none-match", "\"7777\"")], &Value::Null).status, 200);
}

/// Regression test: arrays were read as structs, field by field, and refused with the names of the host's own types.
#[test]
fn an_array_is_no_object() {
    let host = TestHost::start();
    host.deploy("svc", "echo", small());
    let sha256 = host.upload("echo");
    let spec = json!({"name": "new", "processor_path": "x.wasm"});
    for (method, path, body) in [
        ("POST", "/api/v1/services".to_owned(), json!([spec, sha256])),
        ("POST", "/api/v1/services".to_owned(), json!([])),
        (
            "POST",
            "/api/v1/services".to_owned(),
            json!({"spec": spec, "processor": sha256, "model": [["a", sha256, 1]]}),
        ),
        ("PUT", SERVICE.to_owned(), json!([])),
        ("PUT", SERVICE.to_owned(), json!("x")),
        ("PUT", format!("{SERVICE}/mirror"), json!(["svc", 1])),
        ("POST", format!("{SERVICE}/version"), json!([1])),
        ("POST", format!("{SERVICE}/release"), json!([1])),
        ("POST", format!("{SERVICE}/token"), json!(["rotate", null])),
    ] {
        let problem = ask(&host, method, &path, &[], &body).assert_problem(400, "bad_request");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains("expected an object") && !told.contains("Body"), "{method} {path}: {told}");
    }
}
