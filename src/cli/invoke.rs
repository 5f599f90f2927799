//! The command `invoke`: sends one request to a service, as its callers would.

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Map, Value, json};
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body};

use super::client::{self, AdminArgs, agent, is_loopback, unreachable};
use super::failure::{Exit, Failure};
use super::group;
use super::payload;
use super::screen::{Screen, duration};
use super::time::time;
use crate::config::{MOST_BODY, ServiceName};

const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes of an answer's body: the largest `sandbox.max_response_bytes`. The tests use a smaller number.
const MAX_BODY: u64 = if cfg!(test) { 1 << 20 } else { MOST_BODY };

#[derive(Args, Debug)]
#[command(after_help = "\
Address and token come from the admin API. The body goes to standard output, the status to standard error.

Examples:
  bulkhead invoke echo -d hello
  bulkhead invoke digits --path /classify -d @row.json -i
  head -1 rows.jsonl | bulkhead invoke digits -d - --json")]
pub(super) struct InvokeArgs {
    /// The service
    name: ServiceName,
    /// The path after the service's name in the URL
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// The method [default: POST with data, GET without]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: text, @FILE, or - for standard input
    #[arg(short = 'd', long = "body", value_name = "DATA")]
    body: Option<String>,
    /// The token to send, instead of the service's own
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    /// Print the status and the headers before the body
    #[arg(short, long)]
    include: bool,
    /// Longest time to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    timeout: Duration,
    #[command(flatten)]
    admin: AdminArgs,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    time: Duration,
}

pub(super) fn invoke(args: &InvokeArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let body = args.body.as_deref().map(payload::read).transpose()?;
    let found = locate(&args.admin, &args.name)?;
    let token = args.token.as_deref().or(found.token.as_deref());
    let answer = args.send(&joined(&found.url, &args.path), token, body)?;
    answer.show(args.include, screen)?;
    Ok(Exit::of_status(answer.status.as_u16()))
}

/// The address of a service, and its token.
pub(super) struct Found {
    pub(super) url: String,
    pub(super) token: Option<String>,
    /// The URL of the sink, if the service is asynchronous.
    pub(super) sink_url: Option<String>,
}

/// Asks the server for the address of a service, and for its token if it has one.
pub(super) fn locate(admin: &AdminArgs, name: &ServiceName) -> Result<Found, Failure> {
    let client = admin.client()?;
    let service = client.get(&client::path(name)).map_err(|failure| group::or_group(&client, name, failure))?;
    let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
    let url = text("url").ok_or_else(|| anyhow!("the server does not give the address of `{name}`"))?;
    Ok(Found { url, token: text("token"), sink_url: text("sink_url") })
}

/// The named method; if none is named, POST with a body and GET without.
pub(super) fn method(named: Option<&str>, has_body: bool) -> Result<Method, Failure> {
    match named {
        Some(method) => method.parse().map_err(|_| Failure::Usage(format!("`{method}` is not an HTTP method"))),
        None if has_body => Ok(Method::POST),
        None => Ok(Method::GET),
    }
}

impl InvokeArgs {
    fn send(&self, url: &str, token: Option<&str>, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let method = method(self.method.as_deref(), body.is_some())?;
        // These methods get a body even if it is empty; without one, the client would send a chunked body.
        let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let mut request = Request::builder().method(method).uri(url);
        if let Some(headers) = request.headers_mut() {
            self.fill(headers, token, body.as_deref())?;
        }
        let agent = self.agent(url);
        let begin = Instant::now();
        let response = match body.or(has_body.then(Vec::new)) {
            Some(body) => request.body(body).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
        };
        let answer = response.and_then(|response| Answer::read(response, begin));
        let answer = answer.map_err(|error| unreachable(url, self.timeout, &error))?;
        if answer.body.len() as u64 > MAX_BODY {
            let most = MAX_BODY >> 20;
            return Err(Failure::Failed(anyhow!("the answer is larger than {most} MiB, the most that `invoke` reads")));
        }
        Ok(answer)
    }

    fn fill(&self, headers: &mut HeaderMap, token: Option<&str>, body: Option<&[u8]>) -> Result<(), Failure> {
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if let Some(token) = token {
            // The error does not show the token: it may be a secret even if it is wrong.
            let mut value = HeaderValue::from_str(token)
                .map_err(|_| Failure::Usage("the token has characters that a header cannot have".to_owned()))?;
            value.set_sensitive(true);
            headers.entry(AUTHORIZATION).or_insert(value);
        }
        if let Some(body) = body {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(payload::content_type(body)));
        }
        Ok(())
    }

    /// An agent that returns every answer unchanged. Refusals are results here, and a redirect would lead to the answer
    /// of another service.
    fn agent(&self, url: &str) -> Agent {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(self.timeout))
            .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
        if is_loopback(url) {
            config = config.proxy(None);
        }
        agent(config.build())
    }
}

impl Answer {
    fn read(response: Response<Body>, begin: Instant) -> Result<Self, ureq::Error> {
        let (head, body) = response.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().take(MAX_BODY + 1).read_to_end(&mut bytes)?;
        Ok(Self { status: head.status, headers: head.headers, body: bytes, time: begin.elapsed() })
    }

    fn show(&self, include: bool, screen: &mut Screen) -> Result<(), Failure> {
        if screen.is_json() {
            return screen.json(&self.to_json());
        }
        if include {
            screen.line(format_args!("HTTP/1.1 {}", self.status_line()))?;
            for (name, value) in &self.headers {
                screen.line(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
            }
            screen.line("")?;
        }
        screen.body(&self.body)?;
        screen.note(format_args!("{}, {} bytes, {}", self.status_line(), self.body.len(), duration(self.time)));
        Ok(())
    }

    fn to_json(&self) -> Value {
        let mut headers = Map::new();
        for name in self.headers.keys() {
            let values: Vec<_> =
                self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            headers.insert(name.to_string(), json!(values.join(", ")));
        }
        let mut answer = json!({
            "status": self.status.as_u16(),
            "headers": headers,
            "time_ms": self.time.as_secs_f64() * 1e3,
        });
        let (key, body) = payload::member(&self.body);
        answer[key] = body;
        answer
    }

    /// The status and its reason phrase, also for the two statuses that only EAS has.
    fn status_line(&self) -> String {
        let reason = match self.status.as_u16() {
            450 => "Queue Full",
            499 => "Client Closed Request",
            _ => self.status.canonical_reason().unwrap_or_default(),
        };
        format!("{} {reason}", self.status.as_u16()).trim_end().to_owned()
    }
}

pub(super) fn joined(url: &str, path: &str) -> String {
    if path.is_empty() || path.starts_with(['/', '?']) { format!("{url}{path}") } else { format!("{url}/{path}") }
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written `Name: value`")?;
    let name = name.trim().parse().map_err(|_| "the part before the colon is not a header name")?;
    let value =
        value.trim().parse().map_err(|_| "the part after the colon has characters that a header cannot have")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended() {
        let url = "http://h/api/predict/echo";
        assert_eq!(joined(url, ""), url);
        assert_eq!(joined(url, "/v1?a=b"), "http://h/api/predict/echo/v1?a=b");
        assert_eq!(joined(url, "v1"), "http://h/api/predict/echo/v1");
        assert_eq!(joined(url, "?a=b"), "http://h/api/predict/echo?a=b");
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let (name, value) = header("X-Url: http://h:1").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-url", "http://h:1"));
        assert!(header("no colon").is_err());
        assert!(header("bad name: x").is_err());
        assert!(header("x: a\nb").is_err());
    }
}
