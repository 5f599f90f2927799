//! The OpenAPI 3.1 document of the admin listener, made from the tables of operations and the types of their bodies.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Accepts, Access, Content, Operation, Parameter, Verb};
use super::operations;
use super::problem::kinds::Kind;
use crate::api::Problem;
use crate::config;

const ABOUT: &str = "The control plane of one Bulkhead host. Everything below `/api` needs the admin token, which is in \
    `admin.token` in the data directory. Failures are `application/problem+json` (RFC 9457), with `code` for programs. \
    A query parameter that is not listed is refused. HEAD is answered wherever GET is, without the body. A request \
    that is not valid HTTP/1.1 is refused before it gets to an operation, with 400, 408, 413, 414, 417, 431, 501 or 505.";

/// The schemas of request bodies, in which members may be left out, and of answers, in which all members are present. A
/// type that is used in both has the same schema in both.
struct Types {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Types {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        // The defaults are for answers of older hosts. An answer of this host lacks no member.
        let no_defaults = RecursiveTransform(|schema: &mut Schema| drop(schema.remove("default")));
        let answered = settings.clone().for_serialize().with_transform(no_defaults).into_generator();
        Self { taken: settings.into_generator(), answered }
    }
}

/// The document as it is served: the same text for every host of a release.
pub(crate) fn text() -> String {
    format!("{:#}\n", document())
}

fn document() -> Value {
    let mut types = Types::new();
    types.answered.subschema_for::<Problem<'_>>();
    let mut paths = Map::new();
    for operation in operations::all() {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        let method = match operation.method {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Delete => "delete",
        };
        methods[method] = describe(operation, &mut types);
    }
    let mut schemas = types.taken.take_definitions(true);
    schemas.extend(types.answered.take_definitions(true));
    let mut file = config::json_schema();
    if let Value::Object(file) = &mut file {
        // The dialect is set for the document as a whole.
        file.remove("$schema");
    }
    schemas.insert("ServiceFile".to_owned(), file);
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bulkhead admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "adminToken": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn describe(operation: &Operation, types: &mut Types) -> Value {
    let mut described = Map::new();
    described.insert("operationId".to_owned(), operation.id.into());
    described.insert("summary".to_owned(), operation.summary.into());
    if !operation.description.is_empty() {
        described.insert("description".to_owned(), operation.description.into());
    }
    let security = match operation.access {
        Access::Open => json!([]),
        Access::Operator => json!([{ "adminToken": [] }]),
    };
    described.insert("security".to_owned(), security);
    let places = operation.places().map(|place| parameter(place, "path"));
    let query = operation.query.iter().map(|query| parameter(query, "query"));
    let headers = headers(operation).into_iter().map(|header| parameter(header, "header"));
    let parameters: Vec<_> = places.chain(query).chain(headers).collect();
    if !parameters.is_empty() {
        described.insert("parameters".to_owned(), parameters.into());
    }
    if !operation.takes.is_empty() {
        described.insert(
            "requestBody".to_owned(),
            json!({ "required": true, "content": content(operation.takes, &mut types.taken) }),
        );
    }
    described.insert("responses".to_owned(), responses(operation, &mut types.answered));
    described.into()
}

/// The headers that an operation reads, besides those of HTTP itself.
fn headers(operation: &Operation) -> Vec<&'static Parameter> {
    const ACTOR: Parameter =
        Parameter::pattern("X-Bulkhead-Actor", "The name that the audit log gives for the change.", "^[ -~]{1,64}$");
    const IF_MATCH: Parameter = Parameter::text(
        "If-Match",
        "The change is made only if the service has one of these tags, or with `*` if the service exists; else 412.",
    );
    const IF_NONE_MATCH: Parameter = Parameter::text(
        "If-None-Match",
        "Tags that the client knows. If the service has one of them, the answer is 304.",
    );
    const UNLESS: Parameter = Parameter::text(
        "If-None-Match",
        "The change is not made if the service has one of these tags, or with `*` if the service exists; then 412.",
    );
    let mut headers = Vec::new();
    if operation.action.is_some() {
        headers.extend([&ACTOR, &UNLESS]);
    }
    if operation.is_conditional() {
        headers.push(&IF_MATCH);
    }
    if operation.tagged && operation.action.is_none() {
        headers.push(&IF_NONE_MATCH);
    }
    headers
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    let schema = match parameter.accepts {
        Accepts::Text => json!({ "type": "string" }),
        Accepts::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Accepts::Word(words) => json!({ "type": "string", "enum": words }),
        Accepts::Whole { least, most, default } => {
            json!({ "type": "integer", "minimum": least, "maximum": most, "default": default })
        }
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": parameter.means,
        "schema": schema,
    })
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in operation.answers {
        let mut response = json!({ "description": answer.means });
        if operation.tagged {
            let schema = json!({ "type": "string" });
            let means = "The service's tag; an answer in lines does not have it.";
            response["headers"] = json!({ "ETag": { "description": means, "schema": schema } });
        }
        if !answer.content.is_empty() {
            response["content"] = content(answer.content, generator);
        }
        responses.insert(answer.status.as_str().to_owned(), response);
    }
    let refusals = operation.refusals();
    for same_status in refusals.chunk_by(|a, b| a.status == b.status) {
        responses.insert(same_status[0].status.to_string(), refused(same_status));
    }
    responses.sort_keys();
    responses.into()
}

/// The response for the kinds of refusal that share a status.
fn refused(kinds: &[&Kind]) -> Value {
    let told: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}", kind.code, kind.means)).collect();
    let schema = json!({
        "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            { "properties": { "code": { "enum": kinds.iter().map(|kind| kind.code).collect::<Vec<_>>() } } },
        ],
    });
    json!({
        "description": told.join("\n\n"),
        "content": { "application/problem+json": { "schema": schema } },
    })
}

fn content(contents: &[Content], generator: &mut SchemaGenerator) -> Value {
    let media = |content: &Content| {
        let media = match content {
            Content::Json(shape) | Content::Lines(shape) => json!({ "schema": (shape.schema)(generator) }),
            Content::Text(_) => json!({}),
            Content::Bytes => json!({ "schema": { "type": "string", "format": "binary" } }),
        };
        (content.media_type().to_owned(), media)
    };
    contents.iter().map(media).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `BULKHEAD_BLESS=1 cargo test openapi` writes the file again.
    #[test]
    fn the_document_in_the_tree_is_the_one_that_is_served() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let document = text();
        if std::env::var_os("BULKHEAD_BLESS").is_some() {
            std::fs::write(&file, &document).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == document, "openapi.json is out of date; BULKHEAD_BLESS=1 cargo test openapi writes it anew");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
        let document = document();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in schemas.keys() {
            assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nothing refers to {name}");
        }
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{reference}"));
            assert!(schemas.contains_key(name), "{reference} leads nowhere");
        }
    }
}
