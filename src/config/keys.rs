//! The description of a key, and the lookup of a key by its path.
//!
//! The keys are in the table `KEYS`. Reading, defaults, the schema and the reference pages are made from it.

use serde_json::Value;

use super::kind::Kind;
pub(super) use super::table::KEYS;

/// A key of a service file. It is made only by the constructors below, in the table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) usage: Use,
    pub(super) required: bool,
    /// The default as JSON text; `None` if a missing key has a meaning of its own.
    pub(super) default: Option<&'static str>,
    /// The reason for the default.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference pages, which tests make"))]
    pub(super) because: &'static str,
    pub(super) meaning: &'static str,
    /// For a limit: the effect of reaching it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference pages, which tests make"))]
    pub(super) at_limit: &'static str,
    /// If this key is only another spelling, the path of the actual key. The value is kept at that path.
    pub(super) same_as: Option<&'static str>,
}

/// The keys of one kind of object: a service file, or a part of a gateway's.
pub(super) type Table = &'static [Key];

/// The use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Used,
    /// It has a meaning for EAS and none here.
    Ignored,
}

/// The result of looking up a path.
pub(super) enum KeyMatch<'p> {
    Key(&'static Key),
    /// The beginning of other keys, such as `metadata.rpc`.
    Section,
    /// A path inside a key that takes any value.
    Inside(&'static Key, &'p str),
    Unknown,
}

impl Key {
    pub(super) const fn used(path: &'static str, kind: Kind) -> Self {
        Self {
            path,
            kind,
            usage: Use::Used,
            required: false,
            default: None,
            because: "",
            meaning: "",
            at_limit: "",
            same_as: None,
        }
    }

    pub(super) const fn ignored(path: &'static str, meaning: &'static str) -> Self {
        Self { usage: Use::Ignored, meaning, ..Self::used(path, Kind::Any) }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn default(self, json: &'static str, because: &'static str) -> Self {
        Self { default: Some(json), because, ..self }
    }

    pub(super) const fn means(self, meaning: &'static str) -> Self {
        Self { meaning, ..self }
    }

    pub(super) const fn at_limit(self, at_limit: &'static str) -> Self {
        Self { at_limit, ..self }
    }

    pub(super) const fn same_as(self, path: &'static str) -> Self {
        Self { same_as: Some(path), ..self }
    }

    /// The path at which its value is kept.
    pub(super) fn kept_at(&self) -> &'static str {
        self.same_as.unwrap_or(self.path)
    }

    pub(super) fn default_value(&self) -> Option<Value> {
        self.default.map(|json| serde_json::from_str(json).expect("defaults in the table are JSON"))
    }
}

/// Looks up a path of the service file.
pub(super) fn find(path: &str) -> KeyMatch<'_> {
    find_in(KEYS, path)
}

pub(super) fn find_in<'p>(table: Table, path: &'p str) -> KeyMatch<'p> {
    if let Some(key) = table.iter().find(|key| key.path == path) {
        return KeyMatch::Key(key);
    }
    if table.iter().any(|key| rest_after(key.path, path).is_some()) {
        return KeyMatch::Section;
    }
    let inside = table
        .iter()
        .filter(|key| matches!(key.kind, Kind::Any))
        .find_map(|key| Some((key, rest_after(path, key.path)?)));
    inside.map_or(KeyMatch::Unknown, |(key, rest)| KeyMatch::Inside(key, rest))
}

/// The key at a path that the code names. The tests of `service` and `gateway` use every such path.
pub(super) fn key(table: Table, path: &str) -> &'static Key {
    table.iter().find(|key| key.path == path).unwrap_or_else(|| panic!("no key {path} in the table"))
}

/// The part of `path` after `prefix` and a dot.
fn rest_after<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix)?.strip_prefix('.')
}

/// The message for a key that is not in the table.
pub(super) fn unknown(table: Table, path: &str) -> String {
    match nearest(table, path) {
        Some(nearest) => format!("unknown key; did you mean {nearest}?"),
        None if std::ptr::eq(table, KEYS) => "unknown key; `bulkhead schema` lists the known ones".to_owned(),
        None => "unknown key; `bulkhead schema --gateway` lists the known ones".to_owned(),
    }
}

