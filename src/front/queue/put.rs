//! A put: receives the body and stores the item.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::answer::{Asked, text};
use super::protocol::headers::{IDEMPOTENCY_KEY, REQUEST_ID, only_value};
use super::protocol::refused::Refused;
use crate::call::{Answer, Headers, RequestId};
use crate::front::body::packing::{Bounds, Packing};
use crate::front::body::receive;
use crate::outcome::Exchange;
use crate::queue::{Key, NewItem, QueueError, QueueName, Tags};
use crate::quoted::Quoted;
use crate::refusal::Refusal;

/// Marks the answer to a put that repeats an earlier one.
const REPEATED: HeaderName = HeaderName::from_static("x-bulkhead-repeated");
/// The beginning of the headers of the queue protocol, which are not for processors.
const OF_THE_PROTOCOL: &str = "x-eas-queueservice-";
/// Headers of one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"];

/// The path and query that the processor gets: without the parameters of the protocol, which begin with `_`.
pub(super) fn target(path: &str, query: Option<&str>) -> String {
    let mut target = path.to_owned();
    let kept = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with('_'));
    for (number, pair) in kept.enumerate() {
        target.push(if number == 0 { '?' } else { '&' });
        target.push_str(pair);
    }
    target
}

/// Puts an item. The answer is its index, and has its request id in a header.
pub(super) async fn put(
    mut asked: Asked<'_>,
    exchange: &mut Exchange<'_>,
    queue: &QueueName,
    tags: Tags,
    priority: u8,
    target: String,
) -> Result<Answer, Refusal> {
    let Some(settings) = asked.spec.queue().cloned() else {
        return Err(QueueError::NoQueue(queue.to_string()).into());
    };
    let limit = settings.max_payload_bytes;
    let too_large = |refusal| match refusal {
        Refusal::BodyTooLarge { limit } | Refusal::DecodedTooLarge { limit } => Refusal::PayloadTooLarge { limit },
        other => other,
    };
    receive::check_declared(&asked.headers, limit).map_err(too_large)?;
    let rpc = asked.spec.rpc();
    let packing = Packing::of(&asked.headers, rpc.decompressor)?;
    let naming = Naming::of(&asked.headers, exchange.request_id())?;
    check_request_id(&tags)?;
    // A put with a key may repeat an earlier one, which the store knows.
    if !naming.has_key() && asked.queues.store.is_full(queue) {
        return Err(QueueError::Full { length: settings.length }.into());
    }
    let deadline = exchange.arrived() + rpc.keepalive;
    let Some(incoming) = asked.body.take() else {
        return Err(Refusal::Internal { cause: "the body was taken already".into() });
    };
    let body = receive::receive(incoming, limit, deadline, rpc.keepalive).await.map_err(too_large)?;
    exchange.received(body.len());
    let mut headers = Headers::from(std::mem::take(&mut asked.headers));
    let data = match packing {
        None => body,
        Some(packing) => {
            let bounds = Bounds { bytes: limit, deadline, keepalive: rpc.keepalive };
            let undone = Box::pin(packing.undo(body, asked.has_signed, bounds, &mut headers, asked.offload)).await;
            exchange.unpacked();
            undone.map_err(too_large)?
        }
    };
    if asked.hides_authorization {
        headers.withhold_authorization();
    }
    let (request_id, key) = naming.of_put(&tags);
    let mut item = NewItem { priority, tags, target, headers: kept(&headers), data };
    item.tags.set(Tags::REQUEST_ID, &*request_id);
    let key = key.map(|text| Key { text, digest: digest(&item) });
    let receipt = asked.queues.store.put(queue, item, key).await?;
    let mut answer = text(receipt.index.to_string());
    if let (Ok(name), Ok(id)) = (HeaderName::from_bytes(REQUEST_ID.as_bytes()), HeaderValue::from_str(&request_id)) {
        answer.headers.insert(name, id);
    }
    if receipt.repeated {
        answer.headers.insert(REPEATED, HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// Refuses a request id among the tags that the header of the answer cannot have.
fn check_request_id(tags: &Tags) -> Result<(), Refusal> {
    let Some(id) = tags.request_id() else { return Ok(()) };
    if HeaderValue::from_str(id).is_ok() {
        return Ok(());
    }
    let (tag, id) = (Tags::REQUEST_ID, Quoted(id.as_bytes()));
    Err(Refused::BadRequest(format!("the tag {tag} is {id}; accepted are printable ASCII characters")).into())
}

/// The names that the client gives its put.
struct Naming {
    /// The request id of the protocol's header.
    request_id: Option<String>,
    idempotency_key: Option<String>,
    /// The id of the request that has the put.
    of_request: RequestId,
}

impl Naming {
    fn of(headers: &http::HeaderMap, of_request: RequestId) -> Result<Self, Refusal> {
        let named = |name| -> Result<Option<String>, Refusal> {
            let Some(value) = only_value(headers, name)? else { return Ok(None) };
            match RequestId::from_caller(value) {
                Some(id) => Ok(Some(id.as_str().to_owned())),
                None => Err(Refused::BadRequest(format!(
                    "the header {name} is {}; accepted are 1 to {} letters, digits and -_.:/+=",
                    Quoted(value),
                    RequestId::MAX
                ))
                .into()),
            }
        };
        Ok(Self { request_id: named(REQUEST_ID)?, idempotency_key: named(IDEMPOTENCY_KEY)?, of_request })
    }

    fn has_key(&self) -> bool {
        self.idempotency_key.is_some() || self.request_id.is_some()
    }

    /// The request id of the item, and the text of its idempotency key. A client that names its request means the same
    /// request each time, so its name is a key too. A key without a request id is the request id as well: the answer to
    /// a repetition then names the item that was put.
    fn of_put(self, tags: &Tags) -> (String, Option<String>) {
        let key = self.idempotency_key.clone().or_else(|| self.request_id.clone());
        let tag = tags.request_id().map(str::to_owned);
        let id = tag.or(self.request_id).or(self.idempotency_key);
        (id.unwrap_or_else(|| self.of_request.as_str().to_owned()), key)
    }
}

/// The headers that go to the processor with the item.
fn kept(headers: &Headers) -> Vec<(String, Bytes)> {
    let is_kept = |name: &str| !name.starts_with(OF_THE_PROTOCOL) && !HOP_BY_HOP.contains(&name);
    let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
    kept.map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// The digest of the parts of a put that a repetition must have as well. Headers differ from one attempt to the next.
fn digest(item: &NewItem) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(&[item.priority]);
    part(item.target.as_bytes());
    for (name, value) in item.tags.iter().filter(|(name, _)| *name != Tags::REQUEST_ID) {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(&item.data);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_the_protocol_stay_away_from_the_processor() {
        for (path, query, expected) in [
            ("", None, ""),
            ("/sub/path", None, "/sub/path"),
            ("", Some("_priority_=1"), ""),
            ("/x", Some("a=1&_priority_=1&b=%20&"), "/x?a=1&b=%20"),
        ] {
            assert_eq!(target(path, query), expected);
        }
    }

    #[test]
    fn a_digest_follows_what_a_repetition_must_have() {
        let item = |data: &'static str, tag: &str, id: &str| NewItem {
            data: Bytes::from_static(data.as_bytes()),
            tags: [("t", tag), (Tags::REQUEST_ID, id)].into_iter().collect(),
            ..NewItem::default()
        };
        assert_eq!(digest(&item("a", "1", "x")), digest(&item("a", "1", "y")));
        assert_ne!(digest(&item("a", "1", "x")), digest(&item("b", "1", "x")));
        assert_ne!(digest(&item("a", "1", "x")), digest(&item("a", "2", "x")));
        assert_ne!(digest(&item("", "1a", "x")), digest(&item("a", "1", "x")), "parts have their lengths");
    }
}
