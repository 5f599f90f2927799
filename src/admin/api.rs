//! The steps of a request to the admin listener: token → operation → query → handler → answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Access, Asked, Captures, Operation, ShapeName};
use super::operations;
use super::problem::Problem;
use super::query::Query;
use super::seats::Seat;
use super::undertaking::undertake;
use super::{Admin, Reply, conditions};
use crate::auth::{self, Unauthorized};
use crate::front::{Arrival, Content};
use crate::incoming::Incoming;
use crate::object::Object;
use crate::registry::{ChangeRequest, Condition, Operator};

/// Most bytes of a JSON body.
const MAX_JSON: usize = 4 << 20;
/// The longest wait for more bytes of a body, so that a client whose machine has failed does not keep a connection.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The header with the client's name for the audit log.
pub(super) const ACTOR: HeaderName = HeaderName::from_static("x-bulkhead-actor");
const LONGEST_ACTOR: usize = 64;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn handle(admin: Arc<Admin>, arrival: Arrival, seat: &Seat) -> Reply {
    finish(answer(admin, arrival, seat).await)
}

/// The response for an outcome, with the headers that all answers of an admin listener have: the answer must not be
/// cached, and its type must not be guessed.
pub(super) fn finish(outcome: Result<Reply, Problem>) -> Reply {
    let mut reply = outcome.unwrap_or_else(|problem| problem.reply());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

async fn answer(admin: Arc<Admin>, arrival: Arrival, seat: &Seat) -> Result<Reply, Problem> {
    let Arrival { method, uri, headers, body, fault, ends, .. } = arrival;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    let path = uri.path();
    // The token is checked first, so that clients without it cannot find out which paths exist.
    if path == "/api" || path.starts_with("/api/") {
        authorize(&admin, ends.peer, &headers)?;
        seat.token_shown();
    }
    let (operation, captures) = find(&method, path)?;
    let query = match operation.access {
        Access::Operator => Query::parse(uri.query().unwrap_or_default(), operation.query)?,
        // Probes and scrapers may add any parameters.
        Access::Open => Query::default(),
    };
    let order = match operation.action {
        Some(action) => Some(order(operation, action, &admin, ends.peer, &headers)?),
        None => None,
    };
    let service = captures.get("name").unwrap_or_default().to_owned();
    let (host, wanted) = (Arc::clone(&admin), order.clone());
    let asked = Asked { admin, headers, query, captures, body, order };
    let work = (operation.run)(asked);
    let outcome = match wanted {
        None => work.await.map_err(|problem| host.with_nearest(&service, problem)),
        Some(order) => {
            let done = undertake(host, order, service, work).await;
            done.unwrap_or_else(|error| Err(Problem::internal(&error)))
        }
    };
    if cfg!(debug_assertions) {
        operation.check(&outcome);
    }
    outcome
}

/// The requested change: its author and its conditions.
fn order(
    operation: &Operation,
    action: &'static str,
    admin: &Admin,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<ChangeRequest, Problem> {
    let condition = conditions::if_match(headers)?;
    if condition != Condition::None && !operation.is_conditional() {
        return Err(Problem::bad_request("If-Match has no meaning here: there is no service yet that could match"));
    }
    let by = Operator { name: actor(headers)?, token: admin.token_name().to_owned(), peer };
    let unless = conditions::if_none_match(headers)?;
    Ok(ChangeRequest { action, by, condition, unless })
}

/// The name that the client gives.
fn actor(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get(ACTOR) else { return Ok(None) };
    let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let name = given.to_str().ok().filter(is_plain).map(str::trim);
    match name.filter(|name| (1..=LONGEST_ACTOR).contains(&name.len())) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(Problem::bad_request(format!(
            "X-Bulkhead-Actor is not understood; accepted are 1 to {LONGEST_ACTOR} visible ASCII characters and spaces"
        ))),
    }
}

/// Finds the operation for a method and a path, and the values of the path's parts in braces.
fn find(method: &Method, path: &str) -> Result<(&'static Operation, Captures), Problem> {
    let mut others = Vec::new();
    for operation in operations::all() {
        let Some(captures) = operation.captures(path) else { continue };
        if operation.is_asked_by(method) {
            return Ok((operation, captures));
        }
        others.push(operation);
    }
    if others.is_empty() {
        return Err(Problem::not_found(path));
    }
    const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let is_answered = |method: &&Method| others.iter().any(|operation| operation.is_asked_by(method));
    let allow: Vec<_> = METHODS.iter().filter(is_answered).map(Method::as_str).collect();
    Err(Problem::method_not_allowed(&allow.join(", ")))
}

fn authorize(admin: &Admin, peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
    let authenticate = || {
        let token = auth::bearer_token(headers)?;
        if auth::is_token(&admin.token, token) { Ok(()) } else { Err(Unauthorized::WrongToken) }
    };
    Ok(admin.attempts.bound(peer, admin.token.strength(), authenticate)?)
}

/// Reads a whole JSON body. A body without a `Content-Type` counts as JSON.
pub(super) async fn json_body(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Problem> {
    check_kind(headers)?;
    let mut whole = BytesMut::new();
    loop {
        // A body that is announced to be too large is refused before it arrives.
        if body.size_hint().lower() > (MAX_JSON - whole.len()) as u64 {
            return Err(Problem::body_too_large(MAX_JSON));
        }
        let Some(piece) = piece(&mut body).await? else { return Ok(whole.freeze()) };
        if piece.len() > MAX_JSON - whole.len() {
            return Err(Problem::body_too_large(MAX_JSON));
        }
        whole.extend_from_slice(&piece);
    }
}

/// Checks that `Content-Type` says JSON, and that there is no `Content-Encoding`.
fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(Problem::bad_request("there are two Content-Type headers"));
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).flat_map(|codings| {
        codings.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty())
    });
    if let Some(coding) = codings.find(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::unsupported_coding(&String::from_utf8_lossy(coding)));
    }
    let said = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or(b"application/json");
    let media_type = said.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !media_type.eq_ignore_ascii_case(b"application/json") {
        return Err(Problem::unsupported_media_type());
    }
    Ok(())
}

