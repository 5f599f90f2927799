//! The operations of the control API: one method on one path each, with its documentation.
//!
//! The tables of operations route the requests and make the OpenAPI document, so that every operation is documented. In
//! debug builds, an answer or a refusal that the operation does not list is a panic, so that tests notice it.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;

use http::header::ETAG;
use http::{HeaderMap, Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::problem::Problem;
use super::problem::kinds::{self, Kind};
use super::query::Query;
use super::{Admin, Reply};
use crate::api::Sha256;
use crate::config::ServiceName;
use crate::incoming::Incoming;
use crate::registry::{ChangeError, ChangeRequest, Service};

/// The function that carries out an operation.
pub(super) type Handler = fn(Asked) -> Answering;
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// One method on one path.
pub(super) struct Operation {
    pub(super) method: Verb,
    /// The path. A part in braces stands for one segment; [`PLACES`] describes it.
    pub(super) path: &'static str,
    /// The name of the operation in generated clients.
    pub(super) id: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) takes: &'static [Content],
    pub(super) answers: &'static [Answer],
    /// The refusals of this operation, besides those that [`Operation::refusals`] adds.
    pub(super) refuses: &'static [&'static Kind],
    /// The name of the change in the audit log, if the operation changes a service. It is then carried out in a task of
    /// its own, so that a client that disconnects does not leave it half done.
    pub(super) action: Option<&'static str>,
    /// True if the answer has the service's tag. If the operation changes nothing, `If-None-Match` can be answered with
    /// 304.
    pub(super) tagged: bool,
    pub(super) run: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET and HEAD. HEAD is GET without the body of the answer.
    Get,
    Post,
    Put,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// No token is needed, as for health and metrics.
    Open,
    Operator,
}

/// A part of a path, or of a query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) means: &'static str,
    pub(super) accepts: Accepts,
}

/// The values that a parameter accepts.
pub(super) enum Accepts {
    Text,
    /// Text that a regular expression describes. The reader of the parameter has the same rule in code.
    Pattern(&'static str),
    Word(&'static [&'static str]),
    Whole {
        least: u64,
        most: u64,
        default: u64,
    },
}

/// The content of a body.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(Shape),
    /// A line of JSON for each event, for clients that accept `application/x-ndjson`.
    Lines(Shape),
    Text(&'static str),
    Bytes,
}

/// A type in the document.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// A successful answer of an operation.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) means: &'static str,
    pub(super) content: &'static [Content],
}

/// The parts that paths have in braces.
pub(super) const PLACES: &[Parameter] = &[
    Parameter::pattern("name", "The name of the service.", ServiceName::PATTERN),
    Parameter::whole("index", "The number of the instance, as in the list of instances.", 0, 1_000_000, 0),
    Parameter::whole("item", "The index of the item in its queue.", 1, u64::MAX, 1),
    Parameter::pattern("sha256", "The SHA-256 of the file, in lower-case hexadecimal.", Sha256::PATTERN),
];

impl Operation {
    pub(super) const fn get(path: &'static str, id: &'static str, run: Handler) -> Self {
        Self::new(Verb::Get, path, id, run)
    }

    pub(super) const fn post(path: &'static str, id: &'static str, run: Handler) -> Self {
        Self::new(Verb::Post, path, id, run)
    }

    pub(super) const fn put(path: &'static str, id: &'static str, run: Handler) -> Self {
        Self::new(Verb::Put, path, id, run)
    }

    pub(super) const fn delete(path: &'static str, id: &'static str, run: Handler) -> Self {
        Self::new(Verb::Delete, path, id, run)
    }

    const fn new(method: Verb, path: &'static str, id: &'static str, run: Handler) -> Self {
        Self {
            method,
            path,
            id,
            access: Access::Operator,
            summary: "",
            description: "",
            query: &[],
            takes: &[],
            answers: &[],
            refuses: &[],
            action: None,
            tagged: false,
            run,
        }
    }

    /// Sets the summary of one line, and the description.
    pub(super) const fn says(self, summary: &'static str, description: &'static str) -> Self {
        Self { summary, description, ..self }
    }

    pub(super) const fn open(self) -> Self {
        Self { access: Access::Open, ..self }
    }

    /// Marks the operation as a change of a service. `action` is its name in the audit log.
    pub(super) const fn changes(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }

