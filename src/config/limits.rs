//! Checks between keys, and the README's table of limits.

use super::{
    cors,
    keys::{KEYS, Table},
    kind::Kind,
    mistakes::Mistakes,
    settings::Settings,
    table::FRESH,
};

/// Most workers of a service. Each has a guest with a memory of its own and a place in the pool.
const MOST_WORKERS: u64 = 4096;

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

/// The README's table: every limit of a service with its default, its range, and the effect of reaching it.
pub fn limits_markdown() -> String {
    markdown(KEYS)
}

pub(super) fn markdown(keys: Table) -> String {
    let mut table =
        String::from("| key | default | accepted | at the limit | why this default |\n|---|---|---|---|---|\n");
    for key in keys.iter().filter(|key| !key.at_limit.is_empty()) {
        let name = format!("`{}`", key.path);
        let row = [name.as_str(), key.default.unwrap_or("none"), &range(key.kind), key.at_limit, key.because];
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    table
}

fn range(kind: Kind) -> String {
    match kind {
        Kind::Integer { least, most, unit } => format!("{least} to {most} {unit}").trim_end().to_owned(),
        other => other.accepted(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_the_table_as_it_is() {
        assert!(
            include_str!("../../README.md").contains(&limits_markdown()),
            "put this into README.md:\n{}",
            limits_markdown()
        );
    }

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

    #[test]
    fn the_table_has_a_row_for_every_limit() {
        let table = limits_markdown();
        assert!(
            table
                .contains("| `metadata.rpc.max_queue_size` | 64 | 0 to 100000 requests | per instance: 450 `queue_full`, at once | "),
            "{table}"
        );
        assert!(
            table.contains("| `sandbox.fuel` | 100000000000 | an integer of at least 1, or \"unlimited\" | "),
            "{table}"
        );
        assert!(table.lines().all(|row| row.matches('|').count() == 6), "{table}");
        for limit in [
            "keepalive",
            "worker_threads",
            "rate_limit",
            "memory_mb",
            "max_request_bytes",
            "max_response_bytes",
            "log_bytes_per_request",
        ] {
            assert!(table.contains(limit), "{limit}");
        }
    }
}
