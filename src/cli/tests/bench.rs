//! Tests of `bench`: the requests, the counts and the report.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::calls::with_service;
use super::{admin, bulkhead};
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen, nobody};

fn echo(request: &Seen) -> Reply {
    Reply::new(200, "text/plain", request.body.clone().unwrap_or_default())
}

fn report(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[test]
fn a_service_is_called_as_often_as_asked_with_its_token() {
    let mock = with_service(echo);
    let ran = admin(
        &mock,
        &[
            "bench",
            "echo",
            "-d",
            "[1]",
            "-n",
            "40",
            "-c",
            "3",
            "--warm-up",
            "0s",
            "--path",
            "v1?a=b",
            "-H",
            "X-Y: z",
            "--json",
        ],
    );
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let report = report(&ran.out);
    assert_eq!(
        (&report["requests"], &report["succeeded"], &report["rate_kept"]),
        (&json!(40), &json!(40), &Value::Null)
    );
    assert_eq!(report["statuses"], json!([{ "status": 200, "code": "", "count": 40 }]));
    let calls: Vec<Seen> = mock.seen().into_iter().filter(|seen| !seen.path.starts_with("/api/v1/")).collect();
    assert_eq!(calls.len(), 40);
    for call in calls {
        assert_eq!(call.line(), "POST /api/predict/echo/v1?a=b");
        assert_eq!((call.header("authorization"), call.header("x-y")), (Some("t0k"), Some("z")));
        assert_eq!((call.header("content-type"), call.body.as_deref()), (Some("application/json"), Some(&b"[1]"[..])));
    }
}

#[test]
fn the_heading_comes_once() {
    let mock = Mock::start(echo);
    let url = format!("{}/x", mock.url);
    let ran = bulkhead(&["bench", &url, "-n", "2", "-c", "1", "--warm-up", "0s"]);
    assert!(ran.out.starts_with(&format!("{url}\n")) && ran.out.contains("\n\n2 requests in "), "{}", ran.out);
    assert_eq!((ran.out.matches(&url).count(), ran.err.matches(&url).count()), (1, 0), "{}{}", ran.out, ran.err);
}

#[test]
fn a_rate_sends_what_is_due_and_the_warm_up_does_not_count() {
    let mock = Mock::start(echo);
    let url = format!("{}/x", mock.url);
    let args = ["bench", &url, "--rate", "200", "--duration", "500ms", "--warm-up", "250ms", "--json"];
    for more in [&[][..], &["--poisson"]] {
        let before = mock.seen().len();
        let ran = bulkhead(&[&args[..], more].concat());
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
        let report = report(&ran.out);
        let due = report["requests"].as_u64().unwrap() + report["unsent"].as_u64().unwrap();
        match more.is_empty() {
            true => assert_eq!(due, 100),
            false => assert!((50..160).contains(&due), "{due} of about 100"),
        }
        let sent = mock.seen().len() - before;
        assert!(sent as u64 > report["requests"].as_u64().unwrap(), "the warm-up was sent too: {sent}");
    }
    assert!(mock.lines().iter().all(|line| line == "GET /x"));
}

#[test]
fn bodies_are_sent_in_turn() {
    let mock = Mock::start(echo);
    let directory = tempfile::tempdir().unwrap();
    let lines = directory.path().join("rows");
    fs::write(&lines, "a\n\nb\r\nc").unwrap();
    let bodies = directory.path().join("bodies");
    fs::create_dir(&bodies).unwrap();
    fs::write(bodies.join("2"), "second").unwrap();
    fs::write(bodies.join("1"), "first").unwrap();
    for (option, from, expected) in [
        ("--lines", &lines, vec!["a", "b", "c", "a", "b", "c"]),
        ("--data-dir", &bodies, vec!["first", "second", "first", "second", "first", "second"]),
    ] {
        let before = mock.seen().len();
        let from = from.to_str().unwrap();
        let ran = bulkhead(&["bench", &mock.url, option, from, "-n", "6", "-c", "1", "--warm-up", "0s"]);
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
        let sent: Vec<String> =
            mock.seen()[before..].iter().map(|seen| String::from_utf8(seen.body.clone().unwrap()).unwrap()).collect();
        assert_eq!(sent, expected);
    }
    let empty = directory.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let ran = bulkhead(&["bench", &mock.url, "--lines", empty.to_str().unwrap()]);
    assert!(ran.exit == Exit::Usage && ran.err.contains("no line to send"), "{}", ran.err);
}

#[test]
fn refusals_are_told_by_status_and_code_and_a_run_without_success_fails() {
    let turn = AtomicUsize::new(0);
    let mock = Mock::start(move |_| match turn.fetch_add(1, Ordering::SeqCst) % 4 {
        0 => Reply::problem(450, &json!({ "code": "queue_full", "detail": "x" })),
        1 => Reply::problem(429, &json!({ "code": "rate_limited" })),
        _ => Reply::problem(450, &json!({ "code": "queue_full" })),
    });
    let directory = tempfile::tempdir().unwrap();
    let html = directory.path().join("report.html");
    let run = ["bench", &mock.url, "-n", "40", "-c", "2", "--warm-up", "0s", "--html", html.to_str().unwrap()];
    let ran = bulkhead(&run);
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
    for line in [
        "429 rate_limited                         10   25.00 %",
        "450 queue_full                           30   75.00 %",
    ] {
        assert!(ran.out.lines().any(|found| found.trim() == line), "{line:?} in\n{}", ran.out);
    }
    assert!(ran.err.contains("note: no request succeeded"), "{}", ran.err);
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("450 queue_full") && page.contains("</html>"));
}