/// The next piece of a body; `None` at its end.
pub(super) async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        let next = tokio::time::timeout(BODY_PATIENCE, body.frame()).await;
        let Some(frame) = next.map_err(|_| Problem::body_too_slow(BODY_PATIENCE))? else { return Ok(None) };
        // A frame without data is a trailer, and is ignored.
        if let Ok(piece) = frame?.into_data() {
            return Ok(Some(piece));
        }
    }
}

/// Members that a body must have, each with the value that is expected.
const MISSING: [(&str, &str); 3] = [
    (
        "processor",
        "it is the SHA-256 of the component, as 64 lower-case hexadecimal digits; upload the component first",
    ),
    ("action", "it is \"rotate\" or \"retire\""),
    ("request_id", "it is the header X-Eas-Queueservice-Request-Id of the answer to the put"),
];

pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(body).map(|Object(body)| body);
    read.map_err(|error| {
        let told = error.to_string();
        let missing = MISSING.iter().find(|(field, _)| told.starts_with(&format!("missing field `{field}`")));
        let problem = Problem::bad_request(format!("the body is not as expected: {told}"));
        missing.iter().fold(problem, |problem, (_, expected)| problem.with_hint(*expected))
    })
}

pub(super) fn json_reply<T: Serialize + JsonSchema>(status: StatusCode, value: &T) -> Result<Reply, Problem> {
    let text = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    let mut reply = text_reply(status, JSON, text + "\n");
    reply.extensions_mut().insert(ShapeName(T::schema_name()));
    Ok(reply)
}

/// An answer without a body.
pub(super) fn empty_reply(status: StatusCode) -> Reply {
    let mut reply = Response::new(Content::Whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

pub(super) fn text_reply(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Content::Whole(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;
    use crate::incoming::{Arriving, Broken};

    /// A body that stalls after these pieces.
    struct Stalled(Vec<&'static [u8]>);

    impl Body for Stalled {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            let piece = self.0.pop().map(|piece| Some(Ok(Frame::data(Bytes::from_static(piece)))));
            piece.map_or(Poll::Pending, Poll::Ready)
        }
    }

    impl Arriving for Stalled {
        fn poll_append(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<Result<bool, Broken>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let body = Incoming::Arriving(Box::pin(Stalled(vec![b"}", b"{"])));
        let began = tokio::time::Instant::now();
        let problem = json_body(&HeaderMap::new(), body).await.unwrap_err();
        assert_eq!((problem.kind().status, problem.kind().code), (408, "deadline_exceeded"));
        assert_eq!(began.elapsed(), BODY_PATIENCE);
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit() {
        let whole = |length: usize| Incoming::Whole(vec![b' '; length].into());
        assert_eq!(json_body(&HeaderMap::new(), whole(MAX_JSON)).await.unwrap().len(), MAX_JSON);
        let problem = json_body(&HeaderMap::new(), whole(MAX_JSON + 1)).await.unwrap_err();
        assert_eq!(problem.kind().status, 413);
    }

    #[tokio::test]
    async fn a_body_in_a_coding_or_of_two_types_is_refused() {
        for (headers, status, told) in [
            (&[("content-encoding", "gzip")][..], 415, "gzip"),
            (&[("content-encoding", "identity, br")], 415, "br"),
            (&[("content-encoding", "identity"), ("content-encoding", "zstd")], 415, "zstd"),
            (&[("content-type", "application/json"), ("content-type", "application/json")], 400, "two Content-Type"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let problem = json_body(&map, Incoming::Whole("{}".into())).await.unwrap_err();
            assert_eq!(problem.kind().status, status, "{headers:?}");
            assert!(problem.detail().contains(told), "{}", problem.detail());
        }
        let plain = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("identity"))]);
        assert!(json_body(&plain, Incoming::Whole("{}".into())).await.is_ok());
    }

    #[test]
    fn a_method_that_a_path_does_not_answer_is_told_those_it_does() {
        let allowed = |path: &str| find(&Method::PATCH, path).err().expect("a refusal").detail().to_owned();
        assert_eq!(allowed("/api/v1/services"), "this path answers GET, HEAD, POST");
        assert_eq!(allowed("/api/v1/services/a"), "this path answers GET, HEAD, PUT, DELETE");
        assert_eq!(allowed("/healthz"), "this path answers GET, HEAD");
        assert!(allowed("/nothing").starts_with("there is nothing"));
        assert!(allowed("/api/v1/services/").starts_with("there is nothing"));
    }
}
