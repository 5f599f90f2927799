//! `invoke` and `test`.

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen};

/// Admin and data listener in one: it says that the service is at its own address.
pub(super) fn with_service(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Mock {
    with_early_refusals(|_| None, answer)
}

/// One that may answer a call when it has read only so many bytes of its body.
fn with_early_refusals(
    early: impl Fn(&Seen) -> Option<(usize, Reply)> + Send + Sync + 'static,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> Mock {
    Mock::refusing_early(early, move |request| {
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

/// More than lies between client and server, so that writing fails in the middle of it.
pub(super) const LARGE: usize = 8 << 20;

/// The server answers and resets the connection while the body is still being written.
#[test]
fn invoke_tells_a_refusal_that_came_before_its_body_was_sent() {
    let directory = tempfile::tempdir().unwrap();
    let body = directory.path().join("large");
    std::fs::write(&body, vec![b'x'; LARGE]).unwrap();
    let body = format!("@{}", body.display());
    for read in [1, 100_000] {
        let problem = super::problem(413, "body_too_large");
        let refuse = move |request: &Seen| {
            request.path.starts_with("/api/predict/").then(|| (read, Reply::problem(413, &problem)))
        };
        let mock = with_early_refusals(refuse, |_| unreachable!("every call is refused early"));
        let ran = admin(&mock, &["invoke", "echo", "-d", &body]);
        assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
        assert!(ran.err.starts_with("413 ") && ran.out.contains("body_too_large"), "{} {}", ran.out, ran.err);
    }
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
