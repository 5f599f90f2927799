//! A request to a queue: reads its operation and carries it out.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::operations::Desk;
use super::protocol::frame::{Media, Parts};
use super::protocol::headers::consumer;
use super::protocol::negative::{self, LONGEST_FORM};
use super::protocol::operation::{Operation, Path, Start};
use super::protocol::refused::Refused;
use super::session::Watch;
use super::websocket::{Conversation, Handshake};
use super::{put, stream};
use crate::call::{Answer, Body};
use crate::config::ServiceSpec;
use crate::front::body::offload::Offload;
use crate::front::body::receive;
use crate::incoming::Incoming;
use crate::outcome::Exchange;
use crate::queue::{Consumer, Outcome, QueueError, QueueName, Queues, Reason};
use crate::refusal::Refusal;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The code with which a consumer says that it is about to end. Its items go to others at once.
const SHUTDOWN: &str = "Shutdown";

/// A request to a queue whose caller is known.
pub(in crate::front) struct Asked<'a> {
    pub(in crate::front) service: &'a str,
    pub(in crate::front) spec: Arc<ServiceSpec>,
    pub(in crate::front) queues: Queues,
    pub(in crate::front) headers: HeaderMap,
    /// The path after the service's name.
    pub(in crate::front) path_start: usize,
    /// True if a processor must not see `Authorization`.
    pub(in crate::front) hides_authorization: bool,
    pub(in crate::front) has_signed: bool,
    pub(in crate::front) body: &'a mut Option<Incoming>,
    pub(in crate::front) offload: &'a Offload,
}

/// The answer of a queue.
pub(in crate::front) enum QueueAnswer {
    Answer(Box<Answer>),
    /// A watch over a WebSocket.
    Conversation(Box<Conversation>),
}

impl Asked<'_> {
    /// Carries out the operation.
    pub(in crate::front) async fn answer(mut self, exchange: &mut Exchange<'_>) -> Result<QueueAnswer, Refusal> {
        let path = exchange.uri().path()[self.path_start..].to_owned();
        let is_sink = path.trim_matches('/') == QueueName::SINK;
        let queue = if is_sink { QueueName::sink(self.service) } else { QueueName::input(self.service) };
        let at = if is_sink { Path::Sink } else { Path::Input(&path) };
        let consumer = consumer(&self.headers)?;
        let operation = Operation::of(exchange.method(), exchange.uri().query(), &self.headers, at)?;
        let media = Media::accepted(&self.headers);
        let store = Arc::clone(&self.queues.store);
        let answer = match operation {
            Operation::Put { tags, priority } => {
                let target = put::target(if is_sink { "" } else { &path }, exchange.uri().query());
                return Ok(put::put(self, exchange, &queue, tags, priority, target).await?.into());
            }
            Operation::Watch { index, window, index_only, auto_commit, progress, tags } => {
                let from = match index {
                    Start::From(index) => index,
                    Start::Newest => store.status(&queue).await?.last + 1,
                };
                let settings = self.spec.queue().ok_or_else(|| QueueError::NoQueue(queue.to_string()))?;
                let parts = if index_only { Parts::IndexOnly } else { Parts::All };
                let (lease, timeout) = (settings.lease, settings.timeout);
                let queues = self.queues.clone();
                let watch =
                    Watch { queues, queue, consumer, window, from, tags, auto_commit, progress, lease, timeout, parts };
                if let Some(handshake) = Handshake::of(&self.headers)? {
                    exchange.received(0);
                    return Ok(QueueAnswer::Conversation(Box::new(handshake.accept(watch, media))));
                }
                self.receive(exchange, 0).await?;
                return Ok(answer(StatusCode::OK, BYTES, Body::Stream(stream::begin(watch))).into());
            }
            Operation::NegativeCommit { indexes } => {
                let form = self.receive(exchange, LONGEST_FORM).await?;
                let content_type = self.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
                let reason = negative::parse(content_type, &form)?;
                let outcome = match reason.code == SHUTDOWN {
                    true => Outcome::Returned,
                    false => Outcome::Failed(reason),
                };
                self.desk(queue, consumer).settle(indexes, &outcome).await?;
                text("OK")
            }
            operation => {
                self.receive(exchange, 0).await?;
                self.desk(queue, consumer).simple(media, operation).await?
            }
        };
        Ok(answer.into())
    }

    fn desk(&self, queue: QueueName, consumer: Consumer) -> Desk {
        Desk { spec: Arc::clone(&self.spec), queues: self.queues.clone(), queue, consumer }
    }

    /// Receives the body of a request that is not a put.
    async fn receive(&mut self, exchange: &mut Exchange<'_>, limit: usize) -> Result<Bytes, Refusal> {
        let Some(incoming) = self.body.take() else { return Ok(Bytes::new()) };
        let keepalive = self.spec.rpc().keepalive;
        let body = receive::receive(incoming, limit, exchange.arrived() + keepalive, keepalive).await?;
        exchange.received(body.len());
        Ok(body)
    }
}

pub(super) fn text(text: impl Into<String>) -> Answer {
    answer(StatusCode::OK, TEXT, Bytes::from(text.into()).into())
}

pub(super) fn answer(status: StatusCode, content_type: HeaderValue, body: Body) -> Answer {
    Answer { status, content_type: Some(content_type), headers: HeaderMap::new(), body }
}

impl From<Answer> for QueueAnswer {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::BadRequest(detail) => Self::BadBody(detail.into()),
            Refused::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow: allow.to_owned() },
        }
    }
}

/// The end of a delivery to a consumer that has left.
pub(super) fn left() -> Outcome {
    Outcome::Failed(Reason::new("ConsumerLeft", "the consumer left before it had finished the item"))
}
