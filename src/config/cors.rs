//! `sandbox.cors`: the web pages of other origins that may call a service, by the rules of the Fetch standard (section
//! "CORS protocol").

use std::sync::Arc;

use http::HeaderValue;
use serde_json::Value;

use super::{kind::Kind, mistakes::Mistakes, settings::Settings};

/// Every origin; in the list of headers, every header.
pub(super) const ANY: &str = "*";
/// The origin of pages without one of their own: local files, sandboxed frames.
const NULL: &str = "null";
const ORIGINS: &str = "sandbox.cors.origins";
/// Most items of a list, and most bytes of an item: the list becomes a response header.
const MOST: usize = 100;
const LONGEST: usize = 256;

/// The settings, as values of response headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub origins: Origins,
    pub methods: HeaderValue,
    /// Headers that pages may send; `None` for all headers that they ask for.
    pub headers: Option<HeaderValue>,
    /// True if pages may send credentials, such as cookies.
    pub credentials: bool,
    /// Seconds for which a browser may cache the answer to a preflight request.
    pub max_age: HeaderValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// Reads settings without mistakes; `None` for a service without `sandbox.cors.origins`.
    pub(super) fn of(settings: &Settings<'_>) -> Option<Arc<Self>> {
        let origins = words(settings.given(ORIGINS)?);
        let methods = settings.given("sandbox.cors.methods").unwrap_or_else(|| settings.list("sandbox.methods").into());
        let headers = words(settings.list("sandbox.cors.headers").into());
        Some(Arc::new(Self {
            origins: match origins.as_slice() {
                [any] if any == ANY => Origins::Any,
                listed => Origins::Listed(listed.iter().map(|origin| header(origin)).collect()),
            },
            methods: header(&words(methods).join(", ")),
            headers: (headers != [ANY]).then(|| header(&headers.join(", "))),
            credentials: settings.flag("sandbox.cors.credentials"),
            max_age: HeaderValue::from(settings.integer("sandbox.cors.max_age_s")),
        }))
    }
}

/// Checks the keys against each other.
pub(super) fn check(settings: &Settings<'_>, mistakes: &mut Mistakes) {
    let Some(origins) = settings.given(ORIGINS) else {
        for key in ["methods", "headers", "credentials", "max_age_s"].map(|name| format!("sandbox.cors.{name}")) {
            if settings.given(&key).is_some() && !mistakes.at(ORIGINS) {
                mistakes.add(&key, format!("given without {ORIGINS}, which names the pages that it is for"));
            }
        }
        return;
    };
    let origins = words(origins);
    let named = |origin: &str| origins.iter().any(|named| named == origin);
    if settings.flag("sandbox.cors.credentials") {
        if named(ANY) {
            let message = format!("true, while {ORIGINS} is \"*\": browsers refuse that; list the origins");
            mistakes.add("sandbox.cors.credentials", message);
        }
        if named(NULL) {
            let message = format!(
                "true, while {ORIGINS} has \"null\": any page can open a frame with that origin; list the origins"
            );
            mistakes.add("sandbox.cors.credentials", message);
        }
    }
    let answered = words(settings.list("sandbox.methods").into());
    for method in words(settings.given("sandbox.cors.methods").unwrap_or_default()) {
        if !answered.contains(&method) {
            let message = format!("found {method}, which is not among sandbox.methods: {}", answered.join(", "));
            mistakes.add("sandbox.cors.methods", message);
        }
    }
}

/// Checks the length of a list, and that `*` stands alone.
pub(super) fn list(path: &str, list: Value, mistakes: &mut Mistakes) -> Value {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    if items.len() > MOST {
        mistakes.add(path, format!("found a list of {}, expected at most {MOST}", items.len()));
    }
    if items.len() > 1 && items.iter().any(|item| item == ANY) {
        mistakes.add(path, "found \"*\" beside others, expected either \"*\" alone or a list without it");
    }
    list
}

/// Checks one of `origins`. It must be written as browsers write it, because they compare byte by byte.
pub(super) fn origin(path: &str, item: &Value, mistakes: &mut Mistakes) -> Option<Value> {
    let text = item.as_str().unwrap_or_default();
    if text == ANY || text == NULL || text.len() <= LONGEST && is_origin(text) {
        return Some(item.clone());
    }
    let found = Kind::Origins.shown(item);
    let expected = "\"*\", \"null\", or a scheme, a host in lower case and a port unless it is the scheme's default, \
                    such as https://app.example.com or http://localhost:3000";
    mistakes.add(path, format!("found {found}, expected {expected}"));
    None
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    is_scheme && is_host && port.is_none_or(|port| is_port(scheme, port))
}

fn is_port(scheme: &str, port: &str) -> bool {
    let is_usual = matches!((scheme, port), ("http", "80") | ("https", "443"));
    !is_usual && port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
}

/// Checks one of `headers`: a name, or `*`, which is a valid name too.
pub(super) fn header_name(path: &str, item: &Value, mistakes: &mut Mistakes) -> Option<Value> {
    let is_name = |name: &&str| name.len() <= LONGEST && http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    let name = item.as_str().filter(is_name);
    if name.is_none() {
        let found = Kind::HeaderNames.shown(item);
        mistakes.add(path, format!("found {found}, expected the name of a header such as content-type, or \"*\""));
    }
    name.map(Value::from)
}

fn words(list: Value) -> Vec<String> {
    let Value::Array(items) = list else { return Vec::new() };
    items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("origins, methods and names of headers are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "http://[2001:db8::1]",
            "chrome-extension://abcdefghijklmnop",
            "tauri://localhost",
            "https://xn--bcher-kva.example",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:0",
            "https://app.example.com:08080",
            "https://app.example.com:",
            "https://*.example.com",
            "https://user@app.example.com",
            "https://bücher.example",
            "https://[::1",
            "https://[0:0::1]",
            "https://",
            "://a",
            "",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
