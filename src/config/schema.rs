//! The JSON Schema of a service file, made from the table, for editors and for the console; and the parts that the
//! schema of a gateway's file shares.
//!
//! It describes the nested spelling in full. Flattened keys are accepted without a check of their values, because EAS
//! files have them.

use serde_json::{Map, Value, json};

use super::{
    keys::{KEYS, Key, Table, Use},
    kind::{Kind, UNLIMITED},
    name::ServiceName,
};

const SPELLINGS: &str = "One service. Sections may be nested (`{\"metadata\": {\"rpc\": {\"keepalive\": 5000}}}`) or \
    flattened with dots at any level (`{\"metadata.rpc.keepalive\": 5000}`, `{\"metadata\": {\"rpc.keepalive\": 5000}}`). \
    Numbers and booleans may be given as strings; null is the same as leaving a key out.";

/// The schema of a service file, in draft 2020-12.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bulkhead service file",
        "description": SPELLINGS,
        "type": "object",
        "allOf": [
            { "anyOf": [
                { "required": ["name"] },
                { "required": ["metadata.name"] },
                { "required": ["metadata"], "properties": { "metadata": { "type": "object", "required": ["name"] } } },
            ] },
            // Only an asynchronous service may have no processor.
            { "anyOf": [
                { "required": ["processor_path"] },
                { "required": ["metadata.type"] },
                { "required": ["metadata"], "properties": { "metadata": { "type": "object", "required": ["type"] } } },
            ] },
        ],
    });
    let Value::Object(root) = section(KEYS, "") else { unreachable!("a section is an object") };
    for (name, value) in root.into_iter().filter(|(name, _)| name != "type") {
        schema[name] = value;
    }
    schema
}

/// The schema of the keys of a table below a prefix, which is empty or ends with a dot.
pub(super) fn section(keys: Table, prefix: &str) -> Value {
    let mut properties = Map::new();
    let mut sections = Vec::new();
    for key in keys {
        let Some(rest) = key.path.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            None => {
                properties.insert(rest.to_owned(), leaf(key));
            }
            Some((name, _)) if !properties.contains_key(name) => {
                sections.push(name);
                properties.insert(name.to_owned(), section(keys, &format!("{prefix}{name}.")));
            }
            Some(_) => {}
        }
    }
    let mut schema = json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false });
    let is_alone = |key: &&Key| key.required && keys.iter().all(|other| other.same_as != Some(key.path));
    let required = keys.iter().filter(is_alone).filter_map(|key| key.path.strip_prefix(prefix));
    let required: Vec<&str> = required.filter(|rest| !rest.contains('.')).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    let free = keys
        .iter()
        .filter(|key| matches!(key.kind, Kind::Any))
        .filter_map(|key| key.path.strip_prefix(prefix))
        .filter(|rest| !rest.contains('.'));
    let flattened: Vec<&str> = sections.into_iter().chain(free).collect();
    if !flattened.is_empty() {
        schema["patternProperties"] =
            json!({ format!("^({})\\.", flattened.join("|")): { "description": "The flattened spelling of a key." } });
    }
    schema
}

fn leaf(key: &Key) -> Value {
    let mut schema = shape(key.kind);
    schema["description"] = match key.usage {
        Use::Used => key.meaning.to_owned(),
        Use::Ignored => format!("{} An EAS key without meaning here: accepted, and listed as ignored.", key.meaning),
    }
    .into();
    if let Some(default) = key.default_value() {
        schema["default"] = default;
    }
    schema
}

