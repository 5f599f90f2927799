//! The client of the admin API.
//!
//! It handles addresses, tokens and refusals. Commands choose the paths and interpret the answers. The admin token is
//! sent only to the server that was named: redirects are not followed, and a token from a data directory is not sent to
//! another machine.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPECT, HeaderName, IF_MATCH};
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use super::failure::Failure;
use super::problem;
use crate::api::Event;

mod address;
mod connector;
mod local;
mod services;
mod settings;

pub(super) use address::base;
pub(crate) use address::{is_loopback, unreachable};
pub(crate) use connector::agent;
use connector::{Taking, watched_agent};
pub(crate) use services::{path, read};
pub(super) use settings::{Settings, default_path};

/// The address of the server if none is given.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8081";
const ACTOR: HeaderName = HeaderName::from_static("x-bulkhead-actor");

const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for an ordinary answer. It is long enough for a busy machine.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest wait between two lines of a deploy. The longest step is a compilation: the host limits it to ten minutes,
/// and compiles one processor at a time, so that a deploy also waits for those before it.
const STEP: Duration = Duration::from_secs(3600);
/// Most bytes of an answer that are read. A list of services or a description is far smaller.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
const MAX_EVENT: u64 = 1024 * 1024;
/// Larger files are sent with `Expect: 100-continue`, so that a refusal comes before the bytes are sent.
const ASK_FIRST: u64 = 256 * 1024;

#[derive(Args, Clone, Debug)]
pub(crate) struct AdminArgs {
    /// The admin listener of the server [default: http://127.0.0.1:8081]
    #[arg(long, value_name = "URL", help_heading = "Server", env = "BULKHEAD_ADMIN")]
    admin: Option<String>,
    /// The admin token; it is safer in the environment, where other users cannot see it
    #[arg(
        long,
        value_name = "TOKEN",
        help_heading = "Server",
        env = "BULKHEAD_ADMIN_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    admin_token: Option<String>,
    /// The data directory of a server on this machine, whose `admin.token` is used [default: bulkhead-data in the current
    /// directory or in the nearest directory above that has one]
    #[arg(long, value_name = "DIR", help_heading = "Server", env = "BULKHEAD_DATA")]
    data: Option<PathBuf>,
    /// A settings file of `bulkhead config` [default: the user's own, if there is one]
    #[arg(short, long, value_name = "FILE", help_heading = "Server", env = "BULKHEAD_CONFIG")]
    config: Option<PathBuf>,
    /// The name that the audit log gives for a change [default: the name of the user on this machine]
    #[arg(long = "as", value_name = "NAME", help_heading = "Server", env = "BULKHEAD_ACTOR")]
    actor: Option<String>,
}

impl AdminArgs {
    /// Finds the address, the token and the user's name: from the options, then from the settings file, then from this
    /// machine. The token is not sent yet.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = self.client_now()?;
        if is_loopback(&client.server) {
            local::wait_for(&client.server);
        }
        Ok(client)
    }

    /// As [`client`](Self::client), without waiting for a server on this machine that is just being started.
    pub(crate) fn client_now(&self) -> Result<Client, Failure> {
        let settings = Settings::read(self.config.as_deref())?;
        let written = settings.admin.as_deref().map(base).transpose()?;
        let server = match &self.admin {
            Some(admin) => base(admin)?,
            None => written.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let local = is_loopback(&server);
        let is_its = written.as_ref() == Some(&server);
        let of_another = settings.admin_token.is_some() && !is_its;
        let token = self.token(local, settings.admin_token.filter(|_| is_its));
        let token = token.map_err(|failure| match (failure, &written) {
            (Failure::Usage(told), Some(written)) if of_another => Failure::Usage(format!(
                "{told}\nhint: the stored token is for {written} alone, and is not sent to {server}"
            )),
            (failure, _) => failure,
        });
        let token = token.map_err(|failure| if local { or_data_listener(&server, failure) } else { failure })?;
        let actor = self.actor.clone().or(settings.actor).unwrap_or_else(settings::user);
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
        let (agent, taking) = watched_agent(config.build());
        Ok(Client {
            agent,
            taking,
            server,
            authorization: format!("Bearer {token}"),
            actor: plain(&actor),
            if_match: None,
        })
    }

    fn token(&self, local: bool, of_the_file: Option<String>) -> Result<String, Failure> {
        if let Some(token) = &self.admin_token {
            return checked(token, "--admin-token or BULKHEAD_ADMIN_TOKEN");
        }
        let directory = match (&self.data, of_the_file) {
            (Some(directory), _) if local => directory.clone(),
            (_, Some(token)) => return checked(&token, "the client's settings"),
            (None, None) if local => local::data_directory().ok_or_else(|| {
                no_token("no admin token: there is no bulkhead-data/admin.token here or in a directory above")
            })?,
            (directory, None) => return Err(no_token_elsewhere(directory.as_deref())),
        };
        let file = directory.join("admin.token");
        match fs::read_to_string(&file) {
            Ok(token) => checked(token.trim(), &file.display().to_string()),
            Err(cause) => Err(no_token(&format!("no admin token, and `{}` cannot be read: {cause}", file.display()))),
        }
    }
}

