//! The admin API, seen from the command line.
//!
//! It knows addresses, tokens and refusals, and nothing about services: commands say which path they want. The admin
//! token goes only to the server that was named: redirects are not followed, and a token that merely lies in the
//! default data directory is not offered to another machine.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use super::failure::Failure;
use super::problem::Problem;

mod address;
mod event;

pub(crate) use address::{is_loopback, unreachable};
pub(crate) use event::Event;

const CONNECT: Duration = Duration::from_secs(5);
/// An ordinary answer is quick; this is for a machine that is busy, not for one that is gone.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two lines of a deploy: the longest step is a compilation or an `initialize`, and both end by limits of the
/// host.
const STEP: Duration = Duration::from_secs(900);
/// Answers are read whole; a list of services or a description is far below this.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
const MAX_EVENT: u64 = 1024 * 1024;
/// From this size on the server is asked first, so that a refusal comes before the bytes are sent.
const ASK_FIRST: u64 = 256 * 1024;

#[derive(Args, Clone, Debug)]
pub(crate) struct AdminArgs {
    /// The admin listener of the server
    #[arg(
        long,
        value_name = "URL",
        help_heading = "Server",
        env = "BULKHEAD_ADMIN",
        default_value = "http://127.0.0.1:8081"
    )]
    admin: String,
    /// The admin token; it is better off in the environment, where other users do not see it
    #[arg(long, value_name = "TOKEN", help_heading = "Server", env = "BULKHEAD_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// A local data directory whose `admin.token` to use [default: ./bulkhead-data, for a server on this machine]
    #[arg(long, value_name = "DIR", help_heading = "Server", env = "BULKHEAD_DATA")]
    data: Option<PathBuf>,
}

impl AdminArgs {
    /// Finds address and token. Nothing is sent yet.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let server = address::base(&self.admin)?;
        let local = is_loopback(&server);
        let token = self.token(local)?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(ANSWER))
            .timeout_per_write(Some(ANSWER))
            .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
        if local {
            // A proxy cannot reach this machine's loopback.
            config = config.proxy(None);
        }
        Ok(Client { agent: config.build().into(), server, authorization: format!("Bearer {token}") })
    }

    fn token(&self, local: bool) -> Result<String, Failure> {
        if let Some(token) = &self.admin_token {
            return checked(token, "--admin-token or BULKHEAD_ADMIN_TOKEN");
        }
        let directory = match &self.data {
            Some(directory) => directory.clone(),
            None if local => PathBuf::from("bulkhead-data"),
            None => return Err(no_token("no admin token for a server elsewhere")),
        };
        let file = directory.join("admin.token");
        match fs::read_to_string(&file) {
            Ok(token) => checked(token.trim(), &file.display().to_string()),
            Err(cause) => Err(no_token(&format!("no admin token, and `{}` cannot be read: {cause}", file.display()))),
        }
    }
}

fn no_token(what: &str) -> Failure {
    Failure::Usage(format!(
        "{what}\nhint: set BULKHEAD_ADMIN_TOKEN, pass --admin-token TOKEN, \
         or name the server's data directory with --data DIR"
    ))
}

/// A token that cannot stand in a header is refused here, where its origin is known and it need not be shown.
fn checked(token: &str, origin: &str) -> Result<String, Failure> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(format!("the admin token from {origin} is empty or has characters no token has")));
    }
    Ok(token.to_owned())
}

