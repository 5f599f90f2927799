//! A word of an enumeration that newer hosts may extend.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A word of the enumeration `T`, or another word as it was read. A host writes only words of `T`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    Known(T),
    Other(String),
}

impl<T: AsRef<str>> Word<T> {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => word.as_ref(),
            Self::Other(word) => word,
        }
    }
}

impl<T: AsRef<str>> Display for Word<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

/// The value of a missing member: an empty word.
impl<T> Default for Word<T> {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(word) if word == other)
    }
}

/// The schema is that of `T`, because the document describes this host.
impl<T: JsonSchema> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::TrafficState;

    #[test]
    fn a_word_of_a_later_release_is_kept_as_it_is() {
        let read = |word: &str| serde_json::from_value::<Word<TrafficState>>(json!(word)).unwrap();
        assert!(read("standalone") == TrafficState::Standalone);
        let later = read("shadowing");
        assert_eq!((later.as_str(), json!(later)), ("shadowing", json!("shadowing")));
        assert!(later != TrafficState::Grouping);
    }
}