    /// Marks the operation as one whose answer has the service's tag.
    pub(super) const fn tagged(self) -> Self {
        Self { tagged: true, ..self }
    }

    /// True if the operation accepts `If-Match`: it changes an existing service.
    pub(super) fn is_conditional(&self) -> bool {
        self.action.is_some() && self.places().any(|place| place.name == "name")
    }

    pub(super) const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn takes(self, takes: &'static [Content]) -> Self {
        Self { takes, ..self }
    }

    pub(super) const fn answers(self, answers: &'static [Answer]) -> Self {
        Self { answers, ..self }
    }

    pub(super) const fn refuses(self, refuses: &'static [&'static Kind]) -> Self {
        Self { refuses, ..self }
    }

    /// True if the operation answers this method.
    pub(super) fn is_asked_by(&self, method: &Method) -> bool {
        match self.method {
            Verb::Get => matches!(*method, Method::GET | Method::HEAD),
            Verb::Post => *method == Method::POST,
            Verb::Put => *method == Method::PUT,
            Verb::Delete => *method == Method::DELETE,
        }
    }

    /// The values of the parts in braces, if `path` matches the operation's path. They are not decoded: valid values
    /// need no encoding.
    pub(super) fn captures(&self, path: &str) -> Option<Captures> {
        let (mut given, mut captures) = (path.split('/'), Vec::new());
        for wanted in self.path.split('/') {
            let part = given.next()?;
            match place(wanted) {
                Some(name) if !part.is_empty() => captures.push((name, part.to_owned())),
                None if part == wanted => {}
                _ => return None,
            }
        }
        given.next().is_none().then_some(Captures(captures))
    }

    /// The parts of the path that are in braces.
    pub(super) fn places(&self) -> impl Iterator<Item = &'static Parameter> {
        let find = |name: &str| PLACES.iter().find(|place| place.name == name);
        self.path.split('/').filter_map(place).filter_map(find)
    }

    /// All refusals of the operation, by status.
    pub(super) fn refusals(&self) -> Vec<&'static Kind> {
        let always: &[&Kind] = match self.access {
            Access::Open => &[&kinds::METHOD_NOT_ALLOWED],
            Access::Operator => kinds::OF_EVERY_OPERATION,
        };
        let with_body: &[&Kind] =
            if self.takes.iter().any(|content| matches!(content, Content::Json(_))) { kinds::OF_A_BODY } else { &[] };
        let of_a_change: &[&Kind] = if self.action.is_some() { kinds::OF_A_CHANGE } else { &[] };
        let refusals = always.iter().chain(with_body).chain(of_a_change).chain(self.refuses);
        let mut refusals: Vec<_> = refusals.copied().collect();
        refusals.sort_by_key(|kind| (kind.status, kind.code));
        refusals.dedup_by_key(|kind| kind.code);
        refusals
    }

    /// Panics if an outcome is not documented; see the head of this file.
    pub(super) fn check(&self, outcome: &Result<Reply, Problem>) {
        match outcome {
            Ok(reply) => {
                let shape = reply.extensions().get::<ShapeName>().map(|shape| shape.0.as_ref());
                let named = |content: &Content| match (content, shape) {
                    (Content::Json(known), Some(shape)) => (known.name)() == shape,
                    (Content::Json(_), None) => false,
                    (Content::Lines(_) | Content::Text(_) | Content::Bytes, shape) => shape.is_none(),
                };
                let known = |answer: &Answer| {
                    answer.status == reply.status() && (answer.content.is_empty() || answer.content.iter().any(named))
                };
                assert!(self.answers.iter().any(known), "{} answers {} {shape:?}", self.id, reply.status());
                let bears_tag = reply.headers().contains_key(ETAG);
                let may_bear_tag = shape.is_some() || reply.status() == StatusCode::NOT_MODIFIED;
                assert_eq!(bears_tag, self.tagged && may_bear_tag, "{} answers with a tag: {bears_tag}", self.id);
            }
            Err(problem) => {
                let known = self.refusals().iter().any(|kind| **kind == *problem.kind());
                assert!(known, "{} is refused with {:?}", self.id, problem.kind());
            }
        }
    }
}

