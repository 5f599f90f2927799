//! The effect of a change on a service: a new version, a new record of the same version, or nothing.
//!
//! Only ten versions are kept. A version without a difference would push out another one.

use serde_json::Value;

use super::Files;
use super::request::ChangeLock;
use super::tokens::are_the_same;
use crate::config::{self, ServiceFile};
use crate::registry::Registry;
use crate::registry::service::Service;
use crate::storage::{Entry, ModelFile, Record};

/// Keys of a service file that do not affect guests: the token, which belongs to the service and not to a version, and
/// the paths of the files on the operator's machine, of which only the contents count.
const OF_NO_VERSION: [&str; 4] = ["token", "processor_path", "model_path", "warm_up_data_path"];

/// The effect of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The service already was as requested.
    Nothing,
    /// The record changes; the running version stays.
    SameVersion,
    NewVersion,
}

impl Effect {
    /// Returns the effect of a change that turns `old` into `new`.
    pub(in crate::registry) fn of(old: &Record, new: &Record) -> Self {
        let keys = differing(&old.file.value(), &new.file.value());
        let is_of_a_version = |key: &String| !OF_NO_VERSION.contains(&key.as_str());
        let becomes_public = old.token.is_some() != new.token.is_some();
        if keys.iter().any(is_of_a_version) || !have_the_same_files(old, new) || becomes_public {
            return Self::NewVersion;
        }
        let has_new_tokens = !are_the_same(old, new) || old.previous_token.is_some() != new.previous_token.is_some();
        if keys.is_empty() && !has_new_tokens { Self::Nothing } else { Self::SameVersion }
    }
}

impl Registry {
    /// Adds an audit entry for a change without effect. The service's revision stays the same.
    pub(in crate::registry) async fn note_unchanged(&self, service: &Service, lock: &ChangeLock<'_>) {
        let entry = lock.entry(service.name(), Some(&service.state().record));
        self.note(Entry { outcome: Entry::UNCHANGED.to_owned(), ..entry }).await;
    }
}

/// True if an existing service has the settings and files of a create request. A token that the host generated is not
/// compared.
pub(in crate::registry) fn is_as_asked(record: &Record, file: &ServiceFile, files: &Files) -> bool {
    let keys = differing(&record.file.value(), &file.normalised());
    keys.iter().all(|key| OF_NO_VERSION.contains(&key.as_str()) && key != "token")
        && record.processor.as_ref().map(|processor| &processor.sha256) == files.processor.as_ref()
        && is_the_same_model(&record.model, &files.model)
        && record.warm_up == files.warm_up
}

/// Returns the settings in which two service files differ.
fn differing(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (config::leaves(old), config::leaves(new));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value)).map(|(key, _)| key);
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    changed.chain(gone).cloned().collect()
}

fn have_the_same_files(old: &Record, new: &Record) -> bool {
    old.processor == new.processor && is_the_same_model(&old.model, &new.model) && old.warm_up == new.warm_up
}

/// True if the models have the same files, in any order. An empty file and an empty directory of one name differ only
/// in `directory`.
fn is_the_same_model(old: &[ModelFile], new: &[ModelFile]) -> bool {
    let sorted = |files: &[ModelFile]| {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    };
    old.len() == new.len() && sorted(old) == sorted(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Token, TrafficState};
    use crate::storage::{Artifact, Digest};

    fn digest(byte: &str) -> Digest {
        Digest::parse(&byte.repeat(32)).unwrap()
    }

    fn record(keys: &Value) -> Record {
        let mut file = json!({"name": "a", "processor_path": "a.wasm", "token": "t"});
        file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let model = |path: &str, byte| ModelFile { path: path.into(), sha256: digest(byte), size: 1, directory: false };
        Record {
            name: "a".into(),
            version: 7,
            latest: 7,
            revision: 0,
            canary: None,
            weight: 100,
            traffic_state: TrafficState::Grouping,
            mirror: None,
            token: file["token"].as_str().map(|token| Token::parse(token).unwrap()),
            file: file.into(),
            image: None,
            previous_token: None,
            last_token: None,
            processor: Some(Artifact { sha256: digest("ab"), bytes: 7 }),
            model: vec![model("m/a", "01"), model("m/b", "02")],
            warm_up: None,
            stopped: false,
            store_id: 0,
            created_at: String::new(),
            updated_at: "yesterday".into(),
        }
    }

    #[test]
    fn only_what_a_guest_can_tell_makes_a_version() {
        let old = record(&json!({}));
        let to = |new: &Record| Effect::of(&old, new);
        let later = Record { version: 8, latest: 8, updated_at: "today".into(), ..old.clone() };
        assert_eq!(to(&later), Effect::Nothing);
        let turned = Record { model: old.model.iter().rev().cloned().collect(), ..old.clone() };
        assert_eq!(to(&turned), Effect::Nothing, "the order of the files does not matter");
        assert_eq!(to(&record(&json!({"metadata": {"instance": 1}}))), Effect::Nothing, "that is the default");

        assert_eq!(to(&record(&json!({"token": "u"}))), Effect::SameVersion);
        assert_eq!(to(&record(&json!({"processor_path": "elsewhere/a.wasm"}))), Effect::SameVersion);
        let retired = Record { previous_token: old.token.clone(), ..old.clone() };
        assert_eq!(to(&retired), Effect::SameVersion);

        assert_eq!(to(&record(&json!({"metadata": {"instance": 2}}))), Effect::NewVersion);
        assert_eq!(to(&record(&json!({"token": null, "generate_token": false}))), Effect::NewVersion);
        let other = Record { processor: Some(Artifact { sha256: digest("cd"), bytes: 7 }), ..old.clone() };
        assert_eq!(to(&other), Effect::NewVersion);
        let fewer = Record { model: old.model[..1].to_vec(), ..old.clone() };
        assert_eq!(to(&fewer), Effect::NewVersion);
        let mut hollow = old.clone();
        hollow.model[0] = ModelFile { size: 0, ..hollow.model[0].clone() };
        let mut folder = hollow.clone();
        folder.model[0].directory = true;
        assert_eq!(Effect::of(&hollow, &folder), Effect::NewVersion, "a guest sees a directory where a file was");
        assert_eq!(to(&Record { warm_up: Some(digest("ef")), ..old.clone() }), Effect::NewVersion);
    }
}
