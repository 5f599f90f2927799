//! The programs that send a plan, and the commands that run them.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::plan::{Body, Framing, Plan, Request, Session, Want};

/// The outcome of one request, as a client reports it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) client: String,
    pub(super) session: String,
    pub(super) index: usize,
    /// A status, or `error`.
    status: String,
    /// The `code` of the answer's problem document, `-` without one, or the text of the error.
    code: String,
}

impl Outcome {
    /// Returns the difference from the right answer, as text.
    pub(super) fn differs(&self, want: &Want) -> Option<String> {
        let Want(status, code) = want;
        // Java hides the body of a 401 to a streamed request, because it could not repeat the request with credentials.
        let hides_the_body = self.client.starts_with("java HttpURLConnection") && *status == 401 && self.code == "-";
        if self.status == status.to_string() && (self.code == *code || hides_the_body) {
            return None;
        }
        let Self { session, index, status: got, code: told, .. } = self;
        Some(format!("{session}, request {index}: {got} {told}, and {status} {code} is right"))
    }

    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [client, session, index, status, code] = fields[..] else { panic!("not an outcome: {line:?}") };
        let index = index.parse().unwrap_or_else(|_| panic!("not an outcome: {line:?}"));
        let [client, session, status, code] = [client, session, status, code].map(str::to_owned);
        Self { client, session, index, status, code }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Node,
    NodeHttp2,
    Java,
    Python,
    Go,
    Curl(Curl),
}

/// The variants of calling curl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curl {
    /// Sends `Expect: 100-continue` for a large body, and waits up to a second for the answer.
    Plain,
    Unasked,
    Http2,
}

impl Program {
    pub(super) fn all(speaks_http2: bool) -> Vec<Self> {
        let mut all =
            vec![Self::Node, Self::Java, Self::Python, Self::Go, Self::Curl(Curl::Plain), Self::Curl(Curl::Unasked)];
        if speaks_http2 {
            all.extend([Self::NodeHttp2, Self::Curl(Curl::Http2)]);
        }
        all
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::NodeHttp2 => "node, HTTP/2",
            Self::Java => "java",
            Self::Python => "python",
            Self::Go => "go",
            Self::Curl(Curl::Plain) => "curl",
            Self::Curl(Curl::Unasked) => "curl without Expect",
            Self::Curl(Curl::Http2) => "curl, HTTP/2",
        }
    }

    /// Returns the reason why the program cannot run on this machine; `None` if it can.
    pub(super) fn is_missing(self) -> Option<String> {
        let runs = |program: &str, argument: &str| says(program, argument).is_some();
        match self {
            Self::Node | Self::NodeHttp2 => (!runs("node", "--version")).then(|| "there is no node".to_owned()),
            // A runtime without a compiler cannot run a source file.
            Self::Java => (!runs("javac", "-version")).then(|| "there is no JDK".to_owned()),
            Self::Python => python().is_none().then(|| "BULKHEAD_PYTHON names no Python with the clients".to_owned()),
            Self::Go => go().is_none().then(|| "the Python of BULKHEAD_PYTHON has no Go beside it".to_owned()),
            Self::Curl(Curl::Http2) => match says("curl", "--version") {
                None => Some("there is no curl".to_owned()),
                Some(version) => (!version.contains("HTTP2")).then(|| "this curl speaks no HTTP/2".to_owned()),
            },
            Self::Curl(_) => (!runs("curl", "--version")).then(|| "there is no curl".to_owned()),
        }
    }

    /// Sends the plan, which is also in `file`.
    pub(super) fn run(self, file: &Path, plan: &Plan, address: SocketAddr) -> Vec<Outcome> {
        let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let command = match self {
            Self::Curl(how) => {
                return plan.sessions.iter().flat_map(|session| curl(how, session, file, address)).collect();
            }
            Self::Node | Self::NodeHttp2 => with("node".as_ref(), &script("node.mjs")),
            Self::Java => with("java".as_ref(), &script("Clients.java")),
            Self::Go => {
                let mut command = Command::new(go().expect("it was looked for"));
                // The program uses only the standard library, so Go need not look for a module.
                command.arg("run").env("GO111MODULE", "off").env("GOTOOLCHAIN", "local");
                command.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
                command.arg(script("client.go"));
                command
            }
            Self::Python => with(&python().expect("it was looked for"), &script("clients.py")),
        };
        let Output { status, stdout, stderr } =
            sent(command, file, if self == Self::NodeHttp2 { &["http2"] } else { &[] });
        let told = String::from_utf8(stdout).expect("text");
        assert!(status.success(), "{self:?} ended with {status}: {}\n{told}", String::from_utf8_lossy(&stderr));
        told.lines().map(Outcome::parse).collect()
    }
}

