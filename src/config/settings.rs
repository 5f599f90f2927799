//! Typed access to the given values, with the table's defaults for keys that are not given.
//!
//! Values were checked when they were read. A key with a wrong value has its default here: the mistake is noted, and
//! the other checks can go on. Such settings make no spec.

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

    /// The value given, or else the default; `None` if the table has no default.
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

    /// An integer for messages. A default is marked as one, since the user has not written it.
    pub(super) fn shown(&self, path: &str) -> String {
        let from = if self.given(path).is_none() { " (its default)" } else { "" };
        format!("{}{from}", self.integer(path))
    }

    /// An integer whose range in the table fits its type.
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
