//! Tests of `invoke` and `test`.

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen};

/// A mock of both listeners: its admin API gives its own address as that of the service.
pub(super) fn with_service(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Mock {
    with_early_refusals(|_| None, answer)
}

/// As [`with_service`], but it may answer a call after a given number of bytes of its body.
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
    assert!(ran.err.starts_with("\n200 OK, 3 bytes, "), "the body has not ended its line: {}", ran.err);
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

/// The body and the status may go to one file, as with `2>&1`.
#[test]
fn the_status_of_a_call_begins_a_line_and_the_body_is_unchanged() {
    for (body, begin) in [("[1]", "\n200 OK"), ("[1]\n", "200 OK"), ("", "200 OK")] {
        let mock = with_service(|request| Reply::new(200, "text/plain", request.body.clone().unwrap_or_default()));
        let ran = admin(&mock, &["invoke", "echo", "-d", body]);
        assert_eq!(ran.out, body);
        assert!(ran.err.starts_with(begin), "{body:?}: {:?}", ran.err);
        assert_eq!(admin(&mock, &["invoke", "echo", "-d", body, "-q"]).err, "");
    }
}

/// A truncated body would look like a complete one.
#[test]
fn invoke_refuses_an_answer_that_is_too_large() {
    for (bytes, exit) in [(1 << 20, Exit::Ok), ((1 << 20) + 1, Exit::Failed)] {
        let mock = with_service(move |_| Reply::new(200, "text/plain", vec![b'x'; bytes]));
        let ran = admin(&mock, &["invoke", "echo"]);
        assert_eq!(ran.exit, exit, "{}", ran.err);
        assert_eq!(ran.err.contains("the answer is larger than 1 MiB"), exit == Exit::Failed, "{}", ran.err);
        assert_eq!(ran.out.is_empty(), exit == Exit::Failed);
    }
}

#[test]
fn invoke_waits_as_long_as_it_is_told_and_says_so() {
    let mock = with_service(|_| {
        std::thread::sleep(std::time::Duration::from_millis(400));
        Reply::status(200)
    });
    for (time, told) in [("50ms", "50ms"), ("100ms", "100ms")] {
        let ran = admin(&mock, &["invoke", "echo", "-d", "x", "--timeout", time]);
        let expected = format!("error: no answer from {}/api/predict/echo within {told}\n", mock.url);
        assert_eq!((ran.exit, ran.err), (Exit::Unreachable, expected));
    }
    let ran = admin(&mock, &["invoke", "echo", "--timeout", "soon"]);
    assert!(ran.exit == Exit::Usage && ran.err.contains("as 5, 5s, 500ms or 1m"), "{}", ran.err);
}

#[test]
fn a_server_without_tls_is_told_as_that() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let https = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        // Each connection gets the answer of a plain HTTP server to a TLS ClientHello. The first connection only checks
        // that the port listens.
        for connection in listener.incoming().take(2) {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let ran = super::bulkhead(&["list", "--admin", &https, "--admin-token", super::SECRET]);
    let told = format!("error: {https} does not speak TLS\nhint: try http:// instead of https://\n");
    assert_eq!((ran.exit, ran.err), (Exit::Unreachable, told));
    server.join().unwrap();
}

#[test]
fn a_group_is_told_from_a_name_that_is_not_there() {
    let mock = Mock::start(|request| match request.path.split('?').next() {
        Some("/api/v1/services") => Reply::json(
            200,
            &json!({ "services": [
                { "name": "new", "group": "both", "url": "http://h:1/api/predict/new" },
                { "name": "old", "group": "both", "url": "http://h:1/api/predict/old" },
                { "name": "alone", "group": null, "url": "http://h:1/api/predict/alone" },
            ] }),
        ),
        _ => Reply::problem(404, &super::problem(404, "service_not_found")),
    });
    for args in [&["invoke", "both"][..], &["bench", "both"], &["desc", "both"], &["release", "both", "--weight", "1"]]
    {
        let ran = admin(&mock, args);
        let told = "error: `both` is a group, not a service; its members are `new`, `old`\n\
                    hint: name one of them; callers reach the group at http://h:1/api/predict/both, with a member's token\n";
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::NotFound, told), "{args:?}");
    }
    assert!(admin(&mock, &["invoke", "bot"]).err.contains("service_not_found"));
}

/// More than the buffers between client and server hold, so that writing fails in the middle of a body.
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
        assert!(
            ran.err.trim_start().starts_with("413 ") && ran.out.contains("body_too_large"),
            "{} {}",
            ran.out,
            ran.err
        );
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
        assert!(ran.err.trim_start().starts_with(&status.to_string()), "{}", ran.err);
    }
    let mock = with_service(|_| Reply::new(450, "application/octet-stream", [0xff, 0]));
    let ran = admin(&mock, &["invoke", "echo", "--json"]);
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&printed["status"], &printed["body_base64"]), (&json!(450), &json!("/wA=")));
    assert_eq!(printed["headers"]["content-type"], "application/octet-stream");
}
