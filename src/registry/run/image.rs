//! The way from compiled code to a program that guests are made of, and the name of what it leaves on disk.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::guest::make;
use crate::admission::Executor;
use crate::config::{ServiceFile, ServiceSpec};
use crate::hex::hex;
use crate::registry::change::{Progress, Report, Step};
use crate::sandbox::{Guest, InitializeError, NotTaken, Prepared, Program, Sandbox, Snapshot};
use crate::storage::{Digest, ModelFile, VersionRecord};

/// Names the image of a service's guests by all that `initialize` can see, so that whatever could make it come out
/// otherwise asks for another image. `None` where the service wants none.
pub(in crate::registry) fn name(spec: &ServiceSpec, processor: &Digest, model: &[ModelFile]) -> Option<String> {
    let sandbox = spec.sandbox();
    if !sandbox.snapshot {
        return None;
    }
    let mut seen = Sha256::new();
    let mut see = |part: &[u8]| {
        seen.update((part.len() as u64).to_le_bytes());
        seen.update(part);
    };
    see(processor.as_str().as_bytes());
    let mut files: Vec<&ModelFile> = model.iter().collect();
    files.sort_by_key(|file| &file.path);
    see(&(files.len() as u64).to_le_bytes());
    for file in files {
        see(file.path.as_bytes());
        see(file.sha256.as_str().as_bytes());
        if file.directory {
            see(b"/");
        }
    }
    // No entry is not the same as an empty one.
    let entry = spec.model().entry.as_deref();
    see(&[u8::from(entry.is_some())]);
    see(entry.unwrap_or_default().as_bytes());
    see(spec.model().config.as_bytes());
    see(&(spec.envs().len() as u64).to_le_bytes());
    for (name, value) in spec.envs() {
        see(name.as_bytes());
        see(value.as_bytes());
    }
    see(&sandbox.memory_bytes.to_le_bytes());
    Some(hex(&seen.finalize()))
}

/// The same of what is on disk.
pub(in crate::registry) fn name_of(version: &VersionRecord) -> Option<String> {
    let file = ServiceFile::from_value(&version.file).ok()?;
    name(file.spec(), &version.processor.sha256, &version.model)
}

/// A program, and what is known of how its guests come to be.
pub(in crate::registry) struct Ready {
    pub(in crate::registry) program: Arc<Program>,
    /// A guest that was made on the way.
    pub(in crate::registry) first: Option<Guest>,
    /// Why guests are initialised one by one, where they are.
    pub(in crate::registry) no_snapshot: Option<String>,
}

/// Initialises a first guest, unless guests start from one that was initialised before, and takes a snapshot of it where
/// that can be done. That it cannot is told, and is no reason against the deploy.
pub(in crate::registry) async fn make_ready(
    sandbox: &Sandbox,
    executor: &Executor,
    prepared: Prepared,
    progress: &Progress,
) -> Result<Ready, InitializeError> {
    let Prepared { program, snapshot } = prepared;
    let not_taken = |reason: String, program, first| {
        progress(Report::Notice(format!("no snapshot: {reason}; `initialize` runs for each worker")));
        Ready { program, first, no_snapshot: Some(reason) }
    };
    let draft = match snapshot {
        Snapshot::Taken => return Ok(Ready { program, first: None, no_snapshot: None }),
        Snapshot::Impossible(reason) => {
            progress(Report::Begun(Step::Initialize));
            let first = make(executor, &program).await?;
            return Ok(not_taken(reason, program, Some(first)));
        }
        Snapshot::Possible(draft) => draft,
    };
    progress(Report::Begun(Step::Initialize));
    let first = make(executor, &program).await?;
    progress(Report::Begun(Step::Snapshot));
    Ok(match sandbox.take_snapshot(draft, first).await {
        Ok(image) => match image.instantiate_at_once() {
            Some(first) => Ready { program: image, first: Some(first), no_snapshot: None },
            None => not_taken("no guest starts from it".into(), program, None),
        },
        Err(NotTaken { reason, guest }) => not_taken(reason, program, guest),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn name_with(keys: &Value, processor: &str, model: &[(&str, &str)]) -> Option<String> {
        let mut file = json!({"name": "a", "processor_path": "a.wasm", "model_path": "m"});
        for (key, value) in keys.as_object().expect("an object") {
            file[key] = value.clone();
        }
        let digest = |text: &str| Digest::parse(&text.repeat(64)).expect("a digest");
        let model: Vec<ModelFile> = model
            .iter()
            .map(|(path, text)| ModelFile { path: (*path).into(), sha256: digest(text), size: 1, directory: false })
            .collect();
        name(ServiceFile::from_value(&file).expect("a service").spec(), &digest(processor), &model)
    }

    #[test]
    fn what_initialize_cannot_see_changes_nothing_and_what_it_can_changes_the_name() {
        let model = [("a", "1"), ("b", "2")];
        let plain = name_with(&json!({}), "0", &model);
        assert!(plain.is_some());
        for unseen in [
            json!({"name": "b", "token": "t"}),
            json!({"metadata.rpc.keepalive": 1, "metadata.rpc.worker_threads": 9, "metadata.instance": 3}),
            json!({"sandbox": {"isolation": "fresh", "initialize_timeout_ms": 9, "max_requests_per_instance": 9}}),
        ] {
            assert_eq!(name_with(&unseen, "0", &model), plain, "{unseen}");
        }
        assert_eq!(name_with(&json!({}), "0", &[model[1], model[0]]), plain, "the order of the files is no one's");

        let mut names = vec![plain];
        for seen in [
            json!({"model_entry": "a"}),
            json!({"model_config": "x"}),
            json!({"model_config": {"x": 1}}),
            json!({"processor_envs": [{"name": "A", "value": "b"}]}),
            json!({"processor_envs": [{"name": "A", "value": "bc"}]}),
            json!({"processor_envs": [{"name": "Ab", "value": "c"}]}),
            json!({"sandbox": {"memory_mb": 255}}),
        ] {
            names.push(name_with(&seen, "0", &model));
        }
        names.push(name_with(&json!({}), "1", &model));
        for other in [&model[..1], &[("a", "1"), ("b", "3")], &[("a", "1"), ("c", "2")], &[]] {
            names.push(name_with(&json!({}), "0", other));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each is another");
    }

    #[test]
    fn a_service_that_wants_no_snapshot_has_no_name_for_one() {
        assert_eq!(name_with(&json!({"sandbox": {"snapshot": false}}), "0", &[]), None);
    }
}
