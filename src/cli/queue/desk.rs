//! The requests of a caller to the queues of a service: the queue protocol of EAS on the data listener.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use ureq::http::request::Builder;
use ureq::http::{Request, Response, StatusCode};
use ureq::{Agent, Body, BodyReader, SendBody};

use super::{add, decoded};
use crate::cli::client::{self, AdminArgs, agent, is_loopback, unreachable};
use crate::cli::failure::Failure;
use crate::cli::{group, payload, problem};
use crate::config::ServiceName;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for an answer, without the time that the request itself asks the host to wait.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest wait that one request asks for. A proxy may end a request that is idle for a minute.
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// Tries of a put, and the pause after the first one, which doubles.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Most bytes of an answer: a list of items, in Base64.
const MOST_BYTES: u64 = 256 << 20;
/// Most bytes of an item of a watch: the largest `queue.max_payload_bytes`, and its tags.
const MOST_FRAME: usize = 65 << 20;

const USER: HeaderName = HeaderName::from_static("x-eas-queueservice-redis-uid");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-bulkhead-idempotency-key");
const REQUEST_ID: &str = "x-eas-queueservice-request-id";
const REPEATED: &str = "x-bulkhead-repeated";

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Sink,
}

/// The queues of a service, as a caller uses them. It has no `Debug`, so that the token is never printed.
pub(super) struct Desk {
    agent: Agent,
    name: String,
    /// The URL of the input queue.
    url: String,
    authorization: Option<HeaderValue>,
    /// The name of this consumer.
    user: HeaderValue,
}

/// An item to put.
pub(super) struct NewItem {
    /// The path after the service's name, and the query: tags and the priority.
    pub(super) target: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) data: Vec<u8>,
    /// A put that is repeated with the same key puts no second item.
    pub(super) key: HeaderValue,
}

/// The answer to a put.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) index: u64,
    pub(super) request_id: String,
    /// True if the item had been put before.
    pub(super) repeated: bool,
}

/// An item of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) index: u64,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) data: Vec<u8>,
}

/// The state of an item in the input queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Live,
    Dead,
    Nowhere,
}

/// The items of a watch.
pub(super) struct Stream {
    reader: BodyReader<'static>,
}

