//! Tests of the choice of server, token and user name, and of the commands for instances and files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::CommandFactory;
use serde_json::{Value, json};

use super::{Cli, SECRET, WASM, WASM_SHA256, admin, bulkhead, path, project};
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply};

fn empty() -> Mock {
    Mock::start(|_| Reply::json(200, &json!({ "services": [], "next": null })))
}

#[test]
fn what_config_writes_down_the_other_commands_go_by() {
    let (mock, other) = (empty(), empty());
    let directory = tempfile::tempdir().unwrap();
    let file = path(&directory, "made/client.json");
    let ran = bulkhead(&["config", "-c", &file, "-e", &mock.url, "-k", SECRET, "-i", "alice"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(ran.out.contains(&mock.url) && ran.out.contains("alice") && !ran.out.contains(SECRET), "{}", ran.out);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(bulkhead(&["ls", "-c", &file]).exit, Exit::Ok);
    let seen = mock.seen().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen.header("x-bulkhead-actor"), Some("alice"));
    // An option takes precedence over the file.
    assert_eq!(bulkhead(&["ls", "-c", &file, "--as", "bob", "--admin-token", "another"]).exit, Exit::Ok);
    let seen = mock.seen().pop().unwrap();
    assert_eq!((seen.header("authorization"), seen.header("x-bulkhead-actor")), (Some("Bearer another"), Some("bob")));
    // The token is sent only to the server that is stored with it.
    let ran = bulkhead(&["ls", "-c", &file, "--admin", &other.url, "--data", &path(&directory, "none")]);
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    let told = format!("the stored token is for {} alone, and is not sent to {}", mock.url, other.url);
    assert!(ran.err.contains(&told), "{}", ran.err);
    assert!(other.seen().iter().all(|seen| seen.header("authorization").is_none()));
    let ran = bulkhead(&["config", "-c", &file, "-e", &other.url]);
    assert!(ran.exit == Exit::Ok && ran.err.contains("the stored token"), "{}", ran.err);
    let shown: Value = serde_json::from_str(&bulkhead(&["config", "-c", &file, "--json"]).out).unwrap();
    assert_eq!((&shown["admin"], &shown["admin_token"]), (&json!(other.url), &json!(false)), "nor does it move");

    assert_eq!(bulkhead(&["config", "-c", &file, "-e", "ftp://x"]).exit, Exit::Usage);
    assert_eq!(bulkhead(&["ls", "-c", &path(&directory, "none.json")]).exit, Exit::Failed);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(bulkhead(&["ls", "-c", &file]).err.contains("chmod 600"));
}

#[test]
fn a_long_list_is_asked_for_page_by_page() {
    let mock = Mock::start(|request| {
        let row = |name: &str| {
            json!({ "name": name, "state": "running", "version": 1, "instances": 1, "workers": 5, "url": "u",
                "created_at": "t", "updated_at": "t" })
        };
        match request.path.contains("cursor=b") {
            false => Reply::json(200, &json!({ "services": [row("a"), row("b")], "next": "b" })),
            true => Reply::json(200, &json!({ "services": [row("c")], "next": null })),
        }
    });
    let listed: Value = serde_json::from_str(&admin(&mock, &["ls", "--json", "--prefix", "x-"]).out).unwrap();
    assert_eq!(listed["services"].as_array().unwrap().len(), 3);
    let path = "GET /api/v1/services?limit=1000&prefix=x-";
    assert_eq!(mock.lines(), [path.to_owned(), format!("{path}&cursor=b")]);
    assert_eq!(admin(&mock, &["ls", "--prefix", "a&limit=1"]).exit, Exit::Usage);
    assert_eq!(admin(&mock, &["ls", "--state", "asleep"]).exit, Exit::Usage);
}

#[test]
fn instances_are_shown_and_replaced_by_name_or_number() {
    let mock = Mock::start(|request| match request.method.as_str() {
        "GET" => Reply::json(
            200,
            &json!({ "name": "digits", "state": "running", "instances": [
                { "index": 0, "state": "running", "address": "127.0.0.1:8080", "started_at": "2026-01-01T00:00:00Z",
                  "restarts": 3, "workers": 5, "busy": 1, "queued": 0, "max_queue_size": 64, "version": 7 },
                { "index": 1, "state": "degraded", "address": "127.0.0.1:8080", "started_at": "2026-01-01T00:00:00Z",
                  "restarts": 3, "workers": 5, "busy": 0, "queued": 0, "max_queue_size": 64, "stalled": 2,
                  "error": "initialize failed", "version": 8 },
                { "index": 2, "state": "degraded", "address": "127.0.0.1:8080", "started_at": "2026-01-01T00:00:00Z",
                  "restarts": 3, "workers": 5, "busy": 0, "queued": 0, "max_queue_size": 64, "version": 8, "blocked": 1,
                  "crashes": [{ "at": "2026-01-01T00:00:01Z", "request_id": "r", "error": "the processor panicked: oh",
                    "stack": "" }],
                  "last_fault": { "at": "2026-01-01T00:00:02Z", "request_id": "r-7", "kind": "trap",
                    "error": "the processor trapped: unreachable" } },
                { "index": 3, "state": "running", "address": "127.0.0.1:8080", "started_at": "2026-01-01T00:00:00Z",
                  "restarts": 3, "workers": 5, "busy": 0, "queued": 0, "max_queue_size": 64, "version": 8,
                  "last_fault": { "at": "2026-01-01T00:00:03Z", "request_id": "r-8", "kind": "fuel_exhausted",
                    "error": "the request used up its fuel of 7" } },
            ] }),
        ),
        _ => Reply::json(200, &json!({ "name": "digits", "state": "running" })),
    });
    for verb in ["w", "showworkers", "workers"] {
        let ran = admin(&mock, &[verb, "digits"]);
        let lines: Vec<Vec<_>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..4], ["INSTANCENAME", "INNERIP", "HOSTIP", "STARTAT"], "{}", ran.err);
        assert_eq!(lines[1][4..], ["3", "Running", "[5/5]", "-", "-", "7"]);
        assert_eq!((lines[2][0], lines[2][6], lines[2][7]), ("digits-1", "[3/5]", "initialize"));
        assert_eq!(lines.iter().skip(1).map(|line| *line.last().unwrap()).collect::<Vec<_>>(), ["7", "8", "8", "8"]);
        let blocked = lines[3].join(" ");
        let told = "[4/5] blocked: the processor panicked: oh the processor trapped: unreachable (request r-7, 2026";
        assert!(blocked.contains(told), "{blocked}");
        let faulty = lines[4].join(" ");
        let told = "[5/5] fuel_exhausted the request used up its fuel of 7 (request r-8, 2026-01-01T00:00:03Z) 8";
        assert!(faulty.contains(told), "{faulty}");
    }
    assert_eq!(admin(&mock, &["dw", "digits", "digits-1,0"]).exit, Exit::Ok);
    let lines = mock.lines();
    let replaced = |index| format!("POST /api/v1/services/digits/instances/{index}/restart");
    assert_eq!(lines[lines.len() - 2..], [replaced(1), replaced(0)]);
    assert_eq!(admin(&mock, &["restart", "digits"]).out, "service `digits` is running\n");
    assert_eq!(mock.lines().pop().unwrap(), "POST /api/v1/services/digits/restart");
    let restarts = || mock.lines().iter().filter(|line| line.ends_with("/restart")).count();
    let before = restarts();
    let ran = admin(&mock, &["dw", "digits", "0,7"]);
    let told = "error: there is no instance `digits-7`; the service has 4, counted from 0\nnothing was replaced\n";
    assert_eq!((ran.exit, ran.err.as_str(), restarts()), (Exit::NotFound, told, before));
    let before = mock.lines().len();
    let ran = admin(&mock, &["dw", "digits", "0,other-1"]);
    assert_eq!((ran.exit, mock.lines().len()), (Exit::Usage, before), "{}", ran.err);
}

