//! The settings of a service file that differ from the defaults, by their dotted paths. Two files mean the same service
//! if these are equal.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::{KeyMatch, find};

/// Collects the settings of a file in its canonical form. A key with its default value is left out.
pub fn leaves(file: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(file, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    if let (Value::Object(members), true) = (value, path.is_empty() || matches!(find(path), KeyMatch::Section)) {
        for (key, value) in members {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(value, &path, found);
        }
        return;
    }
    let is_default = matches!(find(path), KeyMatch::Key(key) if key.default_value().as_ref() == Some(value));
    if !is_default {
        found.insert(path.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ServiceFile;

    #[test]
    fn what_is_given_with_its_default_is_as_good_as_left_out() {
        let file = |more: Value| {
            let mut file = json!({"name": "a", "processor_path": "a.wasm"});
            file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            leaves(&ServiceFile::from_value(&file).unwrap().normalised())
        };
        let plain = file(json!({}));
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["name", "processor_path"]);
        assert_eq!(file(json!({"metadata": {"instance": 1, "rpc": {"keepalive": "5000"}}})), plain);
        assert_eq!(file(json!({"metadata.rpc.worker_threads": 5, "sandbox": {}})), plain);
        assert_ne!(file(json!({"metadata": {"instance": 2}})), plain);
        // `model_config` belongs to the processor: its keys have no defaults here.
        assert_ne!(file(json!({"model_config": {"instance": 1}})), plain);
    }
}