/// The schema of a value. Null is accepted everywhere, because it is the same as leaving the key out.
fn shape(kind: Kind) -> Value {
    let (number, text, list) = (["integer", "string", "null"], ["string", "null"], ["array", "null"]);
    match kind {
        Kind::Flag => json!({ "enum": [true, false, "true", "false", null] }),
        Kind::Integer { least, most, .. } => {
            json!({ "type": number, "minimum": least, "maximum": most, "pattern": "^[0-9]+$" })
        }
        Kind::Fuel => json!({ "type": number, "minimum": 1, "pattern": format!("^([0-9]+|{UNLIMITED})$") }),
        Kind::Word(words) => {
            json!({ "enum": words.iter().map(|word| json!(word)).chain([Value::Null]).collect::<Vec<_>>() })
        }
        // The words for completion in editors; the pattern for their other spellings.
        Kind::AnyCase(words) => json!({ "anyOf": [
            { "enum": words.iter().map(|word| json!(word)).chain([Value::Null]).collect::<Vec<_>>() },
            { "type": "string", "pattern": any_case(words) },
        ] }),
        Kind::Words { of, least } => json!({ "type": list, "items": { "enum": of }, "minItems": least }),
        Kind::Name => json!({ "type": text, "pattern": ServiceName::PATTERN }),
        Kind::Token => json!({ "type": text, "pattern": "^[!-~]{1,512}$" }),
        Kind::Url => json!({ "type": text, "format": "uri", "pattern": "^https?://" }),
        Kind::Location => json!({ "type": text, "pattern": "\\S" }),
        Kind::Entry => json!({ "type": text, "pattern": "^[^/\\\\]" }),
        Kind::Hosts => json!({ "type": list, "items": { "type": "string" } }),
        Kind::Origins => json!({ "type": list, "items": { "type": "string" }, "minItems": 1 }),
        Kind::HeaderNames => json!({ "type": list, "items": { "type": "string" } }),
        Kind::Any => json!({}),
        Kind::Variables => json!({
            "type": list,
            "items": {
                "type": "object",
                "properties": {
                    "name": { "type": "string", "pattern": "^[^=\\u0000]+$" },
                    "value": { "type": ["string", "number", "boolean"] },
                },
                "required": ["name", "value"],
                "additionalProperties": false,
            },
        }),
    }
}

/// A pattern for words in upper or lower case. The regular expressions of JSON Schema have no flag for that.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase());
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows `properties` from section to section.
    fn at<'s>(schema: &'s Value, path: &str) -> &'s Value {
        path.split('.').fold(schema, |schema, part| &schema["properties"][part])
    }

    #[test]
    fn every_key_of_the_table_is_in_it_and_described() {
        let schema = json_schema();
        for key in KEYS {
            let found = at(&schema, key.path);
            assert!(found["description"].as_str().is_some_and(|text| text.starts_with(key.meaning)), "{}", key.path);
            assert_eq!(found.get("default").cloned(), key.default_value(), "{}", key.path);
        }
    }

    #[test]
    fn ranges_words_and_closed_sections_are_in_it() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["allOf"][1]["anyOf"][0], json!({"required": ["processor_path"]}));
        assert_eq!(
            (&at(&schema, "metadata.instance")["minimum"], &at(&schema, "metadata.instance")["maximum"]),
            (&json!(1), &json!(64))
        );
        assert_eq!(at(&schema, "sandbox.isolation")["enum"], json!(["reuse", "fresh", null]));
        assert_eq!(
            at(&schema, "metadata.type")["anyOf"],
            json!([
                { "enum": ["Standard", "Async", null] },
                { "type": "string", "pattern": "^([Ss][Tt][Aa][Nn][Dd][Aa][Rr][Dd]|[Aa][Ss][Yy][Nn][Cc])$" },
            ])
        );
        assert_eq!(
            at(&schema, "sandbox.methods")["items"]["enum"],
            json!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        );
        for closed in ["metadata", "metadata.rpc", "sandbox", "networking.gateway_policy.rate_limit"] {
            assert_eq!(at(&schema, closed)["additionalProperties"], json!(false), "{closed}");
        }
        assert!(
            schema["patternProperties"]
                .as_object()
                .unwrap()
                .keys()
                .any(|pattern| pattern.starts_with("^(metadata|queue|sandbox|")),
            "{}",
            schema["patternProperties"]
        );
    }
}
