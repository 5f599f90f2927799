//! The service file of a record.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::config::{Mistakes, ServiceFile, ServiceName};

/// A service file in its canonical form, parsed once.
///
/// A file that this program cannot parse, such as one of a later release, stays as it is. Its service fails with the
/// reason, and the other services start.
#[derive(Clone)]
pub enum StoredFile {
    Parsed(Arc<ServiceFile>),
    /// The JSON as it is stored, and its mistakes.
    Unreadable(Arc<Value>, Mistakes),
}

impl StoredFile {
    /// Returns the JSON that is stored. It holds the token if the file gives one.
    pub fn value(&self) -> Value {
        match self {
            Self::Parsed(file) => file.normalised(),
            Self::Unreadable(value, _) => Value::clone(value),
        }
    }

    /// # Errors
    /// The mistakes of a file that cannot be parsed.
    pub fn parsed(&self) -> Result<&ServiceFile, Mistakes> {
        match self {
            Self::Parsed(file) => Ok(file),
            Self::Unreadable(_, mistakes) => Err(mistakes.clone()),
        }
    }

    /// Returns the group of the service.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Parsed(file) => file.spec().group().map(ServiceName::as_str),
            Self::Unreadable(value, _) => value.pointer("/metadata/group")?.as_str(),
        }
    }
}

impl From<ServiceFile> for StoredFile {
    fn from(file: ServiceFile) -> Self {
        Self::Parsed(Arc::new(file))
    }
}

impl From<Value> for StoredFile {
    fn from(value: Value) -> Self {
        match ServiceFile::from_value(&value) {
            Ok(file) => file.into(),
            Err(mistakes) => Self::Unreadable(Arc::new(value), mistakes),
        }
    }
}

impl PartialEq for StoredFile {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parsed().fmt(f)
    }
}

impl Serialize for StoredFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_parsed_is_kept_with_its_mistakes() {
        let later = json!({"name": "a", "processor_path": "a.wasm", "of_a_later_release": 1});
        let stored: StoredFile = serde_json::from_value(later.clone()).unwrap();
        assert!(stored.parsed().unwrap_err().to_string().contains("of_a_later_release"));
        assert_eq!(serde_json::to_value(&stored).unwrap(), later);
    }

    #[test]
    fn its_debug_form_shows_no_token() {
        let file = json!({"name": "a", "processor_path": "a.wasm", "token": "a-secret"});
        let stored = StoredFile::from(file.clone());
        assert!(!format!("{stored:?}").contains("a-secret"), "{stored:?}");
        assert_eq!(stored.value(), file);
        assert_eq!(stored.parsed().unwrap().spec().name().as_str(), "a");
    }
}
