//! The reference page of the service file, made from its table of keys, and the rows that the gateway's page shares.

use bulkhead_pages::generated::{check, code, prose, table};

use super::keys::{KEYS, Key, Use};
use super::kind::{Kind, UNLIMITED};
use super::limits::MOST_WORKERS;
use super::table::{ASYNC, FRESH, REUSE};

#[test]
fn the_page_is_what_the_code_says() {
    let used = |section: fn(&str) -> bool| {
        let keys = KEYS.iter().filter(|key| key.usage == Use::Used && section(key.path));
        keys_table(keys, |key| value(key.kind))
    };
    let ignored = KEYS.iter().filter(|key| key.usage == Use::Ignored);
    let ignored = table(["key", "meaning in EAS"], ignored.map(|key| [code(key.path), prose(key.meaning)]));
    let parts = [
        ("service", used(|path| !path.contains('.'))),
        ("metadata", used(|path| path.starts_with("metadata."))),
        ("queue", used(|path| path.starts_with("queue."))),
        ("sandbox", used(|path| path.starts_with("sandbox."))),
        (
            "runtime and networking",
            used(|path| ["runtime.", "networking."].iter().any(|start| path.starts_with(start))),
        ),
        ("between keys", between_keys()),
        ("ignored", ignored),
    ];
    for key in KEYS {
        let shown = parts.iter().filter(|(_, text)| text.contains(&format!("| `{}` |", key.path))).count();
        assert_eq!(shown, 1, "{} is in {shown} of the tables in src/config/reference.rs", key.path);
    }
    check("docs/reference/service-file.md", &parts);
}

/// The checks of `limits`, `queue` and `cors`.
fn between_keys() -> String {
    [
        format!("- `metadata.instance` × `metadata.rpc.worker_threads` is at most {} workers.", thousands(MOST_WORKERS)),
        "- `model_entry` needs a `model_path`.".to_owned(),
        format!(
            "- With `metadata.rpc.batching`, `metadata.rpc.max_batch_size` is at most `metadata.rpc.max_queue_size`, \
             `metadata.rpc.max_batch_timeout` is less than `metadata.rpc.keepalive`, and `sandbox.isolation` is `{REUSE}`, \
             not `{FRESH}`."
        ),
        "- `networking.gateway_policy.rate_limit.enable` and `concurrency_limit.enable` need the `limit` beside them."
            .to_owned(),
        format!(
            "- The keys of `queue` need `\"metadata.type\": \"{ASYNC}\"`. A service with this type has no `metadata.group`, \
             no `metadata.rpc.mirror` and no `metadata.rpc.batching`: it is called by a put into its queue."
        ),
        "- The other keys of `sandbox.cors` need `sandbox.cors.origins`. `sandbox.cors.methods` are among \
         `sandbox.methods`. With `sandbox.cors.credentials`, the origins are listed, and `\"null\"` is not among them."
            .to_owned(),
    ]
    .join("\n")
}

/// A table of keys with their values, defaults and meanings.
pub(super) fn keys_table<'k>(keys: impl Iterator<Item = &'k Key>, value: impl Fn(&Key) -> String) -> String {
    table(
        ["key", "value", "default", "meaning"],
        keys.map(|key| [code(key.path), value(key), default(key), meaning(key)]),
    )
}

fn default(key: &Key) -> String {
    match (key.default, key.same_as) {
        (Some(default), _) => code(default),
        (None, Some(same)) => format!("as `{same}`"),
        (None, None) if key.required => "required".to_owned(),
        (None, None) => "none".to_owned(),
    }
}

/// The meaning, what happens at the limit, and the reason for the default.
fn meaning(key: &Key) -> String {
    let mut meaning = prose(key.meaning);
    for (name, text) in [("At the limit", key.at_limit), ("Reason for the default", key.because)] {
        if !text.is_empty() {
            meaning.push_str(&format!("<br>*{name}*: {}.", prose(text)));
        }
    }
    meaning
}

/// The type and the accepted values.
pub(super) fn value(kind: Kind) -> String {
    let words = |words: &[&str]| words.iter().map(code).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Integer { least, most, unit } => {
            format!("integer, {} to {} {unit}", thousands(least), thousands(most)).trim_end().to_owned()
        }
        Kind::Fuel => format!("integer, at least 1, or `\"{UNLIMITED}\"`"),
        Kind::Word(of) => format!("one of {}", words(of)),
        Kind::AnyCase(of) => format!("one of {}, in upper or lower case", words(of)),
        Kind::Words { of, least: 0 } => format!("list of {}", words(of)),
        Kind::Words { of, least } => format!("list of at least {least} of {}", words(of)),
        Kind::Name => format!("text: {}", kind.accepted()),
        Kind::Token => format!("text: {}", kind.accepted()),
        Kind::Location
        | Kind::Url
        | Kind::Entry
        | Kind::Variables
        | Kind::Hosts
        | Kind::Origins
        | Kind::HeaderNames
        | Kind::Any => prose(&marked(&kind.accepted())),
    }
}

/// The number with a comma after each group of three digits.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Marks `{…}`, `[…]` and URLs as code.
fn marked(text: &str) -> String {
    let mut marked = text.to_owned();
    for (open, close) in [('{', '}'), ('[', ']')] {
        if let (Some(begin), Some(end)) = (marked.find(open), marked.rfind(close)) {
            marked = format!("{}`{}`{}", &marked[..begin], &marked[begin..=end], &marked[end + 1..]);
        }
    }
    let url = |word: &str| {
        let url = word.trim_end_matches(',');
        if url.starts_with("https://") { format!("`{url}`{}", &word[url.len()..]) } else { word.to_owned() }
    };
    marked.split(' ').map(url).collect::<Vec<_>>().join(" ")
}
