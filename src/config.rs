//! The service file: EAS's create-service JSON, one per service, parsed once.
//!
//! This module owns the keys (`keys` and their `table`), their spellings, defaults and ranges. It turns a text into a
//! [`ServiceSpec`] that no other module checks again. It opens no file and no connection: the reader of `model_path`
//! finds out if that path exists.
//!
//! The stages are text → `json` → `reader` → `limits` → `service`. Every stage records the mistakes that it finds and
//! continues, so that a person sees all mistakes of a file at once. A spec exists only if there are none.

use std::fmt;

use serde_json::{Map, Value};

mod cors;
mod excerpt;
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
mod reader;
mod schema;
mod service;
mod settings;
mod table;
mod token;

#[cfg(test)]
mod tests;

pub use cors::{Cors, Origins};
pub use gateway::{
    ANY_SERVICE, Authority, ClusterSpec, Ejection, GatewaySpec, HealthCheck, RouteSpec, UpstreamSpec, gateway_schema,
};
pub use leaves::leaves;
pub use limits::limits_markdown;
pub use methods::Methods;
pub use mistakes::{Mistake, Mistakes};
pub use name::{BadName, ServiceName};
pub use schema::json_schema;
pub use service::{
    Batching, Decompressor, Expose, Fuel, GatewayPolicy, HalfClose, Isolation, MirrorRule, Model, Rpc, Sandbox,
    ServiceSpec, TrafficState,
};
pub use token::{BadToken, Strength, Token, TokenPolicy};

use keys::{KeyMatch, Use};
use reader::{Given, Null};

/// A valid service file: its keys as given, and the spec that they mean.
///
/// `Debug` shows only the name, because the given keys may include a token.
#[derive(Clone)]
pub struct ServiceFile {
    given: Given,
    spec: ServiceSpec,
}

impl ServiceFile {
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let (value, mistakes) = json::parse(text)?;
        Self::settle(&value, mistakes)
    }

    /// Parses a file that came inside another JSON document. Keys repeated in one object are no longer visible there.
    pub fn from_value(value: &Value) -> Result<Self, Mistakes> {
        Self::settle(value, Mistakes::default())
    }

    /// Collects the mistakes of all stages. Returns a file only if there are none.
    fn settle(value: &Value, mut mistakes: Mistakes) -> Result<Self, Mistakes> {
        let given = Given::read(value, Null::Absent, &mut mistakes);
        let spec = ServiceSpec::settle(&given, mistakes)?;
        Ok(Self { given, spec })
    }

    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Returns only the given keys, nested, with numbers as numbers. The value includes the token if one was given:
    /// store it, do not log it.
    pub fn normalised(&self) -> Value {
        self.given.to_value()
    }

    /// Returns the given keys that have a meaning in EAS and none here.
    pub fn ignored(&self) -> Vec<String> {
        self.given.keys(Use::Ignored)
    }

    /// Returns the given keys that are checked and stored, but have no effect yet.
    pub fn not_yet(&self) -> Vec<String> {
        self.given.keys(Use::Later)
    }

    /// Returns the file with keys from a command line. `patch` is as for [`Self::merge`], but may change the name.
    pub fn overridden(&self, patch: &Value) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let patch = Given::read(patch, Null::Removes, &mut mistakes);
        Self::settle(&self.given.merged(&patch), mistakes)
    }

    /// Returns the file with a patch applied (RFC 7396: null removes). The patch may use any spelling, but may not
    /// change the service's name.
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

/// Returns the patch of one `KEY=VALUE` of a command line, for example `metadata.instance=10`.
pub fn parse_override(text: &str) -> Result<Value, Mistakes> {
    parse_overrides([text])
}

/// Returns the patch of several `KEY=VALUE`. Of a key given twice the last value counts, as is usual for command lines.
///
/// A value that parses as JSON is JSON; any other value is text. For a key that takes text, a value is text unless it
/// is a JSON string or `null`, so that a token may look like a number. Keys and values are checked here, before any
/// upload.
pub fn parse_overrides<I>(texts: I) -> Result<Value, Mistakes>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut mistakes = Mistakes::default();
    let mut patch = Map::new();
    for (position, text) in texts.into_iter().enumerate() {
        // The message does not repeat the text, which may be a token.
        let Some((path, value)) = text.as_ref().split_once('=') else {
            // A known key is not a token, so the message may name it.
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
