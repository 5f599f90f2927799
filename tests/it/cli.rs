//! The command line against a real host.

use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::host::{TestHost, project};

fn bulkhead(host: Option<&TestHost>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    if let Some(host) = host {
        command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
    }
    command.args(args).output().expect("it runs")
}

fn ok(host: Option<&TestHost>, args: &[&str]) -> String {
    let output = bulkhead(host, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_service_from_create_to_delete() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({}));
    let created: Value = serde_json::from_str(&ok(Some(&host), &["--json", "create", text(&file)])).unwrap();
    assert_eq!(created["name"], "mine");
    assert_eq!(created["version"], 1);
    assert_eq!(created["url"], format!("http://{}/api/predict/mine", host.data));
    assert_eq!(ok(Some(&host), &["invoke", "mine", "-d", "over the wire"]), "over the wire");
    assert!(ok(Some(&host), &["list"]).contains("mine"));
    ok(Some(&host), &["modify", "mine", "-Dmetadata.rpc.worker_threads=3"]);
    let described: Value = serde_json::from_str(&ok(Some(&host), &["--json", "desc", "mine"])).unwrap();
    assert_eq!(
        (&described["version"], &described["spec"]["metadata"]["rpc"]["worker_threads"]),
        (&json!(2), &json!(3))
    );
    let stale = bulkhead(Some(&host), &["modify", "mine", "-Dmetadata.instance=2", "--if-match", "\"1\""]);
    let said = String::from_utf8_lossy(&stale.stderr).into_owned();
    assert!(stale.status.code() == Some(3) && said.contains("precondition_failed"), "{said}");
    let log = ok(Some(&host), &["audit", "mine", "--as", "nobody"]);
    let outcomes: Vec<_> = log.lines().skip(1).map(|line| line.contains(" done ")).collect();
    assert_eq!(outcomes, [false, true, true], "{log}");
    assert!(ok(Some(&host), &["w", "mine"]).contains("mine-0"));
    ok(Some(&host), &["dw", "mine", "mine-0"]);
    ok(Some(&host), &["restart", "mine"]);
    ok(Some(&host), &["stop", "mine"]);
    assert_eq!(bulkhead(Some(&host), &["invoke", "mine", "-d", "x"]).status.code(), Some(1));
    ok(Some(&host), &["start", "mine"]);
    ok(Some(&host), &["delete", "mine", "-y"]);
    assert_eq!(bulkhead(Some(&host), &["desc", "mine"]).status.code(), Some(5));
}

