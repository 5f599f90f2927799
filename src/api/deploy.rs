//! A deploy: its request, the lines of its progress, and the deployed service.
//!
//! Documents with a service file or a token are not `Debug`, so that no log line shows a token.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Canary, ListedModelFile, PhaseName, Problem, Sha256, StoredArtifact, Word, present, service_file};
use crate::config::TrafficState;
use crate::object::Object;

/// A new service. The files that it names must have been uploaded.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    #[schemars(schema_with = "service_file")]
    pub spec: Value,
    /// Required, unless the service file has no `processor_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if)]
    pub processor: Option<Sha256>,
    /// The files of the model directory.
    #[serde(default, deserialize_with = "objects")]
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<ListedModelFile>,
    #[serde(default)]
    pub warm_up: Option<Sha256>,
}

/// A change to a service. Members that are left out change nothing.
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
    /// The SHA-256 of the warm-up data; null removes the data.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if, with = "Option<Sha256>")]
    pub warm_up: Option<Option<Sha256>>,
    /// The percentage of the requests for the new version, which then runs as a canary beside the current version.
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

/// The deployed service.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Deployed {
    pub name: String,
    /// The state of the service. A change does not start a stopped service.
    #[serde(default)]
    pub state: Word<PhaseName>,
    /// The URL to which callers send their requests; for an asynchronous service, that of the input queue.
    pub url: String,
    /// The URL of the queue with the results; null for a service without queues.
    pub sink_url: Option<String>,
    /// The token that callers send in `Authorization`; null if they need none.
    pub token: Option<String>,
    /// The revision of the service: the number of its latest change on this host. Its `ETag` is this number in quotes.
    #[serde(default)]
    pub revision: u64,
    /// The current version.
    pub version: u64,
    /// Null for an asynchronous service without a processor.
    pub processor: Option<StoredArtifact>,
    /// The canary beside the current version; null if there is none.
    pub canary: Option<Canary>,
    /// The group of the service; null if it is in none.
    pub group: Option<String>,
    /// The weight in the group: the share of the group's requests, relative to the weights of the other members.
    #[serde(default)]
    pub weight: u16,
    /// `grouping` if the service gets its share of the group's requests, `standalone` if it gets none of them.
    #[serde(default)]
    pub traffic_state: Word<TrafficState>,
    /// True if the change made no difference: no version was made, and the tag stays the same.
    #[serde(default)]
    pub unchanged: bool,
}

/// A line of the progress of a deploy. The command line prints the result as it came, and so reads any `R`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(rename = "Event", description = "A line of the progress of a deploy.")]
pub enum Event<'a, R> {
    /// A step begins.
    Progress { step: Cow<'a, str> },
    /// A remark. It does not mean a failure.
    Notice { text: String },
    /// The last line of a deploy that succeeded.
    Done { result: R },
    /// The last line of a deploy that failed.
    Failed {
        #[schemars(schema_with = "problem")]
        problem: Box<Problem<'a>>,
    },
    /// An event that only newer hosts send.
    #[serde(other, skip_serializing)]
    Other,
}

/// The schema of a refusal, which is in every document.
fn problem(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "#/components/schemas/Problem" })
}
