//! Reads request bodies from the command line, and prepares the bodies of answers for output.

use std::fs;
use std::io::{self, Read};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::failure::Failure;

/// Reads the value of `-d`: the text itself, `@FILE`, or `-` for standard input.
pub(super) fn read(text: &str) -> Result<Vec<u8>, Failure> {
    if text == "-" {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
        return Ok(body);
    }
    match text.strip_prefix('@') {
        Some(file) => Ok(fs::read(file).with_context(|| format!("cannot read the request body `{file}`"))?),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// Guesses the content type of a body.
pub(super) fn content_type(body: &[u8]) -> &'static str {
    let structured = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if structured && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

/// A body as a JSON member: `body` if it is text, otherwise `body_base64`.
pub(super) fn member(body: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(body) {
        Ok(text) => ("body", json!(text)),
        Err(_) => ("body_base64", json!(STANDARD.encode(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_text_or_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("row.json");
        fs::write(&file, "[1]").unwrap();
        assert_eq!(read("@").unwrap_err().to_string().lines().count(), 1);
        assert_eq!(read("hello").unwrap(), b"hello");
        assert_eq!(read(&format!("@{}", file.display())).unwrap(), b"[1]");
    }

    #[test]
    fn the_content_type_is_guessed_from_the_bytes() {
        assert_eq!(content_type(b" {\"a\": 1}"), "application/json");
        assert_eq!(content_type(b"{not json"), "text/plain; charset=utf-8");
        assert_eq!(content_type(&[0xff, 0xd8]), "application/octet-stream");
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_in_json() {
        assert_eq!(member(b"ok"), ("body", json!("ok")));
        assert_eq!(member(&[0xff]), ("body_base64", json!("/w==")));
    }
}
