//! Refusals: the problem document of RFC 9457, on both listeners.
//!
//! The `error` member repeats the refusal for clients of OpenAI's API, which read `error.message` and do not know RFC
//! 9457. The RFC allows extension members (§3.2).

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::AuditEntry;

/// The refusal of a request (RFC 9457).
// Borrows its texts, because a full host refuses more requests than it answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Problem<'a> {
    /// Always `about:blank`: programs read `code`.
    pub r#type: Cow<'a, str>,
    /// The status in words.
    pub title: Cow<'a, str>,
    /// The status of the answer.
    pub status: u16,
    /// The reason for the refusal of this request.
    pub detail: Cow<'a, str>,
    /// The kind of refusal, for programs.
    pub code: Cow<'a, str>,
    /// The id of the request on the data listener, as in the log and in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub request_id: Option<Cow<'a, str>>,
    /// A hint on what may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Cow<'a, str>>,
    /// All mistakes of a service file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<Mistake>>,
    /// The present tag of the service, which does not meet the request's precondition.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The latest change of that service; null if it is no longer known.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AuditEntry>")]
    pub last_change: Option<Option<AuditEntry>>,
    /// The time that the request spent in each phase, on the data listener, if it took too long or never began.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub spent_ms: Option<SpentMs>,
    /// The stack of the guest, innermost frame first; on the admin listener, that of a failed `initialize`.
    #[serde(deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub stack: Option<Vec<Cow<'a, str>>>,
    /// The same refusal for clients of OpenAI's API.
    // Not read: it repeats the members above.
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
    /// The key, such as `metadata.rpc.keepalive`; empty for the file as a whole.
    pub path: String,
    pub message: String,
}

/// The time that a request spent in each phase, in milliseconds with microsecond precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpentMs {
    pub receive: f64,
    pub queue: f64,
    pub run: f64,
}

impl<'a> Problem<'a> {
    /// A refusal with the members that every refusal has.
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

/// Reads a member whose name a proxy may use for something else. A value of another form is ignored.
fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// The type of a refusal in OpenAI's API. It tells who has to act: the caller or the server.
fn sort(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "queue_full" | "rate_limited") => "rate_limit_error",
        // The service chooses the statuses of these faults, and a caller cannot fix them.
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
