//! The JSON Schema of a gateway's file, for editors, made from its tables.

use serde_json::{Value, json};

use super::table::{CLUSTER, ROUTE, TOP, UPSTREAM};
use super::{ANY_SERVICE, Authority, MOST_NAMES, MOST_UPSTREAMS};
use crate::config::{keys::Table, name::ServiceName, schema::section};

/// The schema of a gateway's file, in draft 2020-12.
pub fn gateway_schema() -> Value {
    let name = ServiceName::PATTERN.trim_start_matches('^').trim_end_matches('$');
    // They come first, as in the schema of the service file: a reader sees at once what the document is.
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bulkhead gateway file",
        "type": "object",
    });
    if let (Value::Object(schema), Value::Object(top)) = (&mut schema, plain(TOP)) {
        schema.extend(top);
    }
    named(&mut schema["properties"]["clusters"], &format!("^{name}$"), &cluster());
    let service = format!("^(\\{ANY_SERVICE}|{name}(\\.{name})?)$");
    let route = json!({ "anyOf": [{ "type": "string", "description": "The cluster's name." }, section(ROUTE, "")] });
    named(&mut schema["properties"]["routes"], &service, &route);
    schema
}

/// The schema of an object without flattened keys.
fn plain(keys: Table) -> Value {
    let mut schema = section(keys, "");
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("patternProperties");
    }
    schema
}

/// Completes the schema of an object whose names the user chooses.
fn named(schema: &mut Value, name: &str, part: &Value) {
    schema["type"] = "object".into();
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = MOST_NAMES.into();
    schema["patternProperties"] = json!({ name: part });
    schema["additionalProperties"] = false.into();
}

fn cluster() -> Value {
    let mut upstream = plain(UPSTREAM);
    upstream["properties"]["address"]["type"] = "string".into();
    upstream["properties"]["health_address"]["type"] = json!(["string", "null"]);
    let address = json!({ "type": "string", "pattern": ":[0-9]+$", "description": Authority::ACCEPTED });
    let mut cluster = section(CLUSTER, "");
    cluster["type"] = "object".into();
    let upstreams = &mut cluster["properties"]["upstreams"];
    upstreams["type"] = "array".into();
    upstreams["minItems"] = 1.into();
    upstreams["maxItems"] = MOST_UPSTREAMS.into();
    upstreams["items"] = json!({ "anyOf": [address, upstream] });
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_tables_is_in_it_and_described() {
        let schema = gateway_schema();
        let only = |schema: &Value| schema["patternProperties"].as_object().unwrap().values().next().unwrap().clone();
        let cluster = only(&schema["properties"]["clusters"]);
        let route = only(&schema["properties"]["routes"])["anyOf"][1].clone();
        let upstream = cluster["properties"]["upstreams"]["items"]["anyOf"][1].clone();
        for (table, schema) in [(TOP, &schema), (CLUSTER, &cluster), (ROUTE, &route), (UPSTREAM, &upstream)] {
            for key in table {
                let found = key.path.split('.').fold(schema, |schema, part| &schema["properties"][part]);
                assert!(
                    found["description"].as_str().is_some_and(|text| text.starts_with(key.meaning)),
                    "{}",
                    key.path
                );
                assert_eq!(found.get("default").cloned(), key.default_value(), "{}", key.path);
            }
        }
        assert_eq!((&cluster["required"], &route["required"]), (&json!(["upstreams"]), &json!(["cluster"])));
        assert_eq!(cluster["properties"]["health_check"]["properties"]["interval_ms"]["maximum"], 3_600_000);
        assert_eq!(upstream["required"], json!(["address"]));
    }
}
