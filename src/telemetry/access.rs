//! One line per request, formatted by hand into a buffer of the thread: this is on the path of every request.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::call::RequestId;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A sentence, then the same facts as `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is said about a request. Never a token, a query or a body.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub request_id: RequestId,
    /// Empty where the request named no known service.
    pub service: &'a str,
    pub version: u64,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub code: &'a str,
    pub receive: Duration,
    pub queue: Duration,
    pub run: Duration,
    pub fuel: Option<u64>,
    /// Bytes of memory the guest has come to use.
    pub memory: usize,
    pub bytes_in: usize,
    pub bytes_out: usize,
    /// The private cause, for the log alone.
    pub cause: &'a str,
}

impl Entry<'_> {
    pub(super) fn write(&self, format: Format, line: &mut String) {
        // Writing to a string cannot fail.
        let _ = match format {
            Format::Text => self.text(line),
            Format::Json => self.json(line),
        };
        line.push('\n');
    }

    fn text(&self, line: &mut String) -> std::fmt::Result {
        let total = self.receive + self.queue + self.run;
        write!(line, "{} INFO request ", humantime::format_rfc3339_millis(SystemTime::now()))?;
        write!(line, "{} {} answered {} in ", self.method, Escaped(self.path), self.status)?;
        write_ms(line, total)?;
        write!(line, " ms request_id={} service={} version={}", self.request_id, self.service, self.version)?;
        write!(line, " status={} code={} receive_ms=", self.status, self.code)?;
        write_ms(line, self.receive)?;
        line.push_str(" queue_ms=");
        write_ms(line, self.queue)?;
        line.push_str(" run_ms=");
        write_ms(line, self.run)?;
        if let Some(fuel) = self.fuel {
            write!(line, " fuel={fuel}")?;
        }
        write!(line, " memory={} bytes_in={} bytes_out={}", self.memory, self.bytes_in, self.bytes_out)?;
        if !self.cause.is_empty() {
            write!(line, " cause=\"{}\"", Escaped(self.cause))?;
        }
        Ok(())
    }

    fn json(&self, line: &mut String) -> std::fmt::Result {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        write!(
            line,
            "{{\"timestamp\":\"{now}\",\"level\":\"INFO\",\"target\":\"request\",\"request_id\":\"{}\"",
            self.request_id
        )?;
        write!(line, ",\"service\":\"{}\",\"version\":{}", Escaped(self.service), self.version)?;
        write!(line, ",\"method\":\"{}\",\"path\":\"{}\"", Escaped(self.method), Escaped(self.path))?;
        write!(line, ",\"status\":{},\"code\":\"{}\",\"receive_ms\":", self.status, self.code)?;
        write_ms(line, self.receive)?;
        line.push_str(",\"queue_ms\":");
        write_ms(line, self.queue)?;
        line.push_str(",\"run_ms\":");
        write_ms(line, self.run)?;
        if let Some(fuel) = self.fuel {
            write!(line, ",\"fuel\":{fuel}")?;
        }
        write!(line, ",\"memory\":{},\"bytes_in\":{},\"bytes_out\":{}", self.memory, self.bytes_in, self.bytes_out)?;
        if !self.cause.is_empty() {
            write!(line, ",\"cause\":\"{}\"", Escaped(self.cause))?;
        }
        line.push('}');
        Ok(())
    }
}

/// Milliseconds with three digits after the point.
fn write_ms(line: &mut String, time: Duration) -> std::fmt::Result {
    let micros = time.as_micros();
    write!(line, "{}.{:03}", micros / 1000, micros % 1000)
}

/// Control characters, and those that end lines or reorder text on a screen.
pub(super) fn is_wild(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text that cannot begin a line, end a string, or move a terminal's cursor.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if is_wild(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            request_id: RequestId::from_caller(b"abc").unwrap(),
            service: "echo",
            version: 2,
            method: "POST",
            path: "/api/predict/echo",
            status: 400,
            code: "processor_exception",
            receive: Duration::from_micros(1500),
            queue: Duration::ZERO,
            run: Duration::from_micros(70),
            fuel: Some(12),
            memory: 65536,
            bytes_in: 5,
            bytes_out: 6,
            cause: "it \"broke\"\nbadly",
        }
    }

    #[test]
    fn text_is_a_sentence_and_its_facts() {
        let mut line = String::new();
        entry().write(Format::Text, &mut line);
        let (_, rest) = line.split_once(" INFO request ").unwrap();
        assert_eq!(
            rest,
            "POST /api/predict/echo answered 400 in 1.570 ms request_id=abc service=echo version=2 status=400 \
             code=processor_exception receive_ms=1.500 queue_ms=0.000 run_ms=0.070 fuel=12 memory=65536 bytes_in=5 \
             bytes_out=6 cause=\"it \\\"broke\\\"\\u000abadly\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line_whatever_the_cause_says() {
        let mut line = String::new();
        entry().write(Format::Json, &mut line);
        assert_eq!(line.matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["cause"], "it \"broke\"\nbadly");
        assert_eq!(parsed["receive_ms"], 1.5);
        assert_eq!(parsed["status"], 400);
    }
}
