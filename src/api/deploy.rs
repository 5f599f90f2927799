//! A deploy: what is asked for, the lines that tell of it, and the service that came of it.
//!
//! None of the documents with a service file or a token is `Debug`, so that no log line shows a token.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Canary, ListedModelFile, Problem, Sha256, Word, present, service_file};
use crate::config::TrafficState;
use crate::object::Object;

/// A new service. The files it names have been uploaded before.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    pub processor: Sha256,
    /// The files of the model directory.
    #[serde(default, deserialize_with = "objects")]
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<ListedModelFile>,
    #[serde(default)]
    pub warm_up: Option<Sha256>,
}

/// A change to a service; what is left out stays as it was.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModifyBody {
    /// A JSON merge patch (RFC 7396) for the service file: null removes a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if, with = "Option<serde_json::Map<String, Value>>")]
    pub spec: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if)]
    pub processor: Option<Sha256>,
    /// All files of the model directory.
    #[serde(default, deserialize_with = "some_objects", skip_serializing_if = "Option::is_none")]
    pub model: Option<Vec<ListedModelFile>>,
    /// Null: removed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if, with = "Option<Sha256>")]
    pub warm_up: Option<Option<Sha256>>,
    /// Percent of the requests for the new version, which is tried beside the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if, range(max = 100))]
    pub canary: Option<u64>,
}

/// Reads a list of objects.
fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::deserialize(deserializer).map(|list| list.into_iter().map(|Object(item)| item).collect())
}

/// Reads a list of objects, or null.
fn some_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|Object(item)| item).collect()))
}

/// What create and modify answer.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Deployed {
    pub name: String,
    /// Where callers send their requests.
    pub url: String,
    /// What callers show in `Authorization`; null where anybody may call.
    pub token: Option<String>,
    /// Which of the changes on this host was its latest; its `ETag` is this in quotes.
    #[serde(default)]
    pub revision: u64,
    /// The current version.
    pub version: u64,
    /// The version that is tried beside it; null where there is none.
    pub canary: Option<Canary>,
    /// The group that it is in; null where it is in none.
    pub group: Option<String>,
    /// The share of the group's requests, relative to those of the other members.
    #[serde(default)]
    pub weight: u16,
    /// Whether it shares them at all.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// Everything was so already: no version was made, and the tag stays.
    #[serde(default)]
    pub unchanged: bool,
}

/// A line of a deploy that is under way. The command line shows a result as it came, and so reads any `R`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(rename = "Event", description = "A line of a deploy that is under way.")]
pub enum Event<'a, R> {
    /// A step begins.
    Progress { step: Cow<'a, str> },
    /// Something worth knowing that keeps nothing from going well.
    Notice { text: String },
    /// The last line of a deploy that went well.
    Done { result: R },
    /// The last line of one that did not.
    Failed {
        #[schemars(schema_with = "problem")]
        problem: Box<Problem<'a>>,
    },
    /// What a newer host tells besides.
    #[serde(other, skip_serializing)]
    Other,
}

/// The schema of a refusal, which every document has.
fn problem(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "#/components/schemas/Problem" })
}
