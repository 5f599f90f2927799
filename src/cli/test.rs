//! The command `test`: runs a service file once on this machine, without a server.

mod run;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::payload;
use super::problem::Problem;
use super::screen::{Screen, duration};
use super::service_file::{LocalFile, OverrideArgs};
use super::upload::Upload;
use crate::sandbox::{CompileError, InitializeError, PrepareError};

#[derive(Args, Debug)]
#[command(after_help = "\
Compiles, initializes and calls the processor under the limits of the service file. The body goes to
standard output; status, time, fuel and log lines go to standard error. Each -d is one call. They run one
after the other. The exit code is that of `invoke` for the first call that did not succeed.

Examples:
  bulkhead test echo.json -d hello
  bulkhead test digits.json --path /classify -d @row1.json -d @row2.json
  bulkhead test digits.json -Dsandbox.fuel=1000000 -d @row1.json")]
pub(super) struct TestArgs {
    /// The service file
    file: PathBuf,
    /// The body of a call: text, @FILE, or - for standard input; may be repeated
    #[arg(short = 'd', long = "body", value_name = "DATA")]
    body: Vec<String>,
    /// The path after the service's name in the URL
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// The method [default: POST with data, GET without]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// The content type [default: guessed from the data]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    overrides: OverrideArgs,
}

/// A request from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LocalRequest {
    method: String,
    /// The path after the service's name: empty, or beginning with `/` or `?`.
    path: String,
    content_type: Option<String>,
    body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LocalAnswer {
    status: u16,
    /// The code that a host would log; empty for status 200.
    code: &'static str,
    content_type: Option<String>,
    body: Vec<u8>,
    logs: Vec<String>,
    /// `None` without metering, and for a call that did not start or did not finish.
    fuel: Option<u64>,
    run: Duration,
}

pub(super) fn test(args: &TestArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let local = LocalFile::read(&args.file, &args.overrides)?;
    local.remark(screen);
    let requests = args.requests()?;
    let upload = Upload::gather(&local.file().normalised(), local.base(), screen).map_err(Failure::of_gathering)?;
    let spinner = screen.spinner("running");
    let answers = run::run_once(local.file(), &upload, requests);
    spinner.finish_and_clear();
    let answers = answers.map_err(of_running)?;

    if screen.is_json() {
        screen.json(&answers.iter().map(LocalAnswer::to_json).collect::<Vec<_>>())?;
    } else {
        for answer in &answers {
            answer.show(screen)?;
        }
    }
    // The exit code of `invoke` for the first call that did not succeed.
    let ends = answers.iter().map(|answer| Exit::of_status(answer.status));
    Ok(ends.into_iter().find(|exit| *exit != Exit::Ok).unwrap_or(Exit::Ok))
}

/// The failure of a run. A processor that a server would refuse is a refusal here, too, with the server's code.
fn of_running(error: anyhow::Error) -> Failure {
    let is_own = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(PrepareError::Compile(CompileError::Io(_)) | PrepareError::Engine(_)), _) => true,
        (Some(_), _) => false,
        (None, cause) => cause.is_none_or(|cause| matches!(cause, InitializeError::Host(_))),
    };
    if is_own {
        return error.into();
    }
    let (status, code, detail) = (400, "processor_refused".into(), format!("{error:#}").into());
    Failure::Refused(Box::new(Problem { status, code, detail, ..Problem::default() }))
}

impl TestArgs {
    fn requests(&self) -> Result<Vec<LocalRequest>, Failure> {
        let path = match self.path.as_str() {
            path if path.is_empty() || path.starts_with(['/', '?']) => path.to_owned(),
            path => format!("/{path}"),
        };
        let request = |default: &str, content_type, body| LocalRequest {
            method: self.method.clone().unwrap_or_else(|| default.to_owned()),
            path: path.clone(),
            content_type,
            body,
        };
        if self.body.is_empty() {
            return Ok(vec![request("GET", self.content_type.clone(), Vec::new())]);
        }
        let requests = self.body.iter().map(|data| {
            let body = payload::read(data)?;
            let content_type = self.content_type.clone().unwrap_or_else(|| payload::content_type(&body).to_owned());
            Ok(request("POST", Some(content_type), body))
        });
        requests.collect()
    }
}

impl LocalAnswer {
    fn show(&self, screen: &mut Screen) -> Result<(), Failure> {
        for line in &self.logs {
            screen.note(format_args!("log: {line}"));
        }
        // A body from the processor is printed unchanged; a message of the host is printed as a line.
        match self.code {
            "" | "processor_status" => screen.body(&self.body)?,
            _ => screen.line(String::from_utf8_lossy(&self.body))?,
        }
        let code = if self.code.is_empty() { String::new() } else { format!(" {}", self.code) };
        let fuel = self.fuel.map(|fuel| format!(", {fuel} fuel")).unwrap_or_default();
        screen.note(format_args!(
            "status {}{code}, {} bytes, {}{fuel}",
            self.status,
            self.body.len(),
            duration(self.run)
        ));
        Ok(())
    }

    fn to_json(&self) -> Value {
        let mut answer = json!({
            "status": self.status,
            "code": Some(self.code).filter(|code| !code.is_empty()),
            "content_type": self.content_type,
            "logs": self.logs,
            "fuel": self.fuel,
            "run_ms": self.run.as_secs_f64() * 1e3,
        });
        let (key, body) = payload::member(&self.body);
        answer[key] = body;
        answer
    }
}
