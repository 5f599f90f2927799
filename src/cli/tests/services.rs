//! Tests of `list`, `desc`, `token`, `stop`, `start` and `delete`.

use serde_json::json;

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply};

#[test]
fn an_empty_list_says_what_was_asked_for() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "services": [] })));
    for (args, told) in [
        (&["ls"][..], "no services; `bulkhead create FILE` makes one\n"),
        (&["ls", "--state", "failed"], "no service in the state failed\n"),
        (
            &["ls", "--state", "failed", "--prefix", "d"],
            "no service in the state failed and with a name that begins with `d`\n",
        ),
    ] {
        let ran = admin(&mock, args);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, told));
    }
}

#[test]
fn lists_are_columns() {
    let mock = Mock::start(|_| {
        let row = |name: &str, state: &str| {
            json!({ "name": name, "state": state, "version": 12, "instances": 2, "workers": 5,
                "url": format!("http://h/api/predict/{name}"), "created_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-02T00:00:00Z" })
        };
        let mut scorer = row("scorer", "running");
        scorer["canary"] = json!({ "version": 13, "weight": 10 });
        scorer["degraded"] = json!(1);
        scorer["type"] = json!("Async");
        Reply::json(200, &json!({ "services": [row("a", "running"), row("digits", "stopped"), scorer] }))
    });
    let ran = admin(&mock, &["ls"]);
    let lines: Vec<_> = ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(
        lines[0],
        [
            "SERVICENAME",
            "REGION",
            "INSTANCE",
            "CREATETIME",
            "UPDATETIME",
            "STATUS",
            "WEIGHT",
            "SERVICEPATH",
            "GROUP",
            "VERSION",
            "CANARY",
            "WORKERS",
            "TYPE",
            "URL"
        ],
        "{}",
        ran.err
    );
    assert_eq!(lines[2][..3], ["digits", "-", "2"]);
    assert_eq!(lines[2][5..11], ["Stopped", "-", "/api/predict/digits", "-", "12", "-"]);
    assert_eq!((lines[3][5], lines[3][9], lines[3][10]), ("Degraded", "12", "13:10%"));
    assert_eq!((lines[2][12], lines[3][12]), ("-", "Async"), "an older host does not tell the type");
    assert!(ran.out.lines().all(|line| line == line.trim()), "{:?}", ran.out);
}

#[test]
fn a_description_shows_state_token_and_instances() {
    let mock = Mock::start(|_| {
        Reply::json(
            200,
            &json!({
                "name": "digits", "state": "failed", "message": "no such\nmodel", "version": 2,
                "url": "http://h/api/predict/digits",
                "token": "t0k", "previous_token": "0ld", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
                "spec": { "name": "digits", "processor_path": "digits.wasm" }, "ignored": ["metadata.gpu"],
                "processor": { "sha256": "0123456789abcdef", "bytes": 8 }, "model": [],
                "snapshot": { "taken": false, "reason": "it keeps 1 handle open" }, "recycled": { "memory": 4 },
                "instances": [{ "index": 0, "workers": 5, "busy": 1, "queued": 2, "max_queue_size": 64, "restarts": 3 }]
            }),
        )
    });
    let ran = admin(&mock, &["desc", "digits"]);
    for text in [
        "Status            Failed\n",
        "Message           no such model\n",
        "AccessToken       t0k\n",
        "TotalInstance     1\n",
        "CPU               -\n",
        "t0k",
        "0ld",
        "0123456789ab…",
        "metadata.gpu",
        "none: it keeps 1 handle open",
        "4 for their memory",
        "2 of 64",
        "\"name\": \"digits\"",
    ] {
        assert!(ran.out.contains(text), "no {text} in {}{}", ran.out, ran.err);
    }
}

