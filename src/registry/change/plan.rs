//! Plans of changes: the new record of a service, computed from its old record.
//!
//! Functions here only compute: they do no I/O and change no state. [`super::apply`] carries a plan out.

use super::effect::Effect;
use super::{ChangeError, history, tokens};
use crate::config::{MirrorRule, ServiceFile, ServiceSpec};
use crate::registry::run::image;
use crate::registry::traffic::groups::USUAL_WEIGHT;
use crate::storage::{Artifact, CanaryRecord, Digest, MirrorRecord, ModelFile, Record, VersionRecord};

/// A change that is decided and not yet made.
pub(in crate::registry) struct Plan {
    pub(in crate::registry) record: Record,
    /// The version that the change adds.
    pub(in crate::registry) version: Option<VersionRecord>,
    pub(in crate::registry) build: Build,
}

/// The versions to build for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Build {
    /// None. The running versions get the record's shares.
    Nothing,
    /// Versions that are not running.
    Missing,
    /// All versions; they replace the running ones.
    Everything,
}

/// The files of a service, which are present and intact.
pub(in crate::registry) struct Uploaded {
    pub(in crate::registry) processor: Option<Artifact>,
    pub(in crate::registry) model: Vec<ModelFile>,
    pub(in crate::registry) warm_up: Option<Digest>,
}

impl Uploaded {
    /// The name of the image that guests start from.
    fn image(&self, spec: &ServiceSpec) -> Option<String> {
        image::name(spec, &self.processor.as_ref()?.sha256, &self.model)
    }
}

impl Plan {
    /// Returns a plan that changes only the record.
    pub(in crate::registry) fn of_record(record: Record) -> Self {
        Self { record, version: None, build: Build::Nothing }
    }

    /// Returns a plan that brings up the versions of the record.
    pub(in crate::registry) fn bring_up(record: &Record) -> Self {
        Self { record: record.clone(), version: None, build: Build::Missing }
    }

    /// Returns the record with the plan's new version as the current one, even if that version is to be a canary.
    pub(in crate::registry) fn newest(&self) -> Record {
        self.version.as_ref().map_or_else(|| self.record.clone(), |version| self.record.with_version(version))
    }

    pub(super) fn create(file: &ServiceFile, files: Uploaded, at: String) -> Result<Self, ChangeError> {
        let spec = file.spec();
        let record = Record {
            name: spec.name().as_str().to_owned(),
            version: 1,
            latest: 1,
            revision: 0,
            canary: None,
            weight: USUAL_WEIGHT,
            traffic_state: spec.traffic_state(),
            mirror: mirror(spec),
            file: file.clone().into(),
            token: tokens::first(spec.token())?,
            previous_token: None,
            last_token: None,
            image: files.image(spec),
            stopped: files.processor.is_none(),
            processor: files.processor,
            model: files.model,
            warm_up: files.warm_up,
            store_id: fastrand::u64(..),
            created_at: at.clone(),
            updated_at: at,
        };
        let version = Some(record.to_version("created".into()));
        Ok(Self { record, version, build: Build::Missing })
    }

