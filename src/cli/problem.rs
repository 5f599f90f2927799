//! Refusals of a server: `application/problem+json`, or a body of another kind.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::api;

pub(crate) type Problem = api::Problem<'static>;

/// The members that `--json` shows. The others repeat these, or are for programs that use the admin API themselves.
const SHOWN: [&str; 8] = ["title", "status", "detail", "code", "request_id", "hint", "errors", "stack"];
/// Most characters of a body of another kind that are shown.
const EXCERPT: usize = 300;

/// Reads a refusal. A proxy may answer with a body of another kind; that body is quoted.
pub(crate) fn of_answer(status: u16, body: &[u8]) -> Problem {
    match serde_json::from_slice::<Problem>(body) {
        // The status of the response counts, not the one in the body.
        Ok(problem) if says_something(&problem) => Problem { status, ..problem },
        _ => Problem { status, detail: excerpt(body).into(), ..Problem::default() },
    }
}

fn says_something(problem: &Problem) -> bool {
    let has_mistakes = problem.errors.as_ref().is_some_and(|errors| !errors.is_empty());
    !problem.detail.is_empty() || !problem.title.is_empty() || has_mistakes
}

/// The refusal in one line, without the list of mistakes.
pub(crate) fn sentence(problem: &Problem) -> String {
    let text = match (problem.detail.as_ref(), problem.title.as_ref()) {
        ("", "") => "the server gave no reason",
        ("", title) => title,
        (detail, _) => detail,
    };
    match problem.code.as_ref() {
        "" => format!("{text} (status {})", problem.status),
        code => format!("{text} (status {}, {code})", problem.status),
    }
}

/// The refusal as JSON, for `--json`.
pub(crate) fn to_json(problem: &Problem) -> Value {
    let mut shown = json!(problem);
    if let Some(members) = shown.as_object_mut() {
        members.retain(|member, _| SHOWN.contains(&member.as_str()));
    }
    shown
}

/// A refusal, displayed as text.
pub(crate) struct Told<'a>(pub(crate) &'a Problem);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(problem) = self;
        f.write_str(&sentence(problem))?;
        for mistake in problem.errors.iter().flatten() {
            write!(f, "\n  {}: {}", mistake.path, mistake.message)?;
        }
        if let Some(stack) = problem.stack.as_ref().filter(|stack| !stack.is_empty()) {
            f.write_str("\nstack:")?;
            stack.iter().try_for_each(|frame| write!(f, "\n  {frame}"))?;
        }
        if let Some(hint) = &problem.hint {
            write!(f, "\nhint: {hint}")?;
        }
        if let Some(id) = &problem.request_id {
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
            Told(&of_answer(400, body)).to_string(),
            "2 mistakes in the service file (status 400, invalid_service_file)\n  \
             metadata.rpc.keepalive: \"soon\" is not a number\n  \
             sandbox.fule: unknown key, did you mean `fuel`?\n\
             hint: see `bulkhead schema`\n\
             request id: r-1"
        );
    }

    #[test]
    fn a_foreign_answer_is_quoted() {
        let problem = of_answer(502, b"upstream connect error\n");
        assert_eq!(Told(&problem).to_string(), "upstream connect error (status 502)");
        let problem = of_answer(502, b"{\"error\": true}");
        assert_eq!(problem.detail, "{\"error\": true}");
        let problem = of_answer(500, b"");
        assert_eq!(Told(&problem).to_string(), "the server gave no reason (status 500)");
        let long = "é".repeat(5000);
        assert!(of_answer(500, long.as_bytes()).detail.len() < 1000);
    }
}
