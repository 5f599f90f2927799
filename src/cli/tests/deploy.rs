//! Tests of `create` and `modify`.

use std::fs;

use serde_json::{Value, json};

use super::calls::LARGE;
use super::{SECRET, WASM, WASM_SHA256, admin, path, problem, project};
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply, Seen};

fn deployed() -> Value {
    let url = "http://127.0.0.1:8080/api/predict/digits";
    json!({ "name": "digits", "url": url, "token": "t0k'en", "version": 3, "of a later release": true })
}

fn done() -> Reply {
    Reply::events(&[
        json!({ "event": "progress", "step": "check", "detail": "" }),
        json!({ "event": "progress", "step": "a step of a later release" }),
        json!({ "event": "an event of a later release", "x": 1 }),
        json!({ "event": "done", "result": deployed() }),
    ])
}

/// A server that has no artifacts and lets every deploy succeed.
fn willing() -> Mock {
    Mock::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("HEAD", _) => Reply::status(404),
        ("PUT", path) if path.starts_with("/api/v1/artifacts/") => Reply::status(201),
        ("GET", _) => {
            let model =
                json!({ "name": "digits", "processor_path": "digits.wasm", "model_path": "m/", "model_entry": "old" });
            Reply::json(200, &json!({ "name": "digits", "spec": model }))
        }
        _ => done(),
    })
}

#[test]
fn a_quiet_create_says_only_what_was_made() {
    let (project, mock) = (project(), willing());
    let of = |options: &[&str]| admin(&mock, &[&["create", &path(&project, "digits.json")], options].concat()).out;
    let made = "service `digits` is ready as version 3\n  url    http://127.0.0.1:8080/api/predict/digits\n  \
        token  t0k'en\n";
    assert_eq!(of(&["-q"]), made);
    assert!(of(&[]).starts_with(&format!("{made}\ntry it:\n  curl ")), "{}", of(&[]));
}

#[test]
fn create_uploads_what_is_missing_and_deploys() {
    let project = project();
    let mock = Mock::start(move |request| match request.method.as_str() {
        // The server already has the processor.
        "HEAD" if request.path.contains(WASM_SHA256) => Reply::status(200),
        "HEAD" => Reply::status(404),
        "PUT" => Reply::status(201),
        _ => done(),
    });
    let ran = admin(&mock, &["create", &path(&project, "digits.json")]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));

    let seen = mock.seen();
    let methods: Vec<_> = seen.iter().map(|request| request.method.as_str()).collect();
    let last = seen.last().unwrap();
    assert_eq!(last.line(), "POST /api/v1/services");
    assert!(seen.iter().all(|request| request.header("authorization") == Some(&format!("Bearer {SECRET}"))));
    let body = last.json();
    let model = &body["model"][0];
    assert_eq!(body["spec"]["model_entry"], "digits.onnx");
    assert_eq!(body["warm_up"], Value::Null);
    assert_eq!((&model["path"], &model["size"]), (&json!("digits.onnx"), &json!(7)));
    let put = seen.iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(put.path, format!("/api/v1/artifacts/{}", model["sha256"].as_str().unwrap()));
    assert_eq!(put.body.as_deref(), Some(&b"weights"[..]));
    assert_eq!(methods, ["HEAD", "HEAD", "PUT", "POST"]);

    assert!(ran.out.contains("version 3"), "{}", ran.out);
    assert!(
        ran.out.contains(r"curl -H 'Authorization: t0k'\''en' --data hello http://127.0.0.1:8080/api/predict/digits"),
        "{}",
        ran.out
    );
}

#[test]
fn create_prints_four_members_for_scripts() {
    let project = project();
    let ran = admin(&willing(), &["create", "--json", &path(&project, "digits.json")]);
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    let expected =
        json!({ "name": "digits", "url": "http://127.0.0.1:8080/api/predict/digits", "token": "t0k'en", "version": 3 });
    assert_eq!(printed, expected);
}

#[test]
fn a_server_without_progress_is_understood_too() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::json(201, &deployed()),
    });
    assert_eq!(admin(&mock, &["create", &path(&project, "digits.json")]).exit, Exit::Ok);
}