#[test]
fn a_replacement_that_fails_says_what_was_done() {
    let mock = Mock::start(|request| match request.path.rsplit_once("/instances").map(|(_, rest)| rest) {
        Some("") => {
            let row = |index: u64| json!({ "index": index, "state": "running", "address": "a", "started_at": "t", "restarts": 0, "workers": 1 });
            Reply::json(200, &json!({ "instances": [row(0), row(1), row(2)] }))
        }
        Some("/1/restart") => Reply::problem(503, &super::problem(503, "draining")),
        _ => Reply::json(200, &json!({ "name": "digits", "state": "running" })),
    });
    let ran = admin(&mock, &["dw", "digits", "0,1,2"]);
    let told = "replaced before that: `digits-0`; not replaced: `digits-1`, `digits-2` (status 503, draining)";
    assert!(ran.exit == Exit::Failed && ran.err.contains(told), "{}", ran.err);
}

#[test]
fn a_service_without_instances_says_why() {
    let mock = Mock::start(|request| match request.path.ends_with("/instances") {
        true => Reply::json(200, &json!({ "name": "digits", "state": "failed", "instances": [] })),
        false => Reply::json(200, &json!({ "name": "digits", "state": "failed", "message": "no such model" })),
    });
    let ran = admin(&mock, &["w", "digits"]);
    assert_eq!(ran.err, "no instance of `digits` is running: the service is failed: no such model\n");
}

#[test]
fn an_audit_of_a_name_that_never_was_is_an_error() {
    let of_a_stranger = |known: bool| {
        Mock::start(move |request| match request.path.starts_with("/api/v1/audit") {
            true => Reply::json(200, &json!({ "entries": [], "next": null })),
            false if known => Reply::json(200, &json!({ "name": "digits" })),
            false => Reply::problem(404, &super::problem(404, "service_not_found")),
        })
    };
    assert_eq!(admin(&of_a_stranger(false), &["audit", "digitz"]).exit, Exit::NotFound);
    assert_eq!(admin(&of_a_stranger(true), &["audit", "digits"]).exit, Exit::Ok);
    assert_eq!(admin(&of_a_stranger(false), &["audit"]).exit, Exit::Ok);
}