fn with(program: &Path, script: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(script);
    command
}

fn sent(mut command: Command, file: &Path, further: &[&str]) -> Output {
    command.arg(file).args(further).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Returns the Python with the packages of `tests/python/requirements.txt`. `cargo xtask test` sets the variable.
pub(crate) fn python() -> Option<PathBuf> {
    env::var_os("BULKHEAD_PYTHON").map(PathBuf::from)
}

/// Returns the Go toolchain from the same requirements.
fn go() -> Option<PathBuf> {
    let go = python()?.with_file_name("go");
    go.is_file().then_some(go)
}

fn says(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sends a session with one curl, so that its requests may share a connection. curl 7.88 cannot reuse an HTTP/2
/// connection with prior knowledge, whatever the server, so there each request runs its own curl.
fn curl(how: Curl, session: &Session, file: &Path, address: SocketAddr) -> Vec<Outcome> {
    let together = if how == Curl::Http2 { 1 } else { session.requests.len() };
    let chunks = session.requests.chunks(together).enumerate();
    chunks.flat_map(|(at, requests)| one_curl(how, session, at * together, requests, file, address)).collect()
}

fn one_curl(
    how: Curl,
    session: &Session,
    first: usize,
    requests: &[Request],
    file: &Path,
    address: SocketAddr,
) -> Vec<Outcome> {
    let dir = file.parent().expect("a directory");
    let answers: Vec<PathBuf> = (0..requests.len()).map(|index| dir.join(format!("answer-{index}"))).collect();
    let mut command = Command::new("curl");
    for (index, (request, answer)) in requests.iter().zip(&answers).enumerate() {
        let _ = std::fs::remove_file(answer);
        if index > 0 {
            command.arg("--next");
        }
        command.args(["--silent", "--max-time", "60", "--noproxy", "*"]);
        command.args(["--write-out", "%{http_code}\t%{exitcode}\t%{errormsg}\n"]).arg("--output").arg(answer);
        match how {
            Curl::Plain => {}
            Curl::Unasked => drop(command.args(["--header", "Expect:"])),
            Curl::Http2 => drop(command.arg("--http2-prior-knowledge")),
        }
        match request.method {
            "HEAD" => drop(command.arg("--head")),
            method => drop(command.args(["--request", method])),
        }
        for (name, value) in &request.headers {
            command.arg("--header").arg(format!("{name}: {value}"));
        }
        if request.framing != Framing::None {
            let body = dir.join(format!("body-{index}"));
            let content = match request.body {
                Body::Size(size) => vec![b'a'; size],
                Body::Text(text) => text.as_bytes().to_vec(),
            };
            std::fs::write(&body, content).expect("a file");
            command.arg("--data-binary").arg(format!("@{}", body.display()));
        }
        // HTTP/2 has no chunked framing.
        if request.framing == Framing::Chunked && how != Curl::Http2 {
            command.args(["--header", "Transfer-Encoding: chunked"]);
        }
        command.arg(format!("http://{address}{}", request.path));
    }
    let output = command.output().expect("curl runs");
    let told = String::from_utf8(output.stdout).expect("text");
    let lines = told.lines().zip(&answers).enumerate();
    lines
        .map(|(index, (line, answer))| {
            let (status, rest) = line.split_once('\t').expect("three fields");
            let (exit, message) = rest.split_once('\t').expect("three fields");
            // A script sees the exit code first, so a status on a broken connection counts as a failure.
            let (status, code) = match exit {
                "0" => (status.to_owned(), code_in(answer)),
                _ => ("error".to_owned(), format!("({exit}) {message}, status {status}")),
            };
            let (client, session) = (Program::Curl(how).name().to_owned(), session.name.clone());
            Outcome { client, session, index: first + index, status, code }
        })
        .collect()
}

/// Returns the `code` of the problem document in a file; for HEAD the file holds the headers.
fn code_in(answer: &Path) -> String {
    let text = std::fs::read(answer).unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    let code = problem.as_ref().and_then(|problem| problem["code"].as_str());
    code.unwrap_or("-").to_owned()
}
