//! A host for tests: the real binary on free ports in a temporary directory.
//!
//! Dropping it checks invariants: the accepted requests are the sum of the outcomes, no request is running or waiting,
//! no thread panicked, and the process ends cleanly on SIGTERM.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Client, Response};

/// The longest wait for an event that is about to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The host's time limit for a compilation. Uploads are compiled one at a time, so a deploy waits for those before it.
const COMPILED: Duration = Duration::from_secs(600);

pub(crate) struct TestHost {
    process: Option<Child>,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) admin_token: String,
    dir: tempfile::TempDir,
    asked_to_panic: bool,
}

/// The path and the token of a service.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) path: String,
    pub(crate) token: String,
}

impl TestHost {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], "")
    }

    /// Starts a host with further arguments, and with `failpoints` (see `src/failpoint.rs`).
    pub(crate) fn start_with(args: &[&str], failpoints: &str) -> Self {
        let host = Self::start_in(tempfile::tempdir().expect("a temporary directory"), args, failpoints, "info");
        host.wait_until_ready();
        host
    }

    /// Starts a host that logs at every level.
    pub(crate) fn start_talkative(args: &[&str]) -> Self {
        let host = Self::start_in(tempfile::tempdir().expect("a temporary directory"), args, "", "trace");
        host.wait_until_ready();
        host
    }

    /// Starts a host with `log` as `BULKHEAD_LOG`.
    pub(crate) fn start_logging(log: &str, args: &[&str]) -> Self {
        let host = Self::start_in(tempfile::tempdir().expect("a temporary directory"), args, "", log);
        host.wait_until_ready();
        host
    }

    /// Starts a host on existing data, in `dir/data`.
    pub(crate) fn start_in_dir(dir: tempfile::TempDir) -> Self {
        let host = Self::start_in(dir, &[], "", "info");
        host.wait_until_ready();
        host
    }

    /// Starts a host whose data is below `dir`, which may be another file system.
    pub(crate) fn start_below(dir: &Path) -> Self {
        let host = Self::start_in(tempfile::tempdir_in(dir).expect("a temporary directory"), &[], "", "info");
        host.wait_until_ready();
        host
    }

    /// Starts a host with additional environment variables.
    pub(crate) fn start_among(env: &[(&str, &OsStr)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let host = Self::start_with_env(dir, &[], "", "info", env);
        host.wait_until_ready();
        host
    }

    /// Starts a host with a limit: an option of `ulimit` and its value.
    pub(crate) fn start_within(option: &str, limit: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"ulimit {option} {limit} && exec "$0" "$@""#)]).arg(binary());
        command.arg("serve").arg("--data").arg(dir.path().join("data"));
        let host = Self::run(dir, command, &[], "", "info", &[]);
        host.wait_until_ready();
        host
    }

    /// Starts a host from a copy of the program.
    pub(crate) fn start_program(program: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(dir.path().join("data"));
        let host = Self::run(dir, command, &[], "", "info", &[]);
        host.wait_until_ready();
        host
    }

    fn start_in(dir: tempfile::TempDir, args: &[&str], failpoints: &str, log_level: &str) -> Self {
        Self::start_with_env(dir, args, failpoints, log_level, &[])
    }

    /// Starts a gateway with this file, that is, a host without its own services.
    pub(crate) fn start_gateway(config: &Value, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("gateway.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let mut command = Command::new(binary());
        command.arg("gateway").arg("--config").arg(file);
        let gateway = Self::run(dir, command, args, "", "info", &[]);
        gateway.wait_until_ready();
        gateway
    }

    fn start_with_env(
        dir: tempfile::TempDir,
        args: &[&str],
        failpoints: &str,
        log_level: &str,
        env: &[(&str, &OsStr)],
    ) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--data").arg(dir.path().join("data"));
        Self::run(dir, command, args, failpoints, log_level, env)
    }

    fn run(
        dir: tempfile::TempDir,
        mut command: Command,
        args: &[&str],
        failpoints: &str,
        log_level: &str,
        env: &[(&str, &OsStr)],
    ) -> Self {
        let log = File::options().create(true).append(true).open(dir.path().join("log")).expect("a log file");
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        }
        let mut process = command
            .args(args)
            .env("BULKHEAD_FAILPOINTS", failpoints)
            .env("BULKHEAD_LOG", log_level)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the host starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("a line");
        let address = |key: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or_else(|| {
                panic!("no {key} in {line:?}; log:\n{}", std::fs::read_to_string(dir.path().join("log")).unwrap())
            });
            value.parse().expect("an address")
        };
        let (data, admin) = (address("data="), address("admin="));
        // A gateway has no admin token.
        let token = std::fs::read_to_string(dir.path().join("data/admin.token")).unwrap_or_default();
        let asked_to_panic = failpoints.contains("=panic");
        Self { process: Some(process), data, admin, admin_token: token.trim().to_owned(), dir, asked_to_panic }
    }

    pub(crate) fn wait_until_ready(&self) {
        self.wait_for("every service to be settled", || self.get_admin("/readyz").status == 200);
    }

    /// Kills the process, like a power failure, and starts another on the same data.
    pub(crate) fn kill_and_restart(self) -> Self {
        let host = self.kill_and_restart_with("");
        host.wait_until_ready();
        host
    }

    /// Kills and restarts with `failpoints`, without waiting until the host is ready. The process may have ended
    /// already.
    pub(crate) fn kill_and_restart_with(self, failpoints: &str) -> Self {
        Self::start_in(self.kill_and_keep(), &[], failpoints, "info")
    }

    /// Ends the host with SIGTERM while it works, and starts another one on its data.
    pub(crate) fn terminate_and_restart(mut self) -> Self {
        let mut process = self.process.take().expect("it runs");
        terminate(process.id());
        let status = process.wait().expect("it ends");
        assert!(status.success(), "the host ended with {status}; log:\n{}", self.log());
        Self::start_in_dir(self.end_and_keep())
    }

    /// Ends the process and returns its data.
    pub(crate) fn end_and_keep(mut self) -> tempfile::TempDir {
        self.finish();
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary directory"))
    }

    /// Kills the process and returns its data.
    pub(crate) fn kill_and_keep(mut self) -> tempfile::TempDir {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary directory"))
    }

    /// Starts a host on existing data in `dir`, with `failpoints`, without waiting until it is ready.
    pub(crate) fn start_coming_up(dir: tempfile::TempDir, failpoints: &str) -> Self {
        Self::start_in(dir, &[], failpoints, "info")
    }

    /// Kills and restarts with further arguments, which the next restart does not have.
    pub(crate) fn restart_with_args(mut self, args: &[&str]) -> Self {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a temporary directory"));
        drop(self);
        let host = Self::start_in(dir, args, "", "info");
        host.wait_until_ready();
        host
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Kills the process; only a restart may follow.
    pub(crate) fn kill(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a signal");
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.data)
    }

    pub(crate) fn log(&self) -> String {
        let mut log = std::fs::read(self.dir.path().join("log")).expect("the log");
        // A partly written line is left out.
        log.truncate(log.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        String::from_utf8(log).expect("text")
    }

    /// Uploads one of the examples and returns its hash.
    pub(crate) fn upload(&self, guest: &str) -> String {
        self.upload_bytes(&std::fs::read(bulkhead_artifacts::guest(guest)).expect("a component"))
    }

    pub(crate) fn upload_bytes(&self, bytes: &[u8]) -> String {
        let sha256 = hash(bytes);
        let answer = self.call_admin("PUT", &format!("/api/v1/artifacts/{sha256}"), bytes);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        sha256
    }

    /// Deploys an example under `name` with further keys of the service file.
    pub(crate) fn deploy(&self, name: &str, guest: &str, keys: Value) -> Deployed {
        let answer = self.try_deploy(name, guest, keys);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json()["token"].as_str().unwrap_or_default().to_owned();
        Deployed { path: format!("/api/predict/{name}"), token }
    }

    pub(crate) fn try_deploy(&self, name: &str, guest: &str, keys: Value) -> Response {
        self.try_deploy_bytes(name, &std::fs::read(bulkhead_artifacts::guest(guest)).expect("a component"), keys)
    }

    pub(crate) fn try_deploy_bytes(&self, name: &str, component: &[u8], keys: Value) -> Response {
        let mut spec = json!({"name": name, "processor_path": format!("{name}.wasm")});
        for (key, value) in keys.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        let body = json!({"spec": spec, "processor": self.upload_bytes(component), "model": []});
        self.call_admin("POST", "/api/v1/services", body.to_string().as_bytes())
    }

    pub(crate) fn call_admin(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.ask_admin(method, path, &[], body)
    }

    /// Sends a request to the admin listener with further headers.
    pub(crate) fn ask_admin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let authorization = format!("Bearer {}", self.admin_token);
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        let mut client = Client::connect(self.admin);
        client.hurry(COMPILED);
        client.send(method, path, &headers, body)
    }

    pub(crate) fn get_admin(&self, path: &str) -> Response {
        Client::connect(self.admin).send("GET", path, &[], b"")
    }

    /// Returns the value of one line of the metrics; 0 if the line is missing.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.get_admin("/metrics").text();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{line} is {value:?}")))
    }

    /// Waits until a condition in the host is true, by polling.
    pub(crate) fn wait_for(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let end = Instant::now() + SOON;
        while !happened() {
            assert!(Instant::now() < end, "waited in vain for {what}; log:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Waits until the process has ended by itself, and returns its exit status.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = process.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end; log:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Waits for the end of a host that has got SIGTERM, and checks that its exit code is 0.
    pub(crate) fn wait_until_ended(mut self) {
        let status = self.process.take().expect("it runs").wait().expect("it ends");
        assert!(status.success(), "the host ended with {status}; log:\n{}", self.log());
    }

    /// Returns one row per service: accepted, settled, busy and queued.
    fn account(&self) -> Vec<(String, u64, u64, u64)> {
        let text = self.get_admin("/metrics").text();
        let mut account: Vec<(String, u64, u64, u64)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Some(service) = labels.strip_prefix("service=\"").and_then(|rest| rest.split('"').next()) else {
                continue;
            };
            let at = account.iter().position(|row| row.0 == service).unwrap_or_else(|| {
                account.push((service.to_owned(), 0, 0, 0));
                account.len() - 1
            });
            let value = value.parse::<f64>().unwrap_or_default() as u64;
            match name {
                "bulkhead_requests_accepted_total" => account[at].1 += value,
                "bulkhead_requests_total" => account[at].2 += value,
                "bulkhead_workers_busy" | "bulkhead_queue_depth" => account[at].3 += value,
                _ => {}
            }
        }
        account
    }

    /// Ends the host with SIGTERM and checks its final account.
    fn finish(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let end = Instant::now() + SOON;
        loop {
            let account = self.account();
            let balanced = |row: &&(String, u64, u64, u64)| row.1 != row.2 || row.3 != 0;
            let Some(row) = account.iter().find(balanced) else { break };
            assert!(Instant::now() < end, "accepted, settled, busy: {row:?}; log:\n{}", self.log());
            std::thread::yield_now();
        }
        terminate(process.id());
        let status = process.wait().expect("it ends");
        let log = self.log();
        assert!(status.success(), "the host ended with {status}; log:\n{log}");
        // A guest's panic is a log line with a time. A panic of the host begins with its thread.
        let panicked = log.lines().any(|line| line.starts_with("thread '") && line.contains("panicked at"));
        assert_eq!(panicked, self.asked_to_panic, "whether the host panicked:\n{log}");
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(mut process) = self.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            return;
        }
        self.finish();
    }
}

/// Returns the host under test: the one built with the tests, or another, such as a release build.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("BULKHEAD_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_bulkhead").into(), PathBuf::from)
}

/// Returns the name of an artifact with these bytes.
pub(crate) fn hash(bytes: &[u8]) -> String {
    bulkhead::hex::hex(&Sha256::digest(bytes))
}

/// Sends SIGTERM.
pub(crate) fn terminate(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
}

/// Writes a service file into its own directory, next to a component.
pub(crate) fn project(dir: &Path, name: &str, guest: &str, keys: Value) -> PathBuf {
    let mut spec = json!({"name": name, "processor_path": bulkhead_artifacts::guest(guest)});
    for (key, value) in keys.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    let file = dir.join(format!("{name}.json"));
    std::fs::write(&file, spec.to_string()).expect("a service file");
    file
}
