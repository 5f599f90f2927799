//! The member of every problem document by which clients of OpenAI's API show a refusal.
//!
//! They look for `error.message` and know nothing of RFC 9457, which lets a document have members of its own (§3.2).

use serde::Serialize;

/// The same refusal as the document around it tells.
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

/// Whose turn it is to act, in the words of those clients.
fn sort(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "queue_full" | "rate_limited") => "rate_limit_error",
        // The service chooses the statuses of its own faults, and a caller cannot mend them.
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
