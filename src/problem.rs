//! The `error` member of every problem document, from which clients of OpenAI's API read a refusal.
//!
//! Those clients look for `error.message` and do not know RFC 9457, which allows extension members (§3.2).

use serde::Serialize;

/// The same refusal as in the document around it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorMember<'a> {
    message: &'a str,
    r#type: &'static str,
    code: &'static str,
}

impl<'a> ErrorMember<'a> {
    pub(crate) fn new(status: u16, code: &'static str, message: &'a str) -> Self {
        Self { message, r#type: sort(status, code), code }
    }
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
    use super::*;

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