/// The known key or section that was most likely meant; `None` if none is similar enough.
fn nearest(table: Table, path: &str) -> Option<&'static str> {
    // For `sandbox.fuel.limit`, the nearest key is `sandbox.fuel`, which has no keys inside.
    if let Some(key) = table.iter().find(|key| rest_after(path, key.path).is_some()) {
        return Some(key.path);
    }
    let asked = loose(path);
    let sections = table.iter().flat_map(|key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]));
    let known = table.iter().map(|key| key.path).chain(sections);
    let measured = known.map(|known| (distance(&asked, &loose(known)), known));
    let (distance, nearest) = measured.min_by_key(|(distance, _)| *distance).expect("the table is not empty");
    (distance <= 5 + last(&asked).chars().count() / 2).then_some(nearest)
}

/// The distance between two paths from [`loose`]. The right word in the wrong section is a common mistake. A typing
/// mistake in the right section is more common, so it adds less to the distance.
fn distance(asked: &str, known: &str) -> usize {
    let whole = 2 * strsim::damerau_levenshtein(asked, known);
    let same_section = section(asked) == section(known);
    let (asked, known) = (last(asked), last(known));
    let word = 2 * strsim::damerau_levenshtein(asked, known) + 5;
    // The last word may be a part of the right one: `timeout_ms` for `initialize_timeout_ms`.
    let part = match same_section {
        _ if asked.len() < 4 || !known.contains(asked) => usize::MAX,
        true => 4,
        false => 6,
    };
    whole.min(word).min(part)
}

/// The path in a form in which `maxQueueSize`, `max-queue-size` and `max_queue_size` are equal. It is cut, because the
/// work of a comparison grows with the length.
fn loose(path: &str) -> String {
    path.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).take(80).collect()
}

fn section(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(section, _)| section)
}

fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

/// The value of a `KEY=VALUE`: JSON if it parses and the key does not take text; otherwise text.
pub(super) fn override_value(path: &str, text: &str) -> Value {
    let is_text = matches!(find(path), KeyMatch::Key(key) if key.kind.is_text());
    match serde_json::from_str(text) {
        Ok(value @ (Value::String(_) | Value::Null)) => value,
        Ok(value) if !is_text => value,
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mistakes::Mistakes;

    #[test]
    fn every_key_stands_once_and_says_what_it_means() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[..at].iter().any(|other| other.path == key.path), "{} stands twice", key.path);
            assert!(!key.meaning.is_empty(), "{} says nothing", key.path);
            assert!(!matches!(find(key.path), KeyMatch::Unknown));
            assert_eq!(key.default.is_some(), !key.because.is_empty(), "the default of {} has a reason", key.path);
        }
    }

    #[test]
    fn no_key_is_a_section_as_well() {
        for key in KEYS {
            assert!(!KEYS.iter().any(|other| rest_after(other.path, key.path).is_some()), "{}", key.path);
        }
    }

    #[test]
    fn every_default_would_be_accepted_as_it_stands() {
        for key in KEYS {
            if let Some(default) = key.default_value() {
                let mut mistakes = Mistakes::default();
                assert_eq!(key.kind.read(key.path, &default, &mut mistakes), Some(default), "{} {mistakes}", key.path);
            }
        }
    }

    #[test]
    fn the_nearest_key_is_the_one_a_person_meant() {
        for (typed, meant) in [
            ("metadata.rpc.keepalve", "metadata.rpc.keepalive"),
            ("metadata.rcp", "metadata.rpc"),
            ("metadata.keepalive", "metadata.rpc.keepalive"),
            ("rpc", "metadata.rpc"),
            ("rpc.keepalive", "metadata.rpc.keepalive"),
            ("workerThreads", "metadata.rpc.worker_threads"),
            ("metadata.rpc.maxQueueSize", "metadata.rpc.max_queue_size"),
            ("sandbox.memory", "sandbox.memory_mb"),
            ("sandbox.timeout_ms", "sandbox.initialize_timeout_ms"),
            ("queue.timeout", "queue.timeout_ms"),
            ("queue.retention", "queue.retention_s"),
            ("metadata.queue.length", "queue.length"),
            ("sandox", "sandbox"),
            ("Name", "name"),
            ("processor_env", "processor_envs"),
            ("metadata.instances", "metadata.instance"),
            ("modelpath", "model_path"),
            ("sandbox.fuel.limit", "sandbox.fuel"),
        ] {
            assert_eq!(nearest(KEYS, typed), Some(meant), "{typed}");
        }
        assert_eq!(nearest(KEYS, "zebra_crossing"), None);
    }
}
