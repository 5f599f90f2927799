//! A look at what was given, with the table's defaults behind it: typed answers to "what is at this key".
//!
//! Values were checked when they were read, so the answers are plain. A key that was wrong answers with its default:
//! the mistake is noted, and the other checks can go on. No spec is made of such settings.

use std::time::Duration;

use serde_json::Value;

use super::{
    keys::{self, Key},
    reader::Given,
};

pub(super) struct Settings<'g>(pub(super) &'g Given);

impl Settings<'_> {
    pub(super) fn given(&self, path: &str) -> Option<Value> {
        self.0.at(self.key(path).kept_at()).cloned()
    }

    /// What counts: the value given, or the default, or nothing where the table has no default.
    pub(super) fn value(&self, path: &str) -> Option<Value> {
        self.given(path).or_else(|| self.key(path).default_value())
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.value(path)?.as_str().map(str::to_owned)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        self.value(path).and_then(|value| value.as_bool()).unwrap_or_else(|| panic!("{path} is a flag with a default"))
    }

    pub(super) fn integer(&self, path: &str) -> u64 {
        self.value(path)
            .and_then(|value| value.as_u64())
            .unwrap_or_else(|| panic!("{path} is an integer with a default"))
    }

    /// An integer as mistakes show it: who has not written it must know where it comes from.
    pub(super) fn shown(&self, path: &str) -> String {
        let from = if self.given(path).is_none() { " (its default)" } else { "" };
        format!("{}{from}", self.integer(path))
    }

    /// An integer that the table's range keeps small enough for its type.
    pub(super) fn small<N: TryFrom<u64>>(&self, path: &str) -> N {
        self.fit(path, self.integer(path))
    }

    /// As `small`, for keys without a default.
    pub(super) fn small_given<N: TryFrom<u64>>(&self, path: &str) -> Option<N> {
        Some(self.fit(path, self.given(path)?.as_u64()?))
    }

    pub(super) fn millis(&self, path: &str) -> Duration {
        Duration::from_millis(self.integer(path))
    }

    pub(super) fn list(&self, path: &str) -> Vec<Value> {
        let Some(Value::Array(list)) = self.value(path) else { panic!("{path} is a list with a default") };
        list
    }

    fn key(&self, path: &str) -> &'static Key {
        keys::key(self.0.table(), path)
    }

    fn fit<N: TryFrom<u64>>(&self, path: &str, value: u64) -> N {
        N::try_from(value).unwrap_or_else(|_| panic!("the range of {path} fits its type"))
    }
}
