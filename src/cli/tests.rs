//! Tests of whole command lines against a mock server: the requests, the output and the exit code.
//!
//! This file has the helpers and the tests for all commands. The other files test single commands.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use clap::CommandFactory;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::mock::{Mock, Reply, nobody};
use super::*;
use crate::serve::{AccessLog, LogFormat};

mod bench;
mod calls;
mod completion;
mod control;
mod deploy;
mod documented;
mod help;
mod man;
mod mirror;
mod queue;
mod reference;
mod services;
mod versions;

const SECRET: &str = "s3cr3t-admin-token";
const WASM: &[u8] = b"\0asm\x0d\0\x01\0";
const WASM_SHA256: &str = "24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29";

/// The exit code and the output of a command.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

fn bulkhead(args: &[&str]) -> Ran {
    let cli = match Cli::read(std::iter::once("bulkhead").chain(args.iter().copied())) {
        Ok(cli) => cli,
        Err(error) => return Ran { exit: Exit::Usage, out: String::new(), err: error.to_string() },
    };
    let (out, err) = (Pipe::default(), Pipe::default());
    let mut screen = Screen::with(cli.screen, out.clone(), err.clone());
    let exit = run(cli.command, &mut screen);
    let ran = Ran { exit, out: out.text(), err: err.text() };
    assert!(!ran.err.contains(SECRET), "a token on standard error: {}", ran.err);
    ran
}

/// Runs a command with the address and the admin token of a mock.
fn admin(mock: &Mock, args: &[&str]) -> Ran {
    bulkhead(&[args, &["--admin", &mock.url, "--admin-token", SECRET]].concat())
}

/// A directory with a processor, a model and a service file that names them.
fn project() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("digits.wasm"), WASM).unwrap();
    fs::create_dir(directory.path().join("model")).unwrap();
    fs::write(directory.path().join("model/digits.onnx"), "weights").unwrap();
    let file = json!({ "name": "digits", "processor_path": "digits.wasm", "model_path": "model/" });
    fs::write(directory.path().join("digits.json"), file.to_string()).unwrap();
    directory
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

fn problem(status: u16, code: &str) -> Value {
    json!({ "title": "No", "status": status, "code": code, "detail": "it is so", "request_id": "r-7" })
}

fn refusing(status: u16, code: &'static str) -> Mock {
    Mock::start(move |_| Reply::problem(status, &problem(status, code)))
}

#[test]
fn the_options_make_sense_to_clap() {
    Cli::command().debug_assert();
}

#[test]
fn exit_codes_tell_refusals_apart() {
    for (status, code, exit) in [
        (401, "unauthorized", Exit::Refused),
        (404, "service_not_found", Exit::NotFound),
        (409, "service_exists", Exit::Refused),
        (500, "internal", Exit::Failed),
        (503, "draining", Exit::Failed),
        (302, "elsewhere", Exit::Failed),
    ] {
        let mock = refusing(status, code);
        for command in [
            &["list"][..],
            &["desc", "digits"],
            &["stop", "digits"],
            &["delete", "digits", "-y"],
            &["invoke", "digits"],
        ] {
            let ran = admin(&mock, command);
            assert_eq!(ran.exit, exit, "{command:?} {status}");
            assert!(ran.err.contains(code) && ran.out.is_empty(), "{}", ran.err);
        }
        assert!(mock.lines().iter().all(|line| !line.contains("elsewhere")));
    }
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let (_kept, free) = nobody();
    let ran = bulkhead(&["list", "--admin", &free.to_string(), "--admin-token", SECRET]);
    assert_eq!(ran.exit, Exit::Unreachable);
    assert_eq!(
        ran.err,
        format!("error: cannot reach http://{free}: connection refused\nhint: is `bulkhead serve` running?\n")
    );

    let ran = bulkhead(&["list", "--json", "--admin", &free.to_string(), "--admin-token", SECRET]);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["exit"], 4);
}

#[test]
fn the_token_comes_from_a_data_directory_if_nobody_gives_it() {
    let mock = Mock::start(|_| Reply::json(200, &json!({ "services": [] })));
    let data = tempfile::tempdir().unwrap();
    let list = |data: &TempDir| bulkhead(&["list", "--admin", &mock.url, "--data", data.path().to_str().unwrap()]);

    let ran = list(&data);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("admin.token") && ran.err.contains("BULKHEAD_ADMIN_TOKEN"), "{}", ran.err);

    fs::write(data.path().join("admin.token"), format!("{SECRET}\n")).unwrap();
    assert_eq!(list(&data).exit, Exit::Ok);
    assert_eq!(mock.seen().pop().unwrap().header("authorization"), Some(&*format!("Bearer {SECRET}")));

    fs::write(data.path().join("admin.token"), format!("{SECRET}\nX-Other: {SECRET}\n")).unwrap();
    assert_eq!(list(&data).exit, Exit::Usage);
}

#[test]
fn a_data_listener_is_told_from_the_admin_one_without_a_token() {
    let mock = Mock::start(|_| {
        let mut problem = problem(404, "not_found");
        problem["detail"] = json!("there is nothing at this path; this is the data listener");
        Reply::problem(404, &problem)
    });
    let none = tempfile::tempdir().unwrap();
    let ran = bulkhead(&["list", "--admin", &mock.url, "--data", none.path().to_str().unwrap()]);
    assert!(ran.exit == Exit::NotFound && ran.err.contains("this is the data listener"), "{}", ran.err);
    assert_eq!(mock.seen()[0].header("authorization"), None);
}

