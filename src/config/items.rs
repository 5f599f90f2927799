//! Reads the items of lists whose items have a form of their own.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    allowed_hosts::{AllowedHosts, BadHost},
    kind::Kind,
    mistakes::Mistakes,
};

/// Reads one of `processor_envs`. No message shows a value, because values may be secrets.
pub(super) fn variable(path: &str, item: &Value, mistakes: &mut Mistakes) -> Option<Value> {
    let Some(object) = item.as_object() else {
        mistakes.add(path, "expected {\"name\": …, \"value\": …}");
        return None;
    };
    for key in object.keys().filter(|key| !matches!(key.as_str(), "name" | "value")) {
        mistakes.add(&format!("{path}.{key}"), "unknown key; a variable has a `name` and a `value`");
    }
    let name =
        object.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && !name.contains(['=', '\0']));
    if name.is_none() {
        mistakes.add(&format!("{path}.name"), "expected the name of a variable: text without `=` and NUL, not empty");
    }
    let value = match object.get("value") {
        Some(Value::String(text)) if !text.contains('\0') => Some(text.clone()),
        Some(plain @ (Value::Number(_) | Value::Bool(_))) => Some(plain.to_string()),
        _ => None,
    };
    if value.is_none() {
        mistakes.add(&format!("{path}.value"), "expected the value of the variable: text without NUL");
    }
    Some(json!({"name": name?, "value": value?}))
}

/// Notes variables with the same name, because it is not defined which one would count.
pub(super) fn unique(path: &str, list: Value, mistakes: &mut Mistakes) -> Value {
    let mut seen = HashSet::new();
    for name in list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()) {
        if !seen.insert(name) {
            mistakes.add(path, format!("the variable {} is given twice", Kind::Any.shown(&name.into())));
        }
    }
    list
}

/// Reads one of `allow_hosts`.
pub(super) fn host(path: &str, item: &Value, mistakes: &mut Mistakes) -> Option<Value> {
    let parsed = item.as_str().ok_or(BadHost).and_then(|text| AllowedHosts::parse([text]));
    match parsed {
        Ok(_) => Some(item.clone()),
        Err(expected) => {
            mistakes.add(path, format!("found {}, {expected}", Kind::Hosts.shown(item)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, value: impl Into<Value>) -> Result<Value, String> {
        let mut mistakes = Mistakes::default();
        let read = kind.read("k", &value.into(), &mut mistakes);
        if mistakes.is_empty() { Ok(read.expect("no mistake, so there is a value")) } else { Err(mistakes.to_string()) }
    }

    #[test]
    fn variables_are_pairs_of_text_with_names_of_their_own() {
        assert_eq!(read(Kind::Variables, json!([{"name": "A", "value": 1}])), Ok(json!([{"name": "A", "value": "1"}])));
        let wrong = json!([
            {"name": "A=B", "value": "hidden"}, {"name": "C"}, {"name": "D", "value": {}}, {"name": "E", "value": "", "x": 1}, "F=1"
        ]);
        let said = read(Kind::Variables, wrong).unwrap_err();
        for path in ["k[0].name:", "k[1].value:", "k[2].value:", "k[3].x:", "k[4]:"] {
            assert!(said.contains(path), "{path} in {said}");
        }
        assert!(!said.contains("hidden"));
        assert!(
            read(Kind::Variables, json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]))
                .unwrap_err()
                .contains("\"A\" is given twice")
        );
    }

    #[test]
    fn hosts_are_names_and_not_urls() {
        assert!(read(Kind::Hosts, json!(["api.example.com", "*.example.com", "localhost:9000", "10.0.0.7"])).is_ok());
        for bad in ["https://example.com", "a/b", "", "*", "a:", "a:0", "a:99999", "a..b"] {
            assert!(read(Kind::Hosts, json!([bad])).is_err(), "{bad}");
        }
    }
}