/// Replaces the failure if `server` is a data listener: the wrong address is the cause, not the missing token.
fn or_data_listener(server: &str, failure: Failure) -> Failure {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(CONNECT)).proxy(None).build();
    let asked = agent(config).get(format!("{server}/api/v1/services")).call();
    let body = asked.ok().filter(|answer| answer.status() == StatusCode::NOT_FOUND);
    let body = body.and_then(|answer| answer.into_body().with_config().limit(MAX_EVENT).read_to_vec().ok());
    match body.map(|body| problem::of_answer(404, &body)) {
        Some(problem) if problem.detail.contains("data listener") => Failure::Refused(Box::new(problem)),
        _ => failure,
    }
}

fn no_token(what: &str) -> Failure {
    Failure::Usage(format!(
        "{what}\nhint: set BULKHEAD_ADMIN_TOKEN, pass --admin-token TOKEN, \
         store the token with `bulkhead config`, or name the server's data directory with --data DIR"
    ))
}

/// The failure for a server on another machine. The token of a directory on this one would open another server.
fn no_token_elsewhere(directory: Option<&Path>) -> Failure {
    let kept = match directory {
        Some(directory) => format!("; the one in `{}` is sent only to a server on this machine", directory.display()),
        None => String::new(),
    };
    Failure::Usage(format!(
        "no admin token for a server on another machine{kept}\n\
         hint: set BULKHEAD_ADMIN_TOKEN, pass --admin-token TOKEN, or store the token with `bulkhead config`"
    ))
}

fn text(body: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(body).map_err(anyhow::Error::from)?)
}

/// Replaces the characters that a header cannot have. The server cuts the name to the length that it keeps.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// Refuses a token that cannot be sent in a header. The error names the token's origin, not the token.
pub(super) fn checked(token: &str, origin: &str) -> Result<String, Failure> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(format!(
            "the admin token from {origin} is empty or has characters that a token cannot have"
        )));
    }
    Ok(token.to_owned())
}

/// A server and its admin token. It has no `Debug`, so that the token is never printed.
pub(crate) struct Client {
    agent: Agent,
    taking: Taking,
    server: String,
    authorization: String,
    /// The name that the audit log gives for changes.
    actor: String,
    /// The `If-Match` of requests that change a service.
    if_match: Option<String>,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path)
    }

    /// The body of an answer that is not JSON.
    pub(crate) fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let response = self.send(self.request(Method::GET, path), SendBody::none(), ANSWER)?;
        let response = self.accepted(response)?;
        self.read(response)
    }

    /// As [`Self::get`], with the answer's `ETag` if it has one.
    pub(crate) fn get_tagged(&self, path: &str) -> Result<(Value, Option<String>), Failure> {
        let response = self.send(self.request(Method::GET, path), SendBody::none(), ANSWER)?;
        let response = self.accepted(response)?;
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Ok((self.read_json(response)?, tag))
    }

    /// A client that changes a service only if the service has this tag.
    pub(crate) fn only_if(self, tag: Option<String>) -> Self {
        Self { if_match: tag, ..self }
    }

    pub(crate) fn post(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::POST, path)
    }

    pub(crate) fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let body = text(body)?;
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

    /// True if the server already has the file.
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
        let mut content = self.taking.only_while(content);
        let response = self.send(request, SendBody::from_reader(&mut content), ANSWER)?;
        self.accepted(response).map(|_| ())
    }

    /// Requests a deploy, passes each step to `told` as it begins, and returns the server's result.
    pub(crate) fn deploy(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        mut told: impl FnMut(&Event<'_, Value>),
    ) -> Result<Value, Failure> {
        let body = text(body)?;
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
                Event::Failed { problem } => return Err(Failure::Refused(problem)),
                Event::Other => {}
            }
        }
        Err(self.broken_off("the connection ended before the deploy did"))
    }

    fn next_event(&self, lines: &mut impl BufRead) -> Result<Option<Event<'static, Value>>, Failure> {
        loop {
            let mut line = Vec::new();
            let count = lines.take(MAX_EVENT).read_until(b'\n', &mut line);
            let count = count.map_err(|error| self.broken_off(&format!("{error}")))?;
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
            what: format!("the answer of {} broke off: {cause}", self.server),
            hint: Some("the deploy may have succeeded; `bulkhead list` shows the services"),
        }
    }

    fn senseless(&self, why: &str) -> Failure {
        Failure::Failed(anyhow::anyhow!("{} does not answer as a Bulkhead admin listener would: {why}", self.server))
    }

    fn json(&self, method: Method, path: &str) -> Result<Value, Failure> {
        // A POST without a body also needs a content length.
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
        let changes_a_service = method != Method::GET && path.starts_with("/api/v1/services/");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(AUTHORIZATION, &self.authorization)
            .header(ACTOR, &self.actor);
        match &self.if_match {
            Some(tag) if changes_a_service => request.header(IF_MATCH, tag),
            _ => request,
        }
    }

    fn send(&self, request: Builder, body: SendBody<'_>, patience: Duration) -> Result<Response<Body>, Failure> {
        let request = request.body(body).map_err(|error| unreachable(&self.server, patience, &error.into()))?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(patience)).build();
        self.agent.run(request).map_err(|error| unreachable(&self.server, patience, &error))
    }

    /// Returns the response if it is a success; otherwise the server's refusal.
    fn accepted(&self, response: Response<Body>) -> Result<Response<Body>, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.read(response)?;
        let mut problem = problem::of_answer(status, &body);
        if status == 401 && problem.hint.is_none() {
            problem.hint = Some(format!("the admin token is not the one of {}", self.server).into());
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
        read.map_err(|error: io::Error| unreachable(&self.server, ANSWER, &error.into()))?;
        Ok(body)
    }
}