#[test]
fn a_token_found_here_is_not_sent_elsewhere() {
    let ran = bulkhead(&["list", "--admin", "http://192.0.2.1:8081"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("a server on another machine"), "{}", ran.err);

    // Nor is one of a directory that was named, perhaps long ago in the environment.
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("admin.token"), SECRET).unwrap();
    let ran = bulkhead(&["list", "--admin", "http://192.0.2.1:8081", "--data", data.path().to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    assert!(ran.err.contains("only to a server on this machine") && ran.err.contains("--admin-token"), "{}", ran.err);
}

#[test]
fn schema_and_completions_are_printed() {
    let schema: Value = serde_json::from_str(&bulkhead(&["schema"]).out).unwrap();
    assert!(schema["properties"]["processor_path"].is_object());
    let schema: Value = serde_json::from_str(&bulkhead(&["schema", "--gateway"]).out).unwrap();
    assert!(schema["properties"]["clusters"].is_object());
    for file in [&["schema"][..], &["schema", "--gateway"]] {
        let printed = bulkhead(file).out;
        let keys: Vec<&str> =
            printed.lines().filter_map(|line| line.trim().split(':').next()).skip(1).take(2).collect();
        assert_eq!(keys, ["\"$schema\"", "\"title\""], "{file:?}");
    }
    let document: Value = serde_json::from_str(&bulkhead(&["schema", "--api"]).out).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for shell in ["bash", "zsh", "fish"] {
        let ran = bulkhead(&["completions", shell]);
        assert!(ran.out.contains("BULKHEAD_COMPLETE=") && !ran.out.contains("\u{1b}"), "{shell}");
    }
}

#[test]
fn serve_takes_addresses_and_limits() {
    let options = |args: &[&str]| match Cli::try_parse_from([&["bulkhead", "serve"], args].concat()) {
        Ok(Cli { command: Command::Serve(args), .. }) => args.options().map_err(|failure| failure.to_string()),
        Ok(_) => unreachable!("`serve` is `serve`"),
        Err(error) => Err(error.to_string()),
    };
    let all = options(&[
        "--listen",
        "0.0.0.0:80",
        "--admin",
        "localhost:81",
        "--access-log",
        "0.5%",
        "--io-threads",
        "2",
        "--grace",
        "5",
        "--log-format",
        "json",
        "--max-connections",
        "7",
        "--max-connections-per-address",
        "3",
        "--write-timeout",
        "250ms",
    ]);
    let all = all.unwrap();
    assert_eq!((all.listen.port(), all.admin.port(), all.io_threads), (80, 81, Some(2)));
    assert!(all.admin.ip().is_loopback(), "a host name is looked up: {}", all.admin);
    assert_eq!((all.grace, all.log_format), (Duration::from_secs(5), LogFormat::Json));
    assert_eq!(all.access_log, AccessLog::Share(5000));
    assert_eq!(options(&["--listen", "[::1]:0"]).unwrap().listen, "[::1]:0".parse().unwrap());
    assert!(options(&[]).unwrap().listen == "127.0.0.1:8080".parse().unwrap());
    assert_eq!((all.connections.total, all.connections.per_address), (7, Some(3)));
    assert_eq!(all.connections.patience.write, Duration::from_millis(250));
    for bad in [
        ["--listen", "here"],
        ["--listen", "8080"],
        ["--listen", ":8080"],
        ["--listen", "::1:8080"],
        ["--listen", "localhost:http"],
        ["--listen", "localhost:65536"],
        ["--admin", "no host.invalid:80"],
        ["--access-log", "some"],
        ["--io-threads", "0"],
        ["--log-format", "xml"],
        ["--max-connections", "0"],
        ["--advertise", "0.0.0.0:8080"],
        ["--advertise", "192.0.2.7:0"],
        ["--advertise", "192.0.2.7"],
        ["--max-connections-per-address", "-1"],
        ["--grace", "soon"],
        ["--idle-timeout", "0"],
        ["--head-timeout", "1 year"],
    ] {
        assert!(options(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_gateways_file_is_checked_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.json");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        bulkhead(&["gateway", "--check", "--config", path.to_str().unwrap()])
    };
    let good = check(r#"{"clusters": {"ml": {"upstreams": ["a:1"]}}, "routes": {"*": "ml", "x": "ml"}}"#);
    assert_eq!(good.exit, Exit::Ok, "{}", good.err);
    assert!(good.out.contains("no mistakes; routes: 2, clusters: 1"), "{}", good.out);
    let bad = check(r#"{"clusters": {"ml": {"upstreams": ["a"]}}, "routes": {"*": "mi"}}"#);
    assert_eq!(bad.exit, Exit::Usage);
    assert!(bad.err.contains("2 mistakes in"), "{}", bad.err);
    assert!(bad.err.contains("clusters.ml.upstreams[0]: found \"a\"") && bad.err.contains("routes.*:"), "{}", bad.err);
    let none = bulkhead(&["gateway", "--check", "--config", "/nowhere/at.all"]);
    assert_eq!(none.exit, Exit::Failed);
    assert!(none.err.contains("/nowhere/at.all"), "{}", none.err);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let err = Pipe::default();
    let mut screen = Screen::with(ScreenArgs::default(), Closed, err.clone());
    assert_eq!(run(Command::Schema { api: false, gateway: false }, &mut screen), Exit::Ok);
    assert_eq!(err.text(), "");
}
