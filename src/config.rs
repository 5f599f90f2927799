//! The service file: EAS's create-service JSON, one per service, parsed once.
//!
//! This module has the keys (`keys` and their `table`), their spellings, defaults and ranges. It turns a text into a
//! [`ServiceSpec`], which needs no further checks. It opens no file and uses no network, so it does not check whether
//! `model_path` exists.
//!
//! The stages are text → `json` → `reader` → `limits` → `service`. Every stage notes the mistakes that it finds and
//! goes on, so that all mistakes of a file are shown at once. A file with mistakes makes no spec.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

mod allowed_hosts;
mod cors;
mod excerpt;
mod fuel;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gateway;
mod items;
mod json;
mod keys;
mod kind;
mod leaves;
mod limits;
mod methods;
mod mistakes;
mod name;
mod network;
mod queue;
mod reader;
#[cfg(test)]
mod reference;
mod schema;
mod service;
mod settings;
mod table;
mod token;

#[cfg(test)]
mod tests;

pub use allowed_hosts::{AllowedHosts, Target};
pub use cors::{Cors, Origins};
pub use fuel::Fuel;
pub use gateway::{
    ANY_SERVICE, Authority, ClusterSpec, Ejection, GatewaySpec, HealthCheck, RouteSpec, UpstreamSpec, gateway_schema,
};
pub use leaves::leaves;
pub use methods::Methods;
pub use mistakes::{Mistake, Mistakes};
pub use name::{BadName, ServiceName};
pub use queue::Queue;
pub use schema::json_schema;
pub use service::{
    Batching, Decompressor, Expose, GatewayPolicy, HalfClose, Isolation, MirrorRule, Model, Rpc, Sandbox, ServiceSpec,
    TrafficState,
};
pub(crate) use table::MOST_BODY;
pub use token::{BadToken, Strength, Token, TokenPolicy};

use keys::{KeyMatch, Use};
use reader::{Given, Null};

/// A service file without mistakes: the keys as they were given, and the spec.
///
/// Its `Debug` shows only the name, because the keys may contain a token.
#[derive(Clone)]
pub struct ServiceFile {
    given: Given,
    spec: Arc<ServiceSpec>,
}

impl ServiceFile {
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let (value, mistakes) = json::parse(text)?;
        Self::settle(&value, mistakes)
    }

    /// Parses a file that is part of another JSON document, in which repeated keys can no longer be detected.
    pub fn from_value(value: &Value) -> Result<Self, Mistakes> {
        Self::settle(value, Mistakes::default())
    }

    /// Runs the remaining stages. The error has the mistakes of all stages.
    fn settle(value: &Value, mut mistakes: Mistakes) -> Result<Self, Mistakes> {
        let given = Given::read(value, Null::Absent, &mut mistakes);
        let spec = ServiceSpec::settle(&given, mistakes)?;
        Ok(Self { given, spec: Arc::new(spec) })
    }

    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Returns a reference to the spec that outlives the file.
    pub fn shared_spec(&self) -> Arc<ServiceSpec> {
        Arc::clone(&self.spec)
    }

    /// The given keys in canonical form: nested, with numbers as numbers. If a token was given, it is included, so this
    /// is for storing and not for logs.
    pub fn normalised(&self) -> Value {
        self.given.to_value()
    }

    /// The given keys that have a meaning for EAS and none here.
    pub fn ignored(&self) -> Vec<String> {
        self.given.keys(Use::Ignored)
    }

    /// The file with keys that a command line sets. The patch is as for [`Self::merge`], but may change the name.
    pub fn overridden(&self, patch: &Value) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let patch = Given::read(patch, Null::Removes, &mut mistakes);
        Self::settle(&self.given.merged(&patch), mistakes)
    }

    /// The file with a patch applied (RFC 7396: null removes). The patch may use any spelling. It cannot change the
    /// name.
    pub fn merge(&self, patch: &Value) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let patch = Given::read(patch, Null::Removes, &mut mistakes);
        if let Some(name) = patch.at("name")
            && name.as_str() != Some(self.spec.name().as_str())
        {
            let kept = self.spec.name();
            mistakes.add("name", format!("a service keeps its name, `{kept}`; leave this key out, or correct it"));
        }
        Self::settle(&self.given.merged(&patch), mistakes)
    }
}

impl fmt::Debug for ServiceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceFile").field("name", self.spec.name()).finish_non_exhaustive()
    }
}

/// Makes a patch from one `KEY=VALUE` of a command line, such as `metadata.instance=10`.
pub fn parse_override(text: &str) -> Result<Value, Mistakes> {
    parse_overrides([text])
}

/// Makes a patch from several `KEY=VALUE`. If a key is given twice, the last value counts, as usual on command lines.
///
/// A value that parses as JSON is JSON, and any other is text. For a key that takes text, a value is text unless it is
/// a JSON string or `null`, so that a token may look like a number. Keys and values are checked here, before anything
/// is uploaded.
pub fn parse_overrides<I>(texts: I) -> Result<Value, Mistakes>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut mistakes = Mistakes::default();
    let mut patch = Map::new();
    for (position, text) in texts.into_iter().enumerate() {
        // The error does not repeat the text: it may be a token.
        let Some((path, value)) = text.as_ref().split_once('=') else {
            // A known key is not a token, so it is shown.
            let expected = "expected KEY=VALUE, for example metadata.instance=10";
            match keys::find(text.as_ref().trim()) {
                KeyMatch::Key(key) => mistakes.add(key.path, format!("no value is given; {expected}")),
                _ => mistakes.add("", format!("-D number {} has no `=`; {expected}", position + 1)),
            }
            continue;
        };
        patch.insert(path.trim().to_owned(), keys::override_value(path.trim(), value));
    }
    let patch = Given::read(&Value::Object(patch), Null::Removes, &mut mistakes);
    mistakes.settle(patch.to_value())
}
