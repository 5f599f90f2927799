//! The name of the image that a version's guests start from.

use sha2::{Digest as _, Sha256};

use crate::config::ServiceSpec;
use crate::hex::hex;
use crate::storage::{Digest, ModelFile};

/// Returns a hash of everything that `initialize` can see, so that a change of any of it needs another image. `None` if
/// the service uses no image.
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
    // A missing entry differs from an empty one.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::ServiceFile;

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
        assert_eq!(name_with(&json!({}), "0", &[model[1], model[0]]), plain, "the order of the files does not matter");

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