/// A server and the right to administer it. Deliberately without `Debug`: it holds the token.
pub(crate) struct Client {
    agent: Agent,
    server: String,
    authorization: String,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::POST, path)
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = body.to_string();
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .header(ACCEPT, "application/json");
        let response = self.send(request, SendBody::from_reader(&mut body.as_bytes()), ANSWER)?;
        let response = self.accepted(response)?;
        self.read_json(response)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::DELETE, path)
    }

    /// Whether the server has these bytes already.
    pub(crate) fn has_artifact(&self, sha256: &str) -> Result<bool, Failure> {
        let request = self.request(Method::HEAD, &format!("/api/v1/artifacts/{sha256}"));
        let response = self.send(request, SendBody::none(), ANSWER)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.accepted(response).map(|_| true),
        }
    }

    pub(crate) fn put_artifact(&self, sha256: &str, bytes: u64, content: &mut dyn Read) -> Result<(), Failure> {
        let mut request = self
            .request(Method::PUT, &format!("/api/v1/artifacts/{sha256}"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, bytes);
        if bytes > ASK_FIRST {
            request = request.header(EXPECT, "100-continue");
        }
        let response = self.send(request, SendBody::from_reader(content), ANSWER)?;
        self.accepted(response).map(|_| ())
    }

    /// Asks for a deploy, tells each step as it begins, and returns the server's result.
    pub(crate) fn deploy(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        mut told: impl FnMut(&Event),
    ) -> Result<Value, Failure> {
        let body = body.to_string();
        let request = self
            .request(method, path)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .header(ACCEPT, "application/x-ndjson, application/json");
        let response = self.send(request, SendBody::from_reader(&mut body.as_bytes()), STEP)?;
        let response = self.accepted(response)?;
        if response.body().mime_type() != Some("application/x-ndjson") {
            return self.read_json(response);
        }
        let mut lines = BufReader::new(response.into_body().into_reader());
        while let Some(event) = self.next_event(&mut lines)? {
            match event {
                Event::Progress { .. } | Event::Notice { .. } => told(&event),
                Event::Done { result } => return Ok(result),
                Event::Failed { problem } => return Err(Failure::Refused(Box::new(problem))),
                Event::Other => {}
            }
        }
        Err(self.broken_off("the connection ended before the deploy did"))
    }

    fn next_event(&self, lines: &mut impl BufRead) -> Result<Option<Event>, Failure> {
        loop {
            let mut line = Vec::new();
            let count = lines.take(MAX_EVENT).read_until(b'\n', &mut line);
            let count = count.map_err(|error| self.broken_off(&format!("the connection broke: {error}")))?;
            if count == 0 {
                return Ok(None);
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            return serde_json::from_slice(&line).map(Some).map_err(|error| self.senseless(&error.to_string()));
        }
    }

    fn broken_off(&self, cause: &str) -> Failure {
        Failure::Unreachable {
            server: self.server.clone(),
            cause: cause.to_owned(),
            hint: Some("the deploy may have gone through; `bulkhead list` shows what is there"),
        }
    }

    fn senseless(&self, why: &str) -> Failure {
        Failure::Failed(anyhow::anyhow!("{} does not answer as a Bulkhead admin listener would: {why}", self.server))
    }

    fn json(&self, method: Method, path: &str) -> Result<Value, Failure> {
        // A POST without a body still says how long it is.
        let empty = method == Method::POST;
        let mut request = self.request(method, path).header(ACCEPT, "application/json");
        if empty {
            request = request.header(CONTENT_LENGTH, 0);
        }
        let response = self.send(request, SendBody::none(), ANSWER)?;
        let response = self.accepted(response)?;
        self.read_json(response)
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(AUTHORIZATION, &self.authorization)
    }

    fn send(&self, request: Builder, body: SendBody<'_>, patience: Duration) -> Result<Response<Body>, Failure> {
        let request = request.body(body).map_err(|error| unreachable(&self.server, &error.into()))?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(patience)).build();
        self.agent.run(request).map_err(|error| unreachable(&self.server, &error))
    }

    /// Lets a success through and turns everything else into what the server says about it.
    fn accepted(&self, response: Response<Body>) -> Result<Response<Body>, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.read(response)?;
        let mut problem = Problem::from_answer(status, &body);
        if status == 401 && problem.hint.is_none() {
            problem.hint = Some(format!("the admin token is not the one of {}", self.server));
        }
        Err(Failure::Refused(Box::new(problem)))
    }

    fn read_json(&self, response: Response<Body>) -> Result<Value, Failure> {
        let body = self.read(response)?;
        serde_json::from_slice(&body).map_err(|error| self.senseless(&error.to_string()))
    }

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let read = response.into_body().into_reader().take(MAX_ANSWER).read_to_end(&mut body);
        read.map_err(|error: io::Error| unreachable(&self.server, &error.into()))?;
        Ok(body)
    }
}