    /// Plans a change to `file` and `files`. `canary` is the new version's share of the requests. A service that is not
    /// `up` gets a new version in any case.
    pub(super) fn modify(
        old: &Record,
        file: &ServiceFile,
        files: Uploaded,
        canary: Option<u8>,
        up: bool,
        at: String,
    ) -> Result<(Self, Effect), ChangeError> {
        let (before, after) = (old.file.parsed()?.spec(), file.spec());
        let (token, previous_token) = tokens::after_modify(old, after.token())?;
        let number = old.latest + 1;
        // A setting that was changed outside the file stays, unless the file changes that setting.
        let keeps_state = before.traffic_state() == after.traffic_state();
        let keeps_mirror = mirror(before) == mirror(after);
        let record = Record {
            version: number,
            latest: number,
            file: file.clone().into(),
            last_token: tokens::last(old, token.as_ref()),
            token,
            previous_token,
            image: files.image(after),
            stopped: old.stopped || files.processor.is_none(),
            processor: files.processor,
            model: files.model,
            warm_up: files.warm_up,
            traffic_state: if keeps_state { old.traffic_state } else { after.traffic_state() },
            mirror: if keeps_mirror { old.mirror.clone() } else { mirror(after) },
            updated_at: at,
            ..old.clone()
        };
        if canary.is_some() && !tokens::are_the_same(&record, old) {
            return Err(ChangeError::CanaryToken);
        }
        let effect = if up { Effect::of(old, &record) } else { Effect::NewVersion };
        if effect != Effect::NewVersion {
            let record = Record { version: old.version, latest: old.latest, ..record };
            return Ok((Self::of_record(record), effect));
        }
        let version = Some(record.to_version(history::note(old, &record)));
        let record = match canary {
            None => record,
            Some(weight) => {
                let canary = Some(CanaryRecord { version: number, weight });
                Record { canary, latest: number, updated_at: record.updated_at, ..old.clone() }
            }
        };
        Ok((Self { record, version, build: Build::Missing }, effect))
    }

    /// Plans the return to an earlier version under its own number. A canary ends.
    pub(super) fn return_to(old: &Record, version: &VersionRecord, at: String) -> Result<Self, ChangeError> {
        let record = Record { canary: None, updated_at: at, ..tokens::after_return(old, version)? };
        Ok(Self { record, version: None, build: Build::Missing })
    }

    pub(super) fn stop(old: &Record, at: String) -> Self {
        Self::of_record(Record { stopped: true, updated_at: at, ..old.clone() })
    }

    pub(super) fn start(old: &Record, at: String) -> Self {
        let record = Record { stopped: false, updated_at: at, ..old.clone() };
        Self { record, version: None, build: Build::Missing }
    }

    /// Plans new instances for the same record.
    pub(super) fn renew(old: &Record) -> Self {
        Self { record: old.clone(), version: None, build: Build::Everything }
    }

    /// Plans `weight` percent of the requests for the canary; `None` ends it.
    pub(super) fn weigh_canary(old: &Record, weight: Option<u8>, at: String) -> Result<Self, ChangeError> {
        let canary = old.canary.ok_or(ChangeError::NoCanary)?;
        let canary = weight.map(|weight| CanaryRecord { weight, ..canary });
        Ok(Self::of_record(Record { canary, updated_at: at, ..old.clone() }))
    }
}

