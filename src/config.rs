//! The service file: EAS's create-service JSON, one per service, parsed once.
//!
//! It owns the keys (`keys` and their `table`), their spellings, defaults and ranges, and turns a text into a
//! [`ServiceSpec`] that nothing downstream checks again. It opens no file and knows no network: whether `model_path`
//! exists is for whoever reads it.
//!
//! The line is text → `json` → `reader` → `limits` → `service`. Every stage writes down what it finds wrong and goes on,
//! so that a person sees all the mistakes of a file at once; a spec comes out only where there is none.

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

/// A service file without mistakes: what was written, and what it means.
///
/// Its `Debug` shows the name alone, because what was written may hold a token.
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

    /// For a file that came inside another JSON document; keys repeated in one object can no longer be seen here.
    pub fn from_value(value: &Value) -> Result<Self, Mistakes> {
        Self::settle(value, Mistakes::default())
    }

    /// Where the mistakes of the stages come together: a file comes out only if there are none.
    fn settle(value: &Value, mut mistakes: Mistakes) -> Result<Self, Mistakes> {
        let given = Given::read(value, Null::Absent, &mut mistakes);
        let spec = ServiceSpec::settle(&given, mistakes)?;
        Ok(Self { given, spec })
    }

    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Only what was given, nested, numbers as numbers. It holds the token where one was given: for storing, not for
    /// logs.
    pub fn normalised(&self) -> Value {
        self.given.to_value()
    }

    /// The keys given that mean something to EAS and nothing here.
    pub fn ignored(&self) -> Vec<String> {
        self.given.keys(Use::Ignored)
    }

    /// The keys given that are checked and kept, but have no effect yet.
    pub fn not_yet(&self) -> Vec<String> {
        self.given.keys(Use::Later)
    }

    /// The same with keys that a command line sets: a patch as for [`Self::merge`], which may give another name.
    pub fn overridden(&self, patch: &Value) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let patch = Given::read(patch, Null::Removes, &mut mistakes);
        Self::settle(&self.given.merged(&patch), mistakes)
    }

    /// The file with a patch applied (RFC 7396: null removes). The patch may use any spelling; a service keeps its
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

/// A patch from one `metadata.instance=10` of a command line.
pub fn parse_override(text: &str) -> Result<Value, Mistakes> {
    parse_overrides([text])
}

/// A patch from several `KEY=VALUE`; of one key given twice the last counts, as command lines go.
///
/// A value is JSON where it parses as JSON, and text otherwise; for a key that takes text it is text unless it is a
/// JSON string or `null`, so that a token may look like a number. Keys and values are checked here, before anything is
/// uploaded.
pub fn parse_overrides<I>(texts: I) -> Result<Value, Mistakes>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut mistakes = Mistakes::default();
    let mut patch = Map::new();
    for (position, text) in texts.into_iter().enumerate() {
        // The text is not shown back: it may be a token.
        let Some((path, value)) = text.as_ref().split_once('=') else {
            // A key that is known is none.
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
