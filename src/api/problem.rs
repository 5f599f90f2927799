//! The reason for a refusal: a problem document of RFC 9457, on both listeners.
//!
//! Its `error` member says the same to clients of OpenAI's API: those look for `error.message` and do not know RFC 9457,
//! which allows extension members (§3.2).

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::AuditEntry;

/// Why a request was refused (RFC 9457).
// Borrows what it says: a host that is full refuses more than it answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Problem<'a> {
    /// Always `about:blank`: programs read `code`.
    pub r#type: Cow<'a, str>,
    /// The status in words.
    pub title: Cow<'a, str>,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: Cow<'a, str>,
    /// The kind of refusal, for programs.
    pub code: Cow<'a, str>,
    /// The request, on the data listener, as the log and the answer's `X-Request-Id` name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub request_id: Option<Cow<'a, str>>,
    /// What may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Cow<'a, str>>,
    /// All mistakes of a service file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<Mistake>>,
    /// The present tag of a service that is not as `If-Match` has it.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The latest change of such a service; null where it is not known any more.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AuditEntry>")]
    pub last_change: Option<Option<AuditEntry>>,
    /// What the time went on, on the data listener, of a request that took too long or never began.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub spent_ms: Option<SpentMs>,
    /// The guest's frames, innermost first; on the admin listener those in which `initialize` failed.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub stack: Option<Vec<Cow<'a, str>>>,
    /// The same for clients of OpenAI's API.
    // Not read: it repeats what stands above.
    #[serde(skip_deserializing)]
    #[schemars(!skip_deserializing)]
    pub error: ErrorMember<'a>,
}

/// The `error` member of OpenAI's API: the same refusal as in the document around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorMember<'a> {
    pub message: Cow<'a, str>,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    pub r#type: Cow<'a, str>,
    pub code: Cow<'a, str>,
}

/// One mistake in a service file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mistake {
    /// The key, as `metadata.rpc.keepalive`; empty where it is the file as a whole.
    pub path: String,
    pub message: String,
}

/// What the time of a request went on, in milliseconds to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentMs {
    pub receive: f64,
    pub queue: f64,
    pub run: f64,
}

impl<'a> Problem<'a> {
    /// The members that every refusal has.
    pub fn new(status: u16, title: &'a str, code: &'a str, detail: &'a str) -> Self {
        Self {
            r#type: "about:blank".into(),
            title: title.into(),
            status,
            detail: detail.into(),
            code: code.into(),
            error: ErrorMember { message: detail.into(), r#type: sort(status, code).into(), code: code.into() },
            ..Self::default()
        }
    }
}

/// Reads a member that a proxy may use in its own way: then it is passed over.
fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// The type of a refusal in OpenAI's terms: it tells who has to act.
fn sort(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "queue_full" | "rate_limited") => "rate_limit_error",
        // The service sets the statuses of its own faults, and a caller cannot fix them.
        (_, "processor_exception" | "fuel_exhausted") | (500.., _) => "server_error",
        (401, _) => "authentication_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_host_writes_is_read_and_what_a_proxy_puts_in_its_place_is_passed_over() {
        let detail = "the service has changed";
        let written = Problem {
            etag: Some("\"7\"".to_owned()),
            last_change: Some(None),
            spent_ms: Some(SpentMs { receive: 0.5, queue: 1.0, run: 2.0 }),
            ..Problem::new(412, "Precondition Failed", "precondition_failed", detail)
        };
        let json = json!(written);
        assert_eq!((&json["last_change"], &json["error"]["message"]), (&Value::Null, &json!(detail)));
        let read: Problem<'_> = serde_json::from_value(json).unwrap();
        assert_eq!(read, Problem { error: ErrorMember::default(), ..written });

        let of_a_proxy = json!({ "title": "No", "detail": "not now", "error": "x", "stack": "at x", "last_change": 1 });
        let read: Problem<'_> = serde_json::from_value(of_a_proxy).unwrap();
        assert_eq!(read, Problem { title: "No".into(), detail: "not now".into(), ..Problem::default() });
    }

    #[test]
    fn the_sort_of_a_refusal_says_who_can_mend_it() {
        for (status, code, expected) in [
            (401, "unauthorized", "authentication_error"),
            (450, "queue_full", "rate_limit_error"),
            (429, "rate_limited", "rate_limit_error"),
            (400, "processor_exception", "server_error"),
            (470, "fuel_exhausted", "server_error"),
            (503, "not_ready", "server_error"),
            (404, "service_not_found", "invalid_request_error"),
            (400, "bad_request", "invalid_request_error"),
        ] {
            assert_eq!(sort(status, code), expected, "{status} {code}");
        }
    }
}
