//! What an operation of the control API is: one method on one path, with everything that is to be said about it.
//!
//! The tables of operations route requests and document themselves, so that nothing is served which is not documented.
//! In debug builds an answer or a refusal that its operation does not name is a panic, which no test overlooks.

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

/// Carries an operation out.
pub(super) type Handler = fn(Asked) -> Answering;
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// One method on one path.
pub(super) struct Operation {
    pub(super) method: Verb,
    /// Parts in braces stand for one segment each; [`PLACES`] knows them.
    pub(super) path: &'static str,
    /// The name of the operation in generated clients.
    pub(super) id: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) takes: &'static [Content],
    pub(super) answers: &'static [Answer],
    /// How it may be refused, besides what [`Operation::refusals`] adds.
    pub(super) refuses: &'static [&'static Kind],
    /// What the audit log calls it, where it changes a service. Then it is carried out in a task of its own: an operator
    /// who hangs up does not leave it half done.
    pub(super) action: Option<&'static str>,
    /// True if its answer has the service's tag. Where it changes nothing, `If-None-Match` is answered 304.
    pub(super) tagged: bool,
    pub(super) run: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// And HEAD, which is GET without its body.
    Get,
    Post,
    Put,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Health and the like: whoever can reach the port is meant to see it.
    Open,
    Operator,
}

/// A part of a path, or of a query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) means: &'static str,
    pub(super) accepts: Accepts,
}

/// What a parameter may be.
pub(super) enum Accepts {
    Text,
    /// Text that a regular expression describes; whoever reads it has the same rule in code.
    Pattern(&'static str),
    Word(&'static [&'static str]),
    Whole {
        least: u64,
        most: u64,
        default: u64,
    },
}

/// What a body holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(Shape),
    /// A line of JSON for each thing that happens, for whoever accepts `application/x-ndjson`.
    Lines(Shape),
    Text(&'static str),
    Bytes,
}

/// A type as the document shows it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// One way in which an operation succeeds.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) means: &'static str,
    pub(super) content: &'static [Content],
}

/// The parts that paths have in braces.
pub(super) const PLACES: &[Parameter] = &[
    Parameter::pattern("name", "The service.", ServiceName::PATTERN),
    Parameter::whole("index", "The number of the instance, as the list has it.", 0, 1_000_000, 0),
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

    /// One line, and what else there is to know.
    pub(super) const fn says(self, summary: &'static str, description: &'static str) -> Self {
        Self { summary, description, ..self }
    }

    pub(super) const fn open(self) -> Self {
        Self { access: Access::Open, ..self }
    }

    /// It changes a service, which the audit log calls `action`.
    pub(super) const fn changes(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }

    /// It answers with the service's tag.
    pub(super) const fn tagged(self) -> Self {
        Self { tagged: true, ..self }
    }

    /// Whether `If-Match` can be asked of it: it changes a service that is there.
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

    /// Whether this operation answers that method.
    pub(super) fn is_asked_by(&self, method: &Method) -> bool {
        match self.method {
            Verb::Get => matches!(*method, Method::GET | Method::HEAD),
            Verb::Post => *method == Method::POST,
            Verb::Put => *method == Method::PUT,
            Verb::Delete => *method == Method::DELETE,
        }
    }

    /// What stands in the path's places, if it is this operation's path. Nothing is decoded: what may stand there needs no
    /// encoding.
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

    /// The parts of its path that stand in braces.
    pub(super) fn places(&self) -> impl Iterator<Item = &'static Parameter> {
        let find = |name: &str| PLACES.iter().find(|place| place.name == name);
        self.path.split('/').filter_map(place).filter_map(find)
    }

    /// Every way in which it may be refused.
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

    /// Panics where an outcome is not documented; see the head of this file.
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

/// The name of a part in braces.
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

    /// Why a value is not one that it may be: what would be.
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

/// Goes with an answer inside the host, so that it can be held against the document.
#[derive(Clone)]
pub(super) struct ShapeName(pub(super) Cow<'static, str>);

/// What stands in the places of a path.
#[derive(Debug)]
pub(super) struct Captures(Vec<(&'static str, String)>);

impl Captures {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(place, _)| *place == name).map(|(_, value)| value.as_str())
    }
}

/// A request that has found its operation, from somebody who may ask for it.
pub(super) struct Asked {
    pub(super) admin: Arc<Admin>,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) captures: Captures,
    pub(super) body: Incoming,
    /// Where the operation changes something.
    pub(super) order: Option<ChangeRequest>,
}

impl Asked {
    /// What stands in a place of the path, which the operation's row must have.
    pub(super) fn place(&self, name: &str) -> &str {
        self.captures.get(name).unwrap_or_else(|| panic!("the path has no {{{name}}}"))
    }

    /// Who asks for the change that the operation's row says it makes, and on what condition.
    pub(super) fn order(&self) -> &ChangeRequest {
        self.order.as_ref().expect("the operation's row has an action")
    }

    /// The service that the path names.
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