#[test]
fn a_deploy_that_fails_says_why() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => {
            let mut problem = problem(400, "processor_refused");
            problem["detail"] = json!("initialize failed: no such model\u{1b}[2J");
            problem["hint"] = json!("look at model_entry");
            problem["stack"] = json!(["abort", "initialize"]);
            Reply::events(&[
                json!({ "event": "progress", "step": "compile" }),
                json!({ "event": "failed", "problem": problem }),
            ])
        }
    });
    let ran = admin(&mock, &["create", &path(&project, "digits.json")]);
    assert_eq!(ran.exit, Exit::Refused);
    assert_eq!(
        ran.err,
        "error: initialize failed: no such model\\u{1b}[2J (status 400, processor_refused)\n\
         stack:\n  abort\n  initialize\nhint: look at model_entry\nrequest id: r-7\n"
    );
}

#[test]
fn what_the_server_remarks_is_shown_and_keeps_nothing_from_going_well() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::events(&[
            json!({ "event": "progress", "step": "snapshot" }),
            json!({ "event": "notice", "text": "no snapshot: a handle\u{1b}[2J" }),
            json!({ "event": "done", "result": deployed() }),
        ]),
    });
    let ran = admin(&mock, &["create", &path(&project, "digits.json")]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, "no snapshot: a handle\\u{1b}[2J\n"));
}

#[test]
fn a_deploy_that_breaks_off_is_no_success() {
    let project = project();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::events(&[json!({ "event": "progress", "step": "compile" })]),
    });
    let ran = admin(&mock, &["create", &path(&project, "digits.json")]);
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.contains("may have succeeded"), "{}", ran.err);
}

#[test]
fn every_mistake_of_a_service_file_is_told_before_anything_is_sent() {
    let project = project();
    let file = path(&project, "bad.json");
    fs::write(&file, r#"{ "name": "Digits", "processor_path": "digits.wasm", "sandbox": { "fule": 1 } }"#).unwrap();
    let mock = willing();
    let ran = admin(&mock, &["create", &file]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.starts_with("error: 2 mistakes in `"), "{}", ran.err);
    assert!(ran.err.contains("\n  name: ") && ran.err.contains("\n  sandbox.fule: "), "{}", ran.err);
    assert!(mock.seen().is_empty());

    let ran = admin(&mock, &["create", "--json", &file]);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["exit"], 2);
    assert_eq!(error["error"]["errors"][1]["path"], "sandbox.fule");
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_it_is_sent() {
    let project = project();
    let large = [WASM, &vec![0; 2_000_000]].concat();
    fs::write(path(&project, "digits.wasm"), large).unwrap();
    let mock = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        _ => Reply::problem(413, &problem(413, "body_too_large")),
    });
    let ran = admin(&mock, &["create", &path(&project, "digits.json")]);
    assert_eq!(ran.exit, Exit::Refused);
    let told = format!("`{}` has 2000008 bytes: it is so (status 413, body_too_large)", path(&project, "digits.wasm"));
    assert!(ran.err.contains(&told) && ran.err.contains("hint: no setting raises this limit"), "{}", ran.err);
    let put = mock.seen().into_iter().find(|request| request.method == "PUT").unwrap();
    assert!(put.body.is_none());
}