/// The name of a segment in braces.
fn place(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl Parameter {
    pub(super) const fn text(name: &'static str, means: &'static str) -> Self {
        Self { name, means, accepts: Accepts::Text }
    }

    pub(super) const fn pattern(name: &'static str, means: &'static str, pattern: &'static str) -> Self {
        Self { name, means, accepts: Accepts::Pattern(pattern) }
    }

    pub(super) const fn word(name: &'static str, means: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, means, accepts: Accepts::Word(words) }
    }

    pub(super) const fn whole(name: &'static str, means: &'static str, least: u64, most: u64, default: u64) -> Self {
        Self { name, means, accepts: Accepts::Whole { least, most, default } }
    }

    /// The accepted values, if `value` is not one of them.
    pub(super) fn refuse(&self, value: &str) -> Option<String> {
        match self.accepts {
            Accepts::Text | Accepts::Pattern(_) => None,
            Accepts::Word(words) => (!words.contains(&value)).then(|| words.join(", ")),
            Accepts::Whole { least, most, .. } => {
                let fits = value.parse::<u64>().is_ok_and(|number| (least..=most).contains(&number));
                (!fits).then(|| format!("a whole number from {least} to {most}"))
            }
        }
    }
}

impl Shape {
    pub(super) const fn of<T: JsonSchema>() -> Self {
        Self { name: T::schema_name, schema: SchemaGenerator::subschema_for::<T> }
    }
}

impl Content {
    pub(super) const fn json<T: JsonSchema>() -> Self {
        Self::Json(Shape::of::<T>())
    }

    pub(super) const fn lines<T: JsonSchema>() -> Self {
        Self::Lines(Shape::of::<T>())
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Lines(_) => "application/x-ndjson",
            Self::Text(media_type) => media_type,
            Self::Bytes => "application/octet-stream",
        }
    }
}

impl Answer {
    pub(super) const fn new(status: StatusCode, means: &'static str, content: &'static [Content]) -> Self {
        Self { status, means, content }
    }

    pub(super) const fn ok(means: &'static str, content: &'static [Content]) -> Self {
        Self::new(StatusCode::OK, means, content)
    }
}

/// The name of the type of an answer. It is an extension of the response, so that the answer can be compared with the
/// document.
#[derive(Clone)]
pub(super) struct ShapeName(pub(super) Cow<'static, str>);

/// The values of the parts of a path that are in braces.
#[derive(Debug)]
pub(super) struct Captures(Vec<(&'static str, String)>);

impl Captures {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(place, _)| *place == name).map(|(_, value)| value.as_str())
    }
}

/// An authorised request, matched to its operation.
pub(super) struct Asked {
    pub(super) admin: Arc<Admin>,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) captures: Captures,
    pub(super) body: Incoming,
    /// The requested change, if the operation changes a service.
    pub(super) order: Option<ChangeRequest>,
}

impl Asked {
    /// The value of a part in braces, which the operation's path must have.
    pub(super) fn place(&self, name: &str) -> &str {
        self.captures.get(name).unwrap_or_else(|| panic!("the path has no {{{name}}}"))
    }

    /// The requested change. The operation's row must have an action.
    pub(super) fn order(&self) -> &ChangeRequest {
        self.order.as_ref().expect("the operation's row has an action")
    }

    /// The name of the service in the path.
    pub(super) fn name(&self) -> Result<ServiceName, Problem> {
        ServiceName::parse(self.place("name")).map_err(|_| ChangeError::NotFound.into())
    }

    pub(super) fn service(&self) -> Result<Arc<Service>, Problem> {
        Ok(self.admin.registry.find(self.place("name")).ok_or(ChangeError::NotFound)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(path: &'static str) -> Operation {
        Operation::get(path, "x", |_| unreachable!("nobody asks"))
    }

    #[test]
    fn a_path_is_matched_part_by_part() {
        let stop = operation("/api/v1/services/{name}/stop");
        assert_eq!(stop.captures("/api/v1/services/a/stop").unwrap().0, [("name", "a".to_owned())]);
        for other in ["/api/v1/services/a", "/api/v1/services/a/stop/", "/api/v1/services/a/b/stop", "/api/v1/services"]
        {
            assert!(stop.captures(other).is_none(), "{other}");
        }
        assert!(operation("/healthz").captures("//healthz").is_none());
    }
}