#[test]
fn mistakes_have_exit_codes_and_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({"metadata": {"instnce": 1}}));
    let output = bulkhead(None, &["create", text(&file), "--admin", "http://127.0.0.1:1", "--admin-token", "x"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("metadata.instnce") && said.contains("metadata.instance"), "{said}");
    let file = project(dir.path(), "fine", "echo", json!({}));
    let output = bulkhead(None, &["create", text(&file), "--admin", "http://127.0.0.1:1", "--admin-token", "x"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A pipeline that runs `test` before `create` must end with the same exit code as one that runs only `create`.
#[test]
fn a_processor_that_is_refused_ends_test_as_it_ends_create() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "faults", "faults", json!({"model_config": {"initialize": "fail"}}));
    fs::write(dir.path().join("broken.wasm"), b"\0asm\x0d\0\x01\0broken").unwrap();
    let broken = dir.path().join("broken.json");
    fs::write(&broken, r#"{"name": "broken", "processor_path": "broken.wasm"}"#).unwrap();
    for (file, why) in [(&file, "initialize failed"), (&broken, "not a usable component")] {
        for (host, command) in [(Some(&host), "create"), (None, "test")] {
            let output = bulkhead(host, &[command, text(file)]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(3) && said.contains(why), "{command}: {said}");
        }
    }
}

/// The log must say what happens to existing files when the database is new.
#[test]
fn a_new_database_is_told_in_the_log() {
    let mut host = TestHost::start();
    host.deploy("echo", "echo", json!({}));
    crate::host::terminate(host.pid());
    assert!(host.end().success());
    fs::remove_file(host.dir().join("data/bulkhead.redb")).unwrap();
    let host = host.restart_with_args(&["--new-database"]);
    let log = fs::read_to_string(host.end_and_keep().path().join("log")).unwrap();
    assert!(log.contains("began with a new, empty database") && log.contains("uploads=1 "), "{log}");
}

#[test]
fn a_service_file_is_tested_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "faults", "faults", json!({}));
    let flag = r#"{"do":"flag"}"#;
    let output = bulkhead(
        None,
        &["--json", "test", text(&file), "-d", flag, "-d", r#"{"do":"panic","message":"oh"}"#, "-d", flag],
    );
    assert_eq!(output.status.code(), Some(3), "one of them is answered 400");
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let statuses: Vec<u64> = answers.as_array().unwrap().iter().filter_map(|a| a["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 400, 200]);
    assert!(answers[1]["body"].as_str().unwrap().contains("oh"), "{answers}");
    assert_eq!(answers[0]["body"], answers[2]["body"], "after the panic the guest is a new one");
    assert_eq!((&answers[0]["code"], &answers[1]["code"]), (&json!(null), &json!("processor_exception")));

    let output = bulkhead(None, &["test", text(&file), "-d", r#"{"do":"panic","message":"oh"}"#]);
    assert!(output.stdout.ends_with(b"\n"), "the status has a line of its own: {output:?}");
    assert!(said(&output).contains("status 400 processor_exception, "), "{output:?}");
}

/// If a service does not list HEAD, a host calls its processor with GET for a HEAD request.
#[test]
fn a_test_without_a_server_calls_the_processor_as_a_host_does() {
    let dir = tempfile::tempdir().unwrap();
    for (methods, seen) in [(json!(["GET", "POST"]), "GET"), (json!(["GET", "HEAD"]), "HEAD")] {
        let file = project(dir.path(), "faults", "faults", json!({"sandbox": {"methods": methods}}));
        let args = ["--json", "test", text(&file), "-d", r#"{"do":"inspect"}"#, "-X", "HEAD"];
        let output = bulkhead(None, &args);
        let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
        let sight: Value = serde_json::from_str(answers[0]["body"].as_str().unwrap()).unwrap();
        assert_eq!(sight["method"], seen, "{answers}");
    }
}

/// Checks the host's limits, because otherwise `test` would pass with requests that a host never passes to the
/// processor.
#[test]
fn a_test_without_a_server_holds_the_limits_of_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let keys = json!({"sandbox": {"max_request_bytes": 1024, "methods": ["POST"]}});
    let file = project(dir.path(), "mine", "echo", keys);
    let host = TestHost::start();
    ok(Some(&host), &["create", text(&file)]);
    let large = dir.path().join("large");
    fs::write(&large, [b'x'; 1025]).unwrap();
    let large = format!("@{}", large.display());
    let long = format!("/{}", "a".repeat(8 << 10));
    for (args, status) in [
        (&["-d", "x"][..], 200),
        (&["-d", &large], 413),
        (&["-d", "x", "-X", "PUT"], 405),
        (&["-d", "x", "-X", "BREW"], 501),
        (&["-d", "x", "--path", &long], 414),
    ] {
        let output = bulkhead(None, &[&["--json", "test", text(&file)], args].concat());
        let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
        let invoked = bulkhead(Some(&host), &[&["--json", "invoke", "mine"], args].concat());
        let of_the_host: Value = serde_json::from_slice(&invoked.stdout).unwrap();
        assert_eq!((&answers[0]["status"], &of_the_host["status"]), (&json!(status), &json!(status)), "{args:?}");
        assert_eq!(output.status.code(), invoked.status.code(), "{args:?}");
        if status != 200 {
            let problem: Value = serde_json::from_str(of_the_host["body"].as_str().unwrap()).unwrap();
            assert_eq!(answers[0]["body"], problem["detail"], "the same words");
        }
    }
}

/// The body is larger than all socket buffers together, so that the host refuses it while it is still being sent.
#[test]
fn a_body_over_the_limit_is_told_as_that() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    ok(Some(&host), &["create", text(&project(dir.path(), "mine", "echo", json!({})))]);
    let large = dir.path().join("large");
    fs::write(&large, vec![b'x'; (16 << 20) + 1]).unwrap();
    let output = bulkhead(Some(&host), &["invoke", "mine", "-d", &format!("@{}", large.display())]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out} {err}");
    assert!(out.contains("body_too_large"), "{out} {err}");
}

#[test]
fn the_digits_are_read_from_the_model_directory() {
    let host = TestHost::start();
    let example = bulkhead_artifacts::root().join("examples/digits");
    bulkhead_artifacts::guest("digits");
    ok(Some(&host), &["create", text(&example.join("digits.json"))]);
    let rows = fs::read_to_string(example.join("data/heldout.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut right = 0;
    for chunk in rows.chunks(30) {
        let pixels: Vec<&Value> = chunk.iter().map(|row| &row["pixels"]).collect();
        let answer = ok(Some(&host), &["invoke", "digits", "-d", &json!({"rows": pixels}).to_string()]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let answers = answer.as_array().or_else(|| answer["results"].as_array()).unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(answers.len(), chunk.len());
        right += chunk.iter().zip(answers).filter(|(row, answer)| row["label"] == answer["label"]).count();
    }
    assert!(right * 100 >= rows.len() * 93, "{right} of {} are right", rows.len());
}

#[test]
fn a_new_project_builds_and_serves() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("word-count");
    ok(None, &["new", text(&project)]);
    ok(None, &["build", text(&project)]);
    ok(Some(&host), &["create", text(&project.join("word-count.json"))]);
    assert!(ok(Some(&host), &["invoke", "word-count", "-d", "one two three"]).contains('3'));
}

#[test]
fn the_schema_and_completions_are_printed() {
    let schema: Value = serde_json::from_str(&ok(None, &["schema"])).unwrap();
    assert!(schema["properties"]["sandbox"]["properties"]["fuel"].is_object());
    assert!(ok(None, &["completions", "bash"]).contains("bulkhead"));
}

/// Cargo takes compiler flags from a single source, so flags that we set could replace the author's.
#[test]
fn build_sets_our_flags_and_leaves_the_authors_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"flags\"\nversion = \"0.1.0\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n\
         [lints.rust]\nunexpected_cfgs = \"allow\"\n",
    );
    write(".cargo/config.toml", "[target.wasm32-wasip2]\nrustflags = [\"--cfg\", \"of_the_author\"]\n");
    write(
        "src/lib.rs",
        "#[cfg(not(of_the_author))] compile_error!(\"the author's flags are gone\");\n\
         #[cfg(not(target_feature = \"simd128\"))] compile_error!(\"ours are missing\");\n",
    );
    let build = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(["build", text(dir.path())]).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
        command
    };
    let output = build().output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.path().join("flags.wasm").is_file());
    // Flags in the environment replace those of the file, as always with cargo, but not ours.
    let output = build().env("RUSTFLAGS", "--cfg of_the_author").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_name_that_is_none_is_repeated_with_the_nearest() {
    let host = TestHost::start();
    host.deploy("scorer", "echo", json!({}));
    for command in [
        &["desc", "scorr"][..],
        &["invoke", "scorr"],
        &["w", "scorr"],
        &["stop", "scorr"],
        &["token", "scorr"],
        &["modify", "scorr", "-Dmetadata.instance=2"],
        &["release", "scorr", "--weight", "5"],
        &["delete", "scorr", "-y"],
    ] {
        let output = bulkhead(Some(&host), command);
        assert_eq!(output.status.code(), Some(5), "{command:?}: {}", said(&output));
        assert!(said(&output).contains("no service \"scorr\""), "{command:?}: {}", said(&output));
        assert!(said(&output).contains("did you mean \"scorer\"?"), "{command:?}: {}", said(&output));
    }
    // Clients that request the steps of a deploy get the suggestion too.
    let steps = [("accept", "application/x-ndjson")];
    let told = host.ask_admin("PUT", "/api/v1/services/scorr", &steps, b"{\"spec\": {}}").text();
    assert!(told.contains("did you mean \\\"scorer\\\"?"), "{told}");
    // Callers without the admin token are not told which services exist.
    let stranger = host.client().send("POST", "/api/predict/scorr", &[], b"x");
    assert!(stranger.status == 404 && !stranger.text().contains("scorer"), "{}", stranger.text());
    let nothing_like_it = bulkhead(Some(&host), &["desc", "zebra"]);
    assert!(said(&nothing_like_it).contains("`bulkhead list` shows"), "{}", said(&nothing_like_it));
}

#[test]
fn wrong_usage_is_json_where_json_was_asked_for() {
    for (args, part) in [
        (&["lst", "--json"][..], "'list'"),
        (&["modfy", "x", "--json"], "'modify'"),
        (&["--json", "get"], "'list'"),
        (&["describe", "x", "--json"], "'desc'"),
        (&["--json", "list", "--stat", "running"], "--stat"),
        (&["--json"], "Usage: bulkhead"),
        (&["create", "--json"], "<FILE>"),
        (&["serve", "--listen", "here", "--json"], "localhost:8080"),
    ] {
        let output = bulkhead(None, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{args:?}: {}", said(&output)));
        assert_eq!(error["error"]["exit"], 2);
        assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains(part)), "{args:?}: {error}");
    }
    let plain = bulkhead(None, &["get"]);
    assert!(said(&plain).contains("a similar subcommand exists: 'list'"), "{}", said(&plain));
    let unknown = bulkhead(None, &["frobnicate"]);
    assert!(unknown.status.code() == Some(2) && !said(&unknown).contains("similar"), "{}", said(&unknown));
}

#[test]
fn a_component_is_no_service_file() {
    let component = bulkhead_artifacts::guest("echo");
    let component = text(&component);
    for command in [
        &["create", component][..],
        &["test", component],
        &["modify", "x", "-s", component],
        &["test", component, "--json"],
    ] {
        let output = bulkhead(None, command);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", said(&output));
        let expected = ["is a component: pass its service file", "bulkhead new"];
        assert!(expected.iter().all(|part| said(&output).contains(part)), "{}", said(&output));
    }
    let gateway = bulkhead(None, &["gateway", "--check", "--config", component]);
    assert!(said(&gateway).contains("is a component: pass the gateway's file"), "{}", said(&gateway));
}

#[test]
fn the_two_listeners_are_told_apart() {
    let host = TestHost::start();
    let service = host.deploy("echo", "echo", json!({}));
    let data = format!("http://{}", host.data);
    let output = bulkhead(None, &["list", "--admin", &data, "--admin-token", "x"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("this is the data listener"), "{}", said(&output));
    assert!(said(&output).contains("--admin"), "{}", said(&output));
    let wrong = host.call_admin("POST", &service.path, b"x");
    assert!(wrong.status == 404 && wrong.text().contains("this is the admin listener"), "{}", wrong.text());
}

#[test]
fn a_data_directory_has_one_host() {
    let host = TestHost::start();
    let mut second = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    second.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]).arg(host.dir().join("data"));
    let output = second.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("another bulkhead uses this directory (pid {})", host.pid());
    assert!(said(&output).contains(&expected) && said(&output).contains("--data"), "{}", said(&output));
}

#[test]
fn a_host_listens_at_a_name() {
    let args = ["--listen", "localhost:0", "--admin", "localhost:0"];
    let host = TestHost::start_with(&args, "");
    assert!(host.data.ip().is_loopback() && host.admin.ip().is_loopback());
}

/// A deploy continues when its client disconnects, and the message on Ctrl-C says so.
#[test]
fn ctrl_c_says_that_the_deploy_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let host = TestHost::start_with(&[], &format!("deploy.compiled=hold:{}", fifo.display()));
    let file = project(dir.path(), "mine", "echo", json!({}));
    let start = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.env("BULKHEAD_ADMIN", format!("http://{}", host.admin)).env("BULKHEAD_ADMIN_TOKEN", &host.admin_token);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    };
    let create = start(&["create", text(&file), "--json"]);
    // This line is logged just before the failpoint stops the host.
    host.wait_for("the deploy to be under way", || host.log().contains("processor compiled"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(create.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = create.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", said(&output)));
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the deploy goes on: `bulkhead desc mine` shows it"), "{message}");

    // Opening the fifo waits for the host, which is waiting for a writer.
    drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    host.wait_for("the service", || host.call_admin("GET", "/api/v1/services/mine", b"").status == 200);
    assert_eq!(ok(Some(&host), &["invoke", "mine", "-d", "it is there"]), "it is there");
}

/// Checks the message on Ctrl-C. Without it, the user does not know whether the change was made.
#[test]
fn ctrl_c_says_of_every_change_that_it_goes_on() {
    // A server that accepts requests and does not answer.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    for (args, what) in [
        (&["stop", "svc"][..], "the stop"),
        (&["delete", "svc", "-y"], "the deletion"),
        (&["token", "svc", "--rotate"], "the change of the token"),
        (&["token", "svc", "--retire"], "the change of the token"),
        (&["mirror", "svc", "--target", "other"], "the change of the mirror"),
        (&["mirror", "svc", "--off"], "the change of the mirror"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(args).args(["--admin", &url, "--admin-token", "t"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        // The first connection only tests that the server listens.
        let asks = |connection: &io::Result<TcpStream>| connection.as_ref().unwrap().read(&mut [0]).unwrap() > 0;
        let _connection = server.incoming().find(asks);
        let pid = rustix::process::Pid::from_raw(i32::try_from(command.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let output = command.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{args:?}: {}", said(&output));
        let expected = format!("interrupted; {what} goes on: `bulkhead desc svc` shows it");
        assert!(said(&output).contains(&expected), "{args:?}: {}", said(&output));
    }
}

/// `test` and `invoke` have the same exit codes, so that a pipeline needs only one table.
#[test]
fn test_ends_as_invoke_does() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "faults", "faults", json!({}));
    ok(Some(&host), &["create", text(&file)]);
    for (body, code) in [
        (r#"{"do":"flag"}"#, 0),
        (r#"{"do":"status","status":422,"message":"no"}"#, 3),
        (r#"{"do":"status","status":404,"message":"no"}"#, 5),
        (r#"{"do":"status","status":503,"message":"no"}"#, 1),
        (r#"{"do":"panic","message":"oh"}"#, 3),
    ] {
        let tested = bulkhead(None, &["test", text(&file), "-d", body]);
        let invoked = bulkhead(Some(&host), &["invoke", "faults", "-d", body]);
        assert_eq!((tested.status.code(), invoked.status.code()), (Some(code), Some(code)), "{body}");
    }
}

#[test]
fn a_modify_that_changes_nothing_says_so() {
    let host = TestHost::start();
    let dir = tempfile::tempdir().unwrap();
    let file = project(dir.path(), "mine", "echo", json!({"metadata": {"rpc": {"worker_threads": 2}}}));
    ok(Some(&host), &["create", text(&file)]);
    let same = ok(Some(&host), &["modify", "mine", "-s", text(&file)]);
    assert_eq!(same, "service `mine` stays version 1: nothing was different\n");
    let same: Value =
        serde_json::from_str(&ok(Some(&host), &["modify", "mine", "-Dmetadata.instance=1", "--json"])).unwrap();
    assert_eq!((&same["version"], &same["unchanged"]), (&json!(1), &json!(true)), "{same}");
    assert_eq!(
        ok(Some(&host), &["version", "mine", "1"]),
        "version 1 of service `mine` answered all requests already\n"
    );
    let log = ok(Some(&host), &["audit", "mine"]);
    assert_eq!(log.lines().filter(|line| line.contains(" unchanged ")).count(), 3, "{log}");
    let token = ok(Some(&host), &["token", "mine", "--plain"]);
    assert_eq!(host.client().send("POST", "/api/predict/mine", &[("authorization", token.trim())], b"x").status, 200);
    let again = bulkhead(Some(&host), &["create", text(&file)]);
    assert!(again.status.code() == Some(3) && said(&again).contains("nothing to create"), "{}", said(&again));
}

/// A project's directory may be below the one in which its server was started.
#[test]
fn the_token_of_a_server_started_above_is_found() {
    let host = TestHost::start();
    // The layout that `bulkhead serve` would have created.
    let top = tempfile::tempdir().unwrap();
    let below = top.path().join("a/project");
    fs::create_dir_all(&below).unwrap();
    std::os::unix::fs::symlink(host.dir().join("data"), top.path().join("bulkhead-data")).unwrap();
    let list = |directory: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(["list", "--admin", &format!("http://{}", host.admin)]).current_dir(directory);
        for name in ["BULKHEAD_ADMIN", "BULKHEAD_ADMIN_TOKEN", "BULKHEAD_DATA"] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", top.path().join("none")).output().expect("it runs")
    };
    assert!(list(&below).status.success(), "{}", said(&list(&below)));
    let elsewhere = tempfile::tempdir().unwrap();
    let output = list(elsewhere.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("here or in a directory above") && said(&output).contains("--data"),
        "{}",
        said(&output)
    );
}