#[test]
fn modify_sends_only_what_changes() {
    let project = project();
    let mock = willing();
    let ran = admin(&mock, &["modify", "digits", "-Dmetadata.instance=3", "-Dmetadata.rpc.keepalive=10000"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "service `digits` is ready as version 3\n"), "{}", ran.err);
    let put = mock.seen().pop().unwrap();
    assert_eq!(put.line(), "PUT /api/v1/services/digits");
    assert_eq!(put.json(), json!({ "spec": { "metadata": { "instance": 3, "rpc": { "keepalive": 10000 } } } }));

    // A new model has an entry of its own; the old entry may not exist in it.
    let changes = path(&project, "changes.json");
    fs::write(&changes, r#"{ "model_path": "model/digits.onnx" }"#).unwrap();
    let ran = admin(&mock, &["modify", "digits", "-s", &changes, "--json"]);
    assert!(!ran.out.contains("t0k"), "{}", ran.out);
    let body = mock.seen().pop().unwrap().json();
    assert_eq!(body["spec"], json!({ "model_path": "model/digits.onnx", "model_entry": "digits.onnx" }));
    assert_eq!(body["model"][0]["path"], "digits.onnx");
    assert!(body.get("processor").is_none() && body.get("warm_up").is_none());
}

#[test]
fn modify_says_which_of_its_keys_do_nothing() {
    let mock = Mock::start(|request| match request.method.as_str() {
        "GET" => {
            Reply::json(200, &json!({ "spec": { "name": "d", "processor_path": "d.wasm", "metadata": {"cpu": 2} } }))
        }
        _ => done(),
    });
    let ran = admin(&mock, &["modify", "d", "-Dmetadata.instance=3"]);
    assert!(ran.exit == Exit::Ok && !ran.err.contains("note:"), "what was there before is no news: {}", ran.err);
    let ran = admin(&mock, &["modify", "d", "-Dmetadata.cpu=4"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, "note: `metadata.cpu` has no meaning here and is ignored\n"));
}

#[test]
fn modify_changes_only_what_it_has_read() {
    let mock = Mock::start(|request| match request.method.as_str() {
        "GET" => {
            Reply::json(200, &json!({ "spec": { "name": "digits", "processor_path": "d.wasm" } })).with_tag("\"7\"")
        }
        "PUT" if request.header("if-match") == Some("\"7\"") => done(),
        _ => Reply::problem(412, &problem(412, "precondition_failed")),
    });
    assert_eq!(admin(&mock, &["modify", "digits", "-Dmetadata.instance=3"]).exit, Exit::Ok);
    let ran = admin(&mock, &["modify", "digits", "-Dmetadata.instance=3", "--if-match", "\"6\""]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.err.contains("precondition_failed"), "{}", ran.err);
    assert_eq!(mock.seen().pop().unwrap().header("if-match"), Some("\"6\""));
    // Nested quotes are awkward in a shell, so a bare revision is accepted as well.
    assert_eq!(admin(&mock, &["modify", "digits", "-Dmetadata.instance=3", "--if-match", "7"]).exit, Exit::Ok);
    let ran = admin(&mock, &["modify", "digits", "-Dmetadata.instance=3", "--if-match", "seven"]);
    assert!(ran.exit == Exit::Usage && ran.err.contains("such as 16"), "{}", ran.err);
}

#[test]
fn modify_removes_with_null() {
    let mock = willing();
    let ran =
        admin(&mock, &["modify", "digits", "-Dmodel_path=null", "-Dmodel_entry=null", "-Dwarm_up_data_path=null"]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let body = mock.seen().pop().unwrap().json();
    assert_eq!((&body["model"], &body["warm_up"]), (&json!([]), &Value::Null));
    assert!(body.as_object().unwrap().contains_key("warm_up"));
}

#[test]
fn mistakes_in_a_change_are_told_before_anything_is_uploaded() {
    let mock = willing();
    for overrides in [["-Dmetadata.instance=many"], ["-Dmetadata.instanze=2"], ["-Dname=other"], ["-Dsolo"]] {
        let ran = admin(&mock, &[&["modify", "digits"], &overrides[..]].concat());
        assert_eq!(ran.exit, Exit::Usage, "{overrides:?}: {}", ran.err);
    }
    let ran = admin(&mock, &["modify", "digits", "-Dprocessor_entry=b.wasm"]);
    assert!(ran.err.contains("processor_path"), "{}", ran.err);
    assert!(mock.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", mock.lines());

    assert_eq!(admin(&mock, &["modify", "digits"]).exit, Exit::Usage);
}

#[test]
fn modify_lays_single_keys_over_a_file() {
    let project = project();
    let mock = willing();
    let changes = path(&project, "changes.json");
    let text =
        r#"{ "model_path": "model/digits.onnx", "warm_up_data_path": null, "metadata": { "instance": 2, "cpu": 1 } }"#;
    fs::write(&changes, text).unwrap();
    let args = ["modify", "digits", "-s", &changes, "-Dmetadata.instance=3", "-Dprocessor_path=Cargo.toml"];
    // Paths in the file are relative to the file's directory, paths of -D to the current directory.
    let ran = admin(&mock, &args);
    assert!(ran.exit == Exit::Usage && ran.err.contains("/Cargo.toml`: is not WebAssembly"), "{}", ran.err);
    let ran = admin(&mock, &args[..5]);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let body = mock.seen().pop().unwrap().json();
    assert_eq!(body["spec"]["metadata"], json!({ "instance": 3, "cpu": 1 }));
    assert_eq!((&body["model"][0]["path"], &body["warm_up"]), (&json!("digits.onnx"), &Value::Null));
    assert!(body.as_object().unwrap().contains_key("warm_up"), "null removes");
}

#[test]
fn modify_says_whether_there_is_a_new_version() {
    for (result, told) in [
        (json!({ "version": 4 }), "is ready as version 4"),
        (json!({ "version": 3 }), "is changed and stays version 3"),
        (json!({ "version": 3, "unchanged": true }), "stays version 3: nothing was different"),
        (
            json!({ "version": 4, "state": "stopped" }),
            "has version 4; it is stopped, and `bulkhead start digits` starts it",
        ),
    ] {
        let mut answer = deployed();
        answer.as_object_mut().unwrap().extend(result.as_object().unwrap().clone());
        let mock = Mock::start(move |request| match request.method.as_str() {
            "GET" => Reply::json(200, &json!({ "name": "digits", "version": 3 })),
            _ => Reply::events(&[json!({ "event": "done", "result": answer })]),
        });
        let ran = admin(&mock, &["modify", "digits", "-Dtoken=other"]);
        assert_eq!((ran.exit, ran.out), (Exit::Ok, format!("service `digits` {told}\n")), "{}", ran.err);
    }
}

/// A mistake in the service file ends with 2, whether this program or the server finds it; a refused processor ends
/// with 3.
#[test]
fn a_faulty_service_file_has_one_exit_code() {
    let project = project();
    fs::create_dir(path(&project, "nothing")).unwrap();
    fs::write(path(&project, "broken.wasm"), [WASM, b"broken"].concat()).unwrap();
    let willing = willing();
    for (file, exit, told) in [
        (r#"{ "name": "digits", }"#, Exit::Usage, "trailing comma"),
        ("name: digits\n", Exit::Usage, "is YAML"),
        (r#"{ "name": "digits", "processor_path": "none.wasm" }"#, Exit::Usage, "there is no such file"),
        (
            r#"{ "name": "digits", "processor_path": "target/guests/a.wasm" }"#,
            Exit::Usage,
            "`cargo xtask guests` builds",
        ),
        (r#"{ "name": "digits", "processor_path": "x.json" }"#, Exit::Usage, "is not WebAssembly"),
        (r#"{ "name": "digits", "processor_path": "nothing" }"#, Exit::Usage, "`: is empty; it should hold"),
        (r#"{ "name": "digits", "processor_path": "digits.wasm", "model_path": "m" }"#, Exit::Usage, "model_path: "),
    ] {
        let at = path(&project, "x.json");
        fs::write(&at, file).unwrap();
        for command in [&["create", &at][..], &["modify", "digits", "-s", &at], &["test", &at]] {
            let ran = admin_or_not(&willing, command);
            assert!(ran.exit == exit && ran.err.contains(told), "{command:?} {file}: {:?} {}", ran.exit, ran.err);
        }
    }
    let refusing = Mock::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(200),
        _ => Reply::problem(400, &problem(400, "invalid_service_file")),
    });
    assert_eq!(admin(&refusing, &["create", &path(&project, "digits.json")]).exit, Exit::Usage);
}

/// Runs a command with the options for the mock's server, except `test`, which has no such options.
fn admin_or_not(mock: &Mock, args: &[&str]) -> super::Ran {
    if args[0] == "test" { super::bulkhead(args) } else { admin(mock, args) }
}

/// A disk that fills while a file is sent: the server answers and resets the connection in the middle of the body.
#[test]
fn a_full_disk_is_told_also_in_the_middle_of_an_upload() {
    let project = project();
    let file = path(&project, "large.wasm");
    fs::write(&file, vec![b'x'; LARGE]).unwrap();
    for read in [1, 100_000] {
        let full = problem(507, "storage_full");
        let refuse = move |request: &Seen| (request.method == "PUT").then(|| (read, Reply::problem(507, &full)));
        let mock = Mock::refusing_early(refuse, |_| Reply::status(404));
        let ran = admin(&mock, &["upload", &file]);
        assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
        assert!(ran.err.contains("storage_full") && !ran.err.contains("cannot reach"), "{}", ran.err);
    }
}