#[test]
fn an_upload_can_be_named_in_a_service_file() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        _ => Reply::status(201),
    });
    let ran = admin(&mock, &["upload", &path(&project, "digits.wasm")]);
    assert_eq!(ran.out, format!("artifact:{WASM_SHA256}\n"), "{}", ran.err);
    assert_eq!(mock.seen().pop().unwrap().body.as_deref(), Some(WASM));
    assert_eq!(admin(&mock, &["upload", &path(&project, "model")]).exit, Exit::Failed);

    let there = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::json(201, &json!({ "name": "digits", "url": "u", "token": null, "version": 1 })),
    });
    let named = format!("-Dprocessor_path=artifact:{WASM_SHA256}");
    let ran = admin(&there, &["create", &path(&project, "digits.json"), &named, "-Dmodel_path=null"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(there.seen().pop().unwrap().json()["processor"], WASM_SHA256);
    let ran = admin(&mock, &["create", &path(&project, "digits.json"), &named, "-Dmodel_path=null"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("bulkhead upload"), "{}", ran.err);
}

#[test]
fn a_command_line_may_change_what_a_file_says() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::json(201, &json!({ "name": "other", "url": "u", "token": null, "version": 1 })),
    });
    let file = path(&project, "digits.json");
    let ran = admin(&mock, &["create", &file, "-Dname=other", "-D", "metadata.instance=3", "-Dmodel_path=null"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let spec = mock.seen().pop().unwrap().json()["spec"].clone();
    assert_eq!((&spec["name"], &spec["metadata"]["instance"]), (&json!("other"), &json!(3)));
    assert!(spec.get("model_path").is_none());
    let before = mock.lines().len();
    let ran = admin(&mock, &["create", &file, "-Dmetadata.instnce=3"]);
    assert_eq!((ran.exit, mock.lines().len()), (Exit::Usage, before));
    assert!(ran.err.contains("metadata.instance"), "{}", ran.err);
}

#[test]
fn the_audit_log_is_a_table_of_changes() {
    let mock = Mock::start(|_| {
        Reply::json(
            200,
            &json!({ "next": null, "entries": [{
                "number": 7, "at": "2026-01-01T00:00:00Z", "actor": "alice", "token": "admin", "peer": "127.0.0.1",
                "action": "modify", "service": "digits", "version_before": 1, "version_after": 2,
                "changed": ["metadata.instance"], "outcome": "done" }] }),
        )
    });
    let ran = admin(&mock, &["audit", "digits", "--limit", "5"]);
    for text in ["alice (admin, 127.0.0.1)", "modify", "1 → 2", "metadata.instance", "done"] {
        assert!(ran.out.contains(text), "no {text} in {}{}", ran.out, ran.err);
    }
    assert_eq!(mock.lines(), ["GET /api/v1/audit?limit=5&service=digits"]);
}

/// One in 64 generated tokens begins with a hyphen, and must not be taken for an option.
#[test]
fn a_token_may_begin_with_a_hyphen() {
    fn check(command: &clap::Command, checked: &mut Vec<String>) {
        let takes_token =
            |arg: &&clap::Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "TOKEN"));
        for arg in command.get_arguments().filter(takes_token) {
            assert!(arg.is_allow_hyphen_values_set(), "{} {}", command.get_name(), arg.get_id());
            checked.push(format!("{} {}", command.get_name(), arg.get_id()));
        }
        command.get_subcommands().for_each(|command| check(command, checked));
    }
    let mut checked = Vec::new();
    check(&Cli::command(), &mut checked);
    for option in ["list admin_token", "config admin_token", "token token", "invoke token", "bench token"] {
        assert!(checked.iter().any(|checked| checked == option), "{option} is not among {checked:?}");
    }

    let mock = Mock::start(|_| Reply::json(200, &json!({ "services": [], "token": "-new", "next": null })));
    let directory = tempfile::tempdir().unwrap();
    let file = path(&directory, "client.json");
    let token = Some("Bearer -CZQw");
    assert_eq!(bulkhead(&["ls", "--admin", &mock.url, "--admin-token", "-CZQw"]).exit, Exit::Ok);
    assert_eq!(mock.seen().pop().unwrap().header("authorization"), token);
    assert_eq!(bulkhead(&["config", "-c", &file, "-e", &mock.url, "-k", "-CZQw"]).exit, Exit::Ok);
    assert_eq!(bulkhead(&["ls", "-c", &file]).exit, Exit::Ok);
    assert_eq!(mock.seen().pop().unwrap().header("authorization"), token);
    assert_eq!(admin(&mock, &["token", "digits", "--rotate", "--token", "-new"]).exit, Exit::Ok);
    assert_eq!(mock.seen().pop().unwrap().json()["token"], "-new");
}