/// Returns the mirror that a service file sets.
fn mirror(spec: &ServiceSpec) -> Option<MirrorRecord> {
    let MirrorRule { target, ratio } = spec.rpc().mirror.as_ref()?;
    Some(MirrorRecord { target: target.to_string(), ratio: *ratio })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::TrafficState;

    fn file(keys: &Value) -> ServiceFile {
        let mut file = json!({"name": "a", "processor_path": "a.wasm", "token": "t"});
        file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        ServiceFile::from_value(&file).unwrap()
    }

    fn files(byte: &str) -> Uploaded {
        let sha256 = Digest::parse(&byte.repeat(32)).unwrap();
        Uploaded { processor: Some(Artifact { sha256, bytes: 7 }), model: Vec::new(), warm_up: None }
    }

    fn created(keys: &Value) -> Record {
        Plan::create(&file(keys), files("ab"), "then".into()).unwrap().record
    }

    fn modify(old: &Record, keys: &Value, byte: &str, canary: Option<u8>) -> Result<(Plan, Effect), ChangeError> {
        Plan::modify(old, &file(keys), files(byte), canary, true, "now".into())
    }

    #[test]
    fn a_new_version_becomes_current_or_a_canary() {
        let old = created(&json!({}));
        let (plan, effect) = modify(&old, &json!({}), "cd", None).unwrap();
        assert_eq!((plan.record.version, plan.record.latest, plan.record.canary), (2, 2, None));
        assert_eq!((plan.build, effect), (Build::Missing, Effect::NewVersion));
        assert_eq!((&*plan.record.created_at, &*plan.record.updated_at), ("then", "now"));

        let (plan, _) = modify(&old, &json!({}), "cd", Some(10)).unwrap();
        assert_eq!((plan.record.version, plan.record.latest), (1, 2));
        assert_eq!(plan.record.canary, Some(CanaryRecord { version: 2, weight: 10 }));
        assert_eq!(plan.record.processor, old.processor, "the current version stays what it is");
        assert_ne!(plan.newest().processor, old.processor);
        assert_eq!(plan.version.unwrap().number, 2);
        let other_token = modify(&old, &json!({"token": "u"}), "cd", Some(10));
        assert!(matches!(other_token, Err(ChangeError::CanaryToken)));
    }

    #[test]
    fn a_change_without_a_new_version_keeps_the_number_and_builds_nothing() {
        let old = created(&json!({}));
        for (keys, expected) in [(json!({}), Effect::Nothing), (json!({"token": "u"}), Effect::SameVersion)] {
            let (plan, effect) = modify(&old, &keys, "ab", None).unwrap();
            assert_eq!((effect, plan.build, plan.record.version, plan.record.latest), (expected, Build::Nothing, 1, 1));
            assert!(plan.version.is_none());
        }
        let (plan, effect) = Plan::modify(&old, &file(&json!({})), files("ab"), None, false, "now".into()).unwrap();
        assert_eq!((plan.record.version, effect), (2, Effect::NewVersion), "one that is down is always brought up");
    }

    #[test]
    fn a_service_that_becomes_public_keeps_its_last_token_for_the_way_back() {
        let old = created(&json!({}));
        let version = old.to_version(String::new());
        let public = |old: &Record, byte: &str| {
            modify(old, &json!({"token": null, "generate_token": false}), byte, None).unwrap().0.record
        };
        let still_public = public(&public(&old, "ab"), "cd");
        assert!(still_public.token.is_none() && still_public.last_token.is_some());
        let back = Plan::return_to(&still_public, &version, "now".into()).unwrap().record;
        assert_eq!((back.token.unwrap().reveal(), back.last_token.is_none()), ("t", true));
    }

    #[test]
    fn what_was_set_without_the_file_stays_unless_the_file_changes_in_it() {
        let state = |state: &str| json!({"metadata": {"group": "g"}, "networking": {"traffic_state": state}});
        let set = MirrorRecord { target: "b".into(), ratio: 50 };
        let alone = TrafficState::Standalone;
        let old = Record { traffic_state: alone, mirror: Some(set.clone()), ..created(&state("grouping")) };
        let same = modify(&old, &state("grouping"), "cd", None).unwrap().0.record;
        assert_eq!((same.traffic_state, same.mirror), (alone, Some(set)));
        let mirrored = json!({"metadata": {"rpc": {"mirror": {"target": "c", "ratio": 5}}}});
        let other = modify(&old, &mirrored, "cd", None).unwrap().0.record;
        assert_eq!(other.mirror, Some(MirrorRecord { target: "c".into(), ratio: 5 }));
    }

    #[test]
    fn a_canary_is_weighed_ends_or_takes_over() {
        let old = created(&json!({}));
        assert!(matches!(Plan::weigh_canary(&old, Some(5), "now".into()), Err(ChangeError::NoCanary)));
        let tried = modify(&old, &json!({}), "cd", Some(10)).unwrap().0;
        let (tried, version) = (tried.record, tried.version.unwrap());
        let weighed = Plan::weigh_canary(&tried, Some(30), "now".into()).unwrap();
        assert_eq!((weighed.build, weighed.record.canary.unwrap().weight), (Build::Nothing, 30));
        assert_eq!(Plan::weigh_canary(&tried, None, "now".into()).unwrap().record.canary, None);
        let taken_over = Plan::return_to(&tried, &version, "now".into()).unwrap().record;
        assert_eq!((taken_over.version, taken_over.latest, taken_over.canary), (2, 2, None));
        assert_eq!(taken_over.processor, version.processor);
    }
}