/// If a share below zero were taken for an option, clap would call it an unexpected argument.
#[test]
fn a_share_below_zero_is_told_what_a_share_is() {
    let ran = bulkhead(&["bench", "http://127.0.0.1:1/", "--fail-above", "-1%"]);
    assert!(ran.exit == Exit::Usage && ran.err.contains("expected a percentage"), "{}", ran.err);
}

#[test]
fn nobody_there_is_unreachable() {
    let (_kept, gone) = nobody();
    let ran = bulkhead(&["bench", &format!("http://{gone}/"), "-n", "2", "-c", "1", "--warm-up", "0s", "--json"]);
    assert_eq!(ran.exit, Exit::Unreachable);
    assert_eq!(report(&ran.out)["faults"], json!({ "no connection": 2 }));
}

#[test]
fn a_rate_that_cannot_be_kept_is_said_and_the_wait_is_not_hidden() {
    // One connection, and each answer takes longer than the time between five requests.
    let mock = Mock::start(|request| {
        std::thread::sleep(Duration::from_millis(50));
        echo(request)
    });
    let run = ["bench", &mock.url, "--rate", "100", "--connections", "1", "--duration", "500ms", "--warm-up", "0s"];
    let ran = bulkhead(&run);
    assert!(ran.err.contains("note: the rate was not kept: "), "{}", ran.err);
    let report = report(&bulkhead(&[&run[..], &["--json"]].concat()).out);
    assert_eq!(report["rate_kept"], false);
    assert_eq!(report["requests"].as_u64().unwrap() + report["unsent"].as_u64().unwrap(), 50);
    // The last request was sent long after it was due.
    assert!(report["latency_ms"]["max"].as_f64().unwrap() > 200.0, "{report}");
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let mock = Mock::start(echo);
    for (args, what) in [
        (&["--rate", "0"][..], "0.001 to 10000000"),
        (&["--rate", "5", "-c", "2"], "cannot be used with"),
        (&["--poisson"], "--rate"),
        (&["--duration", "soon"], "expected seconds, or a number with a unit"),
        (&["--duration", "5s", "-n", "5"], "cannot be used with"),
        (&["-c", "0"], "1..=10000"),
        (&["--html", "/nowhere/at/all.html"], "cannot write"),
        (&["-d", "@/nowhere"], "cannot read"),
        (&["-X", "NO METHOD"], "not an HTTP method"),
    ] {
        let ran = bulkhead(&[&["bench", &mock.url], args].concat());
        assert!(ran.exit != Exit::Ok && ran.err.contains(what), "{args:?}: {}", ran.err);
    }
    let ran = bulkhead(&["bench", "https://127.0.0.1/"]);
    assert!(ran.exit == Exit::Usage && ran.err.contains("the only scheme that `bench` supports"), "{}", ran.err);
    assert!(mock.seen().is_empty());
}