#[derive(Deserialize)]
struct JsonFrame {
    index: u64,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    data: String,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoFrame {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(btree_map = "string, string", tag = "2")]
    tags: BTreeMap<String, String>,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

impl Frame {
    pub(super) fn request_id(&self) -> &str {
        self.tags.get("requestId").map(String::as_str).unwrap_or_default()
    }
}

impl Desk {
    /// Asks the admin API for the address and the token of the service. `token` is sent instead of the service's own.
    pub(super) fn open(admin: &AdminArgs, name: &ServiceName, token: Option<&str>) -> Result<Self, Failure> {
        let client = admin.client()?;
        let service = client.get(&client::path(name)).map_err(|failure| group::or_group(&client, name, failure))?;
        let text = |key: &str| service.get(key).and_then(Value::as_str);
        if text("sink_url").is_none() {
            return Err(Failure::Usage(format!(
                "service `{name}` has no queues: its metadata.type is not Async\nhint: `bulkhead invoke {name}` calls it"
            )));
        }
        let url = text("url").ok_or_else(|| anyhow!("the server does not give the address of `{name}`"))?.to_owned();
        let authorization = token.or(text("token")).map(|token| {
            // The error does not show the token: it may be a secret even if it is wrong.
            let value = HeaderValue::from_str(token);
            value.map_err(|_| Failure::Usage("the token has characters that a header cannot have".to_owned()))
        });
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            config = config.proxy(None);
        }
        let user = header(&format!("cli-{}", random_id()))?;
        Ok(Self { agent: agent(config.build()), name: name.to_string(), url, authorization, user })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Puts an item. Repeats the put as long as that can help: its key makes that safe.
    pub(super) fn put(&self, item: &NewItem) -> Result<Receipt, Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.try_put(item) {
                Err(failure) if may_pass(&failure) => sleep(pause),
                settled => return settled,
            }
            pause *= 2;
        }
        self.try_put(item)
    }

    fn try_put(&self, item: &NewItem) -> Result<Receipt, Failure> {
        let url = format!("{}{}", self.url, item.target);
        let mut request = self.request("POST", &url).header(IDEMPOTENCY_KEY, &item.key);
        if let Some(headers) = request.headers_mut() {
            for (name, value) in &item.headers {
                headers.append(name, value.clone());
            }
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(payload::content_type(&item.data)));
        }
        let (response, body) = self.read(&url, self.send(&url, request, Some(&item.data), Some(ANSWER))?)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let index = std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok());
        let index = index.ok_or_else(|| self.senseless("its answer to a put is not an index"))?;
        let request_id = header(REQUEST_ID).unwrap_or_default().to_owned();
        Ok(Receipt { index, request_id, repeated: header(REPEATED).is_some() })
    }

    /// Gets items, and waits for the first one up to `wait`. `query` has the parameters without the wait.
    pub(super) fn get(&self, side: Side, query: &str, wait: Duration) -> Result<Vec<Frame>, Failure> {
        let until = Instant::now() + wait;
        loop {
            let poll = until.saturating_duration_since(Instant::now()).min(LONGEST_POLL);
            let mut query = query.to_owned();
            add(&mut query, "_raw_", "false");
            add(&mut query, "_timeout_", &format!("{}ms", poll.as_millis()));
            let url = self.url_of(side, &query);
            let response = self.send(&url, self.request("GET", &url), None, Some(poll + ANSWER))?;
            let (response, body) = self.read(&url, response)?;
            if response.status() == StatusCode::NO_CONTENT {
                if Instant::now() >= until {
                    return Ok(Vec::new());
                }
                continue;
            }
            let frames: Vec<JsonFrame> =
                serde_json::from_slice(&body).map_err(|error| self.senseless(&error.to_string()))?;
            let frame = |JsonFrame { index, tags, data }| {
                decoded(&data).map(|data| Frame { index, tags, data }).map_err(|why| self.senseless(&why))
            };
            return frames.into_iter().map(frame).collect();
        }
    }

    /// Finds an item in the input queue.
    pub(super) fn find(&self, index: u64) -> Result<Found, Failure> {
        let url = self.url_of(Side::Input, &format!("?_search_=true&_index_={index}"));
        let response = self.send(&url, self.request("GET", &url), None, Some(ANSWER))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Found::Nowhere);
        }
        let (_, body) = self.read(&url, response)?;
        let found: Value = serde_json::from_slice(&body).map_err(|error| self.senseless(&error.to_string()))?;
        Ok(if found["State"] == "dead" { Found::Dead } else { Found::Live })
    }

    /// True if the queue has ended.
    pub(super) fn has_ended(&self, side: Side) -> Result<bool, Failure> {
        let url = self.url_of(side, "?_attrs_=true");
        let (_, body) = self.read(&url, self.send(&url, self.request("GET", &url), None, Some(ANSWER))?)?;
        let attributes: Value = serde_json::from_slice(&body).map_err(|error| self.senseless(&error.to_string()))?;
        Ok(attributes["meta.state"] == "End")
    }

    /// Begins a watch. Its items are leased to this consumer.
    pub(super) fn watch(&self, side: Side, query: &str) -> Result<Stream, Failure> {
        let url = self.url_of(side, query);
        let response = self.accepted(&url, self.send(&url, self.request("GET", &url), None, None)?)?;
        Ok(Stream { reader: response.into_body().into_reader() })
    }

    /// Commits an item of a watch.
    pub(super) fn commit(&self, side: Side, index: u64) -> Result<(), Failure> {
        let url = self.url_of(side, &format!("?_indexes_={index}"));
        let response = self.send(&url, self.request("PUT", &url), Some(&[]), Some(ANSWER))?;
        self.read(&url, response).map(|_| ())
    }

    fn url_of(&self, side: Side, query: &str) -> String {
        match side {
            Side::Input => format!("{}{query}", self.url),
            Side::Sink => format!("{}/sink{query}", self.url),
        }
    }

    fn request(&self, method: &str, url: &str) -> Builder {
        let request = Request::builder().method(method).uri(url).header(USER, &self.user);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// Sends a request; a limit of `None` sets no limit on the time of the answer.
    fn send(
        &self,
        url: &str,
        request: Builder,
        body: Option<&[u8]>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let patience = limit.unwrap_or(ANSWER);
        let failed = |error: &ureq::Error| unreachable(url, patience, error);
        let content = match body {
            Some(body) => request.body(SendBody::from_owned_reader(io::Cursor::new(body.to_vec()))),
            None => request.body(SendBody::none()),
        };
        let mut content = content.map_err(|error| failed(&error.into()))?;
        if let Some(body) = body {
            content.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        }
        let content = self.agent.configure_request(content).timeout_global(limit).build();
        self.agent.run(content).map_err(|error| failed(&error))
    }

    /// Returns the response if it is a success; otherwise the refusal.
    fn accepted(&self, url: &str, response: Response<Body>) -> Result<Response<Body>, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let read = response.into_body().into_reader().take(MOST_BYTES).read_to_end(&mut body);
        read.map_err(|error| unreachable(url, ANSWER, &error.into()))?;
        Err(Failure::Refused(Box::new(problem::of_answer(status, &body))))
    }

    fn read(&self, url: &str, response: Response<Body>) -> Result<(Response<()>, Vec<u8>), Failure> {
        let (head, content) = self.accepted(url, response)?.into_parts();
        let mut body = Vec::new();
        let read = content.into_reader().take(MOST_BYTES).read_to_end(&mut body);
        read.map_err(|error| unreachable(url, ANSWER, &error.into()))?;
        Ok((Response::from_parts(head, ()), body))
    }

    fn senseless(&self, why: &str) -> Failure {
        Failure::Failed(anyhow!("{} does not answer as a queue would: {why}", self.url))
    }
}

impl Stream {
    /// The next item; `None` at the end of the stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut length = [0; 4];
        match self.reader.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => self.reader.read_exact(&mut length[1..])?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST_FRAME {
            return Err(io::Error::other(format!("an item of {length} bytes")));
        }
        let mut frame = vec![0; length];
        self.reader.read_exact(&mut frame)?;
        let ProtoFrame { index, tags, data } = ProtoFrame::decode(&*frame).map_err(io::Error::other)?;
        Ok(Some(Frame { index, tags, data }))
    }
}

/// True if the same request may succeed a moment later.
pub(super) fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(problem) => matches!(problem.status, 429 | 450 | 502 | 503),
        _ => false,
    }
}

/// A name that nobody else has.
pub(super) fn random_id() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

pub(super) fn header(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::Usage(format!("{text:?} has characters that a header cannot have")))
}
