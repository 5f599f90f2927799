//! The versions of a service that are kept.

use serde_json::{Map, Value};

use super::ChangeError;
use crate::registry::Registry;
use crate::storage::{Artifacts, Digest, Record, VersionRecord};

/// Most changed keys that a note names.
const NOTED_KEYS: usize = 6;

/// The kept versions of one service, oldest first.
pub struct History(Vec<VersionRecord>);

impl Registry {
    /// Reads the kept versions of a service. A service that does not exist has none.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub async fn history(&self, service: &str) -> Result<History, ChangeError> {
        Ok(History(self.storage.catalog().versions(service).await?))
    }
}

impl History {
    pub fn versions(&self) -> &[VersionRecord] {
        &self.0
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.iter().map(|version| version.number).collect()
    }

    /// Returns the version of that number.
    pub(in crate::registry) fn version(&self, number: u64) -> Result<VersionRecord, ChangeError> {
        let found = self.0.iter().find(|version| version.number == number).cloned();
        found.ok_or_else(|| ChangeError::NoSuchVersion { number, kept: self.numbers() })
    }

    /// Returns the version of that number, if all its files are present and intact.
    pub(in crate::registry) async fn whole_version(
        &self,
        number: u64,
        artifacts: &dyn Artifacts,
    ) -> Result<VersionRecord, ChangeError> {
        let version = self.version(number)?;
        let gone = |what: String, sha256: &Digest| ChangeError::VersionIncomplete {
            number,
            missing: format!("{what} ({})", sha256.as_str()),
            kept: self.numbers(),
        };
        let is_gone = async |sha256: &Digest| artifacts.size(sha256, "it").await.is_err();
        if let Some(processor) = &version.processor
            && is_gone(&processor.sha256).await
        {
            return Err(gone("its processor".into(), &processor.sha256));
        }
        for file in version.model.iter().filter(|file| !file.directory) {
            if is_gone(&file.sha256).await {
                return Err(gone(format!("its model file {:?}", file.path), &file.sha256));
            }
        }
        if let Some(sha256) = &version.warm_up
            && is_gone(sha256).await
        {
            return Err(gone("its warm-up data".into(), sha256));
        }
        Ok(version)
    }
}

/// Describes a change in a few words, without values, because some are secret.
pub(in crate::registry) fn note(old: &Record, new: &Record) -> String {
    let mut changed = Vec::new();
    if old.processor != new.processor {
        changed.push("processor".to_owned());
    }
    if old.model != new.model {
        changed.push("model".to_owned());
    }
    if old.warm_up != new.warm_up {
        changed.push("warm-up data".to_owned());
    }
    differing(&old.file.value(), &new.file.value(), "", &mut changed);
    let others = changed.len().saturating_sub(NOTED_KEYS);
    changed.truncate(NOTED_KEYS);
    match (changed.is_empty(), others) {
        (true, _) => "nothing changed".to_owned(),
        (false, 0) => format!("changed {}", changed.join(", ")),
        (false, others) => format!("changed {} and {others} more", changed.join(", ")),
    }
}

/// Adds to the note of a version that its canary was aborted.
pub(in crate::registry) fn aborted(version: VersionRecord) -> VersionRecord {
    VersionRecord { note: format!("{}; canary aborted", version.note), ..version }
}

/// Finds the keys whose values differ between two service files, as dotted paths. A section that only one of the files
/// has is listed by its keys.
pub(in crate::registry) fn differing(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let none = Map::new();
    let (before, after) = match (old, new) {
        (Value::Object(before), Value::Object(after)) => (before, after),
        (Value::Object(before), Value::Null) if !before.is_empty() => (before, &none),
        (Value::Null, Value::Object(after)) if !after.is_empty() => (&none, after),
        _ => {
            if old != new {
                found.push(path.to_owned());
            }
            return;
        }
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(gone) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        differing(before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null), &path, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_names_what_changed_and_no_value() {
        let changed = |old: &Value, new: &Value| {
            let mut found = Vec::new();
            differing(old, new, "", &mut found);
            found
        };
        let old = json!({"name": "a", "token": "old", "metadata": {"instance": 1, "rpc": {"keepalive": 5}}, "x": 1});
        let new = json!({"name": "a", "token": "new", "metadata": {"instance": 2, "rpc": {"keepalive": 5}}, "y": [1]});
        assert_eq!(changed(&old, &new), ["token", "metadata.instance", "y", "x"]);
        assert_eq!(changed(&old, &old), Vec::<String>::new());
        let with_section = json!({"name": "a", "sandbox": {"fuel": 5, "cors": {"origins": ["*"]}}, "z": {}});
        assert_eq!(changed(&json!({"name": "a"}), &with_section), ["sandbox.fuel", "sandbox.cors.origins", "z"]);
        assert_eq!(changed(&with_section, &json!({"name": "a"})), ["sandbox.fuel", "sandbox.cors.origins", "z"]);
    }
}
