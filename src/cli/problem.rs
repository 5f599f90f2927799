//! An answer that is a refusal: `application/problem+json`, or whatever stands in its place.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// RFC 9457 with the host's own members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<PathError>,
    /// Where a guest failed, innermost frame first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stack: Vec<String>,
}

/// One mistake in the service file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PathError {
    pub(crate) path: String,
    pub(crate) message: String,
}

/// How much of a foreign body is worth showing.
const EXCERPT: usize = 300;

impl Problem {
    /// Reads a refusal. A proxy in between answers in its own way, so a body of another kind is quoted rather than
    /// refused.
    pub(crate) fn from_answer(status: u16, body: &[u8]) -> Self {
        let parsed = serde_json::from_slice(body).ok();
        match parsed {
            // The status on the wire is the one that counts.
            Some(problem @ Self { .. }) if problem.says_something() => Self { status, ..problem },
            _ => Self { status, detail: excerpt(body), ..Self::default() },
        }
    }

    fn says_something(&self) -> bool {
        !(self.detail.is_empty() && self.title.is_empty() && self.errors.is_empty())
    }

    /// What went wrong in one line, without the list of mistakes.
    pub(crate) fn sentence(&self) -> String {
        let text = match (self.detail.as_str(), self.title.as_str()) {
            ("", "") => "the server gave no reason",
            ("", title) => title,
            (detail, _) => detail,
        };
        match self.code.as_str() {
            "" => format!("{text} (status {})", self.status),
            code => format!("{text} (status {}, {code})", self.status),
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        for error in &self.errors {
            write!(f, "\n  {}: {}", error.path, error.message)?;
        }
        if !self.stack.is_empty() {
            f.write_str("\nstack:")?;
            self.stack.iter().try_for_each(|frame| write!(f, "\n  {frame}"))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nrequest id: {id}")?;
        }
        Ok(())
    }
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_has_a_line_of_its_own() {
        let body = br#"{
            "type": "about:blank", "title": "Bad Request", "status": 400, "code": "invalid_service_file",
            "detail": "2 mistakes in the service file", "hint": "see `bulkhead schema`", "request_id": "r-1",
            "errors": [
                { "path": "metadata.rpc.keepalive", "message": "\"soon\" is not a number" },
                { "path": "sandbox.fule", "message": "unknown key, did you mean `fuel`?" }
            ]
        }"#;
        assert_eq!(
            Problem::from_answer(400, body).to_string(),
            "2 mistakes in the service file (status 400, invalid_service_file)\n  \
             metadata.rpc.keepalive: \"soon\" is not a number\n  \
             sandbox.fule: unknown key, did you mean `fuel`?\n\
             hint: see `bulkhead schema`\n\
             request id: r-1"
        );
    }

    #[test]
    fn a_foreign_answer_is_quoted() {
        let problem = Problem::from_answer(502, b"upstream connect error\n");
        assert_eq!(problem.to_string(), "upstream connect error (status 502)");
        let problem = Problem::from_answer(502, b"{\"error\": true}");
        assert_eq!(problem.detail, "{\"error\": true}");
        let problem = Problem::from_answer(500, b"");
        assert_eq!(problem.to_string(), "the server gave no reason (status 500)");
        let long = "é".repeat(5000);
        assert!(Problem::from_answer(500, long.as_bytes()).detail.len() < 1000);
    }
}
