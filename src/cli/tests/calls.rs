//! `invoke` and `test`.

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen};

/// Admin and data listener in one: it says that the service is at its own address.
pub(super) fn with_service(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Mock {
    Mock::start(move |request| {
        if request.path.starts_with("/api/v1/") {
            let url = format!("http://{}/api/predict/echo", request.header("host").unwrap());
            return Reply::json(200, &json!({ "name": "echo", "url": url, "token": "t0k" }));
        }
        answer(request)
    })
}

#[test]
fn invoke_calls_as_a_caller_would() {
    let mock = with_service(|request| Reply::new(200, "text/plain", request.body.clone().unwrap_or_default()));
    let ran = admin(&mock, &["invoke", "echo", "--path", "v1?a=b", "-d", "[1]", "-H", "X-Trace: 7", "-i"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(
        ran.out.starts_with("HTTP/1.1 200 OK\ncontent-type: text/plain\n") && ran.out.ends_with("\n\n[1]"),
        "{}",
        ran.out
    );
    assert!(ran.err.starts_with("200 OK, 3 bytes, "), "{}", ran.err);
    let call = mock.seen().pop().unwrap();
    assert_eq!(call.line(), "POST /api/predict/echo/v1?a=b");
    assert_eq!(call.header("authorization"), Some("t0k"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("x-trace"), Some("7"));

    for (args, line) in [
        (&["invoke", "echo"][..], "GET /api/predict/echo"),
        (&["invoke", "echo", "-X", "POST"], "POST /api/predict/echo"),
        (&["invoke", "echo", "-X", "PURGE", "-d", "x", "--token", "other"], "PURGE /api/predict/echo"),
    ] {
        assert_eq!(admin(&mock, args).exit, Exit::Ok, "{args:?}");
        assert_eq!(mock.seen().pop().unwrap().line(), line);
    }
    assert_eq!(mock.seen().pop().unwrap().header("authorization"), Some("other"));
}

#[test]
fn invoke_ends_as_the_call_does() {
    for (status, exit) in
        [(204, Exit::Ok), (422, Exit::Refused), (450, Exit::Refused), (404, Exit::NotFound), (503, Exit::Failed)]
    {
        let mock = with_service(move |_| Reply::new(status, "text/plain", if status == 204 { "" } else { "why" }));
        let ran = admin(&mock, &["invoke", "echo", "-d", "x"]);
        assert_eq!(ran.exit, exit, "{status}: {}", ran.err);
        assert!(ran.err.starts_with(&status.to_string()), "{}", ran.err);
    }
    let mock = with_service(|_| Reply::new(450, "application/octet-stream", [0xff, 0]));
    let ran = admin(&mock, &["invoke", "echo", "--json"]);
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&printed["status"], &printed["body_base64"]), (&json!(450), &json!("/wA=")));
    assert_eq!(printed["headers"]["content-type"], "application/octet-stream");
}
