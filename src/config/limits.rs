//! Checks between keys.

use super::{cors, mistakes::Mistakes, queue, settings::Settings, table::FRESH};

/// Most workers of a service. Each has a guest with a memory of its own and a place in the pool.
pub(super) const MOST_WORKERS: u64 = 4096;

/// Makes the checks that need more than one key. A key that is wrong by itself gets no second mistake.
pub(super) fn check(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    required(settings, mistakes);
    if settings.given("model_entry").is_some() && settings.given("model_path").is_none() && !mistakes.at("model_path") {
        mistakes.add("model_entry", "there is no model_path, and this is a path inside it");
    }
    let (instances, workers) = (settings.integer("metadata.instance"), settings.integer("metadata.rpc.worker_threads"));
    if instances * workers > MOST_WORKERS {
        let message = format!(
            "{} workers in each of {} instances are {}, expected at most {MOST_WORKERS}",
            settings.shown("metadata.rpc.worker_threads"),
            settings.shown("metadata.instance"),
            instances * workers
        );
        mistakes.add("metadata.rpc.worker_threads", message);
    }
    if settings.flag("metadata.rpc.batching") {
        batching(settings, mistakes);
    }
    queue::check(settings, mistakes);
    cors::check(settings, mistakes);
    for policy in ["rate_limit", "concurrency_limit"].map(|name| format!("networking.gateway_policy.{name}")) {
        let limit = format!("{policy}.limit");
        if settings.flag(&format!("{policy}.enable")) && settings.given(&limit).is_none() && !mistakes.at(&limit) {
            mistakes.add(&limit, format!("missing, while {policy}.enable is true"));
        }
    }
}

fn batching(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let integer = |name: &str| settings.integer(&format!("metadata.rpc.{name}"));
    let shown = |name: &str| settings.shown(&format!("metadata.rpc.{name}"));
    let (size, queue) = (integer("max_batch_size"), integer("max_queue_size"));
    if size > queue {
        let message = format!(
            "found {}, expected at most metadata.rpc.max_queue_size, {}: requests that wait for their batch are in the queue",
            shown("max_batch_size"),
            shown("max_queue_size"),
        );
        mistakes.add("metadata.rpc.max_batch_size", message);
    }
    let (wait, keepalive) = (integer("max_batch_timeout"), integer("keepalive"));
    if wait >= keepalive {
        let message = format!(
            "found {}, expected less than metadata.rpc.keepalive, {}, in which requests must be answered",
            shown("max_batch_timeout"),
            shown("keepalive"),
        );
        mistakes.add("metadata.rpc.max_batch_timeout", message);
    }
    if settings.text("sandbox.isolation").as_deref() == Some(FRESH) {
        let message = "true, while sandbox.isolation is \"fresh\": requests that are answered together share a guest";
        mistakes.add("metadata.rpc.batching", message);
    }
}

/// Notes the required keys that are missing.
pub(super) fn required(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let table = settings.0.table();
    for key in table.iter().filter(|key| key.required && settings.given(key.path).is_none()) {
        let wrong_already = table.iter().any(|spelling| spelling.kept_at() == key.path && mistakes.at(spelling.path));
        if !wrong_already {
            mistakes.add(key.path, format!("missing, expected {}", key.kind.accepted()));
        }
    }
}

#[cfg(test)]
mod tests {
    /// A user who sets one key on the command line has not written the other one.
    #[test]
    fn a_value_that_nobody_wrote_is_told_as_a_default() {
        let rpc = |rpc: &str| {
            let text = format!(r#"{{"name": "a", "processor_path": "a.wasm", "metadata": {{"rpc": {rpc}}}}}"#);
            crate::config::ServiceFile::parse(&text).unwrap_err().to_string()
        };
        let told = rpc(r#"{"batching": true, "max_batch_size": 100}"#);
        assert!(told.contains("found 100, expected at most metadata.rpc.max_queue_size, 64 (its default): "), "{told}");
        let told = rpc(r#"{"batching": true, "keepalive": 40}"#);
        assert!(told.contains("found 50 (its default), expected less than metadata.rpc.keepalive, 40, "), "{told}");
    }
}