/// A canary's instances are counted, too, and an instance without a guest takes no requests.
#[test]
fn the_counts_of_a_description_agree() {
    for (canary, blocked, expected) in [
        (1, [0, 0], "Running 2 2 0"),
        (1, [5, 0], "Degraded 2 1 1"),
        (1, [5, 5], "Degraded 2 0 2"),
        (0, [1, 0], "Degraded 1 1 0"),
    ] {
        let mock = Mock::start(move |_| {
            let row = |index: usize| {
                let state = if blocked[index] > 0 { "degraded" } else { "running" };
                json!({ "index": index, "version": 2 + index, "state": state, "workers": 5, "busy": 0, "queued": 0,
                    "max_queue_size": 64, "restarts": 0, "blocked": blocked[index] })
            };
            let rows: Vec<_> = (0..=canary).map(row).collect();
            Reply::json(
                200,
                &json!({ "name": "digits", "state": "running", "version": 2, "url": "u", "token": null, "created_at": "t",
                    "updated_at": "t", "spec": { "name": "digits", "processor_path": "d.wasm" },
                    "processor": { "sha256": "0123456789abcdef", "bytes": 8 }, "instances": rows }),
            )
        });
        let ran = admin(&mock, &["desc", "digits"]);
        let value = |name: &str| {
            let line = ran.out.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
        };
        let told = ["Status", "TotalInstance", "RunningInstance", "PendingInstance"].map(value).join(" ");
        assert_eq!(told, expected, "{}{}", ran.out, ran.err);
    }
}

#[test]
fn nothing_is_deleted_unasked() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "name": "digits", "state": "deleted" })));
    let ran = admin(&mock, &["delete", "digits"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("-y") && mock.seen().is_empty(), "{}", ran.err);

    let ran = admin(&mock, &["delete", "digits", "-y"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "service `digits` is deleted\n"));
    assert_eq!(mock.lines(), ["DELETE /api/v1/services/digits"]);
}

#[test]
fn stop_and_start_are_posts_without_a_body() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "name": "digits", "state": "stopped" })));
    assert_eq!(admin(&mock, &["stop", "digits"]).out, "service `digits` is stopped\n");
    assert_eq!(admin(&mock, &["start", "digits", "--json"]).out, "{\"name\":\"digits\",\"state\":\"stopped\"}\n");
    assert_eq!(mock.lines(), ["POST /api/v1/services/digits/stop", "POST /api/v1/services/digits/start"]);
    assert_eq!(admin(&mock, &["stop", "../x"]).exit, Exit::Usage);
}

#[test]
fn a_public_service_has_no_token_and_that_is_no_failure() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "name": "open", "token": null, "previous_token": null })));
    let ran = admin(&mock, &["token", "open", "--plain"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.err, "service `open` is public: it has no token, and calls need none\n");
}

#[test]
fn tokens_are_shown_rotated_and_retired() {
    let mock = Mock::start(|_| {
        Reply::json(200, &json!({ "name": "digits", "token": "new", "previous_token": "0ld", "state": "running" }))
    });
    let shown = admin(&mock, &["token", "digits"]);
    let lines: Vec<_> = shown.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines, [vec!["token", "new"], vec!["previous", "token", "0ld"]], "{}", shown.err);
    for (args, body) in [
        (&["--rotate"][..], json!({"action": "rotate"})),
        (&["--rotate", "--token", "new"], json!({"action": "rotate", "token": "new"})),
        (&["--retire", "--json"], json!({"action": "retire"})),
    ] {
        assert_eq!(admin(&mock, &[&["token", "digits"], args].concat()).exit, Exit::Ok, "{args:?}");
        let seen = mock.seen().pop().unwrap();
        assert_eq!((seen.line(), seen.json()), ("POST /api/v1/services/digits/token".to_owned(), body));
    }
    for wrong in [&["--token", "new"][..], &["--rotate", "--retire"], &["--rotate", "--token", "two words"]] {
        assert_eq!(admin(&mock, &[&["token", "digits"], wrong].concat()).exit, Exit::Usage, "{wrong:?}");
    }
}
