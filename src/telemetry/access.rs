//! The log line of one request, formatted by hand into a buffer of the thread, because it is on the path of every
//! request.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::text::{push_ms, push_number, push_timestamp};
use crate::call::RequestId;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A sentence, then the same facts as `key=value`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The facts of a streamed answer. Its times are those of the whole request: `run` lasts until the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// The time from the arrival of the request to the head of its answer.
    pub head: Duration,
    /// The pieces and the bytes sent.
    pub chunks: u64,
    pub bytes: usize,
    /// True if the answer was cut off, although its head had another status.
    pub is_cut: bool,
}

/// The facts in the log line of a request. They never include a token, a query or a body.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub request_id: RequestId,
    /// Empty if the request named no known service.
    pub service: &'a str,
    /// 0 if no version took the request; the line then has no `version`.
    pub version: u64,
    pub ended: Instant,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub code: &'a str,
    pub receive: Duration,
    pub queue: Duration,
    pub run: Duration,
    /// Requests in the same batch, this one included; 0 for a request that ran by itself, or not at all.
    pub batch: usize,
    pub fuel: Option<u64>,
    /// Bytes of memory that the guest uses.
    pub memory: usize,
    /// The upstream that it was forwarded to; empty if it was answered here.
    pub upstream: &'a str,
    /// The number of times it was sent again.
    pub retries: u8,
    pub bytes_in: usize,
    pub bytes_out: usize,
    /// The facts of a streamed answer; `None` if the answer was sent as a whole.
    pub stream: Option<StreamFacts>,
    /// True for a copy of a request for another service.
    pub mirrored: bool,
    /// The private cause, which only the log has.
    pub cause: &'a str,
}

impl Entry<'_> {
    pub(super) fn write(&self, format: Format, line: &mut String) {
        match format {
            Format::Text => self.text(line),
            Format::Json => self.json(line),
        }
        line.push('\n');
    }

    fn text(&self, line: &mut String) {
        push_timestamp(line, self.ended);
        line.push_str(" INFO request ");
        line.push_str(self.method);
        line.push(' ');
        push_escaped(line, self.path);
        number(line, " answered ", self.status.into());
        ms(line, " in ", self.receive + self.queue + self.run);
        line.push_str(" ms request_id=");
        line.push_str(self.request_id.as_str());
        line.push_str(" service=");
        line.push_str(self.service);
        if self.version > 0 {
            number(line, " version=", self.version);
        }
        number(line, " status=", self.status.into());
        line.push_str(" code=");
        line.push_str(self.code);
        ms(line, " receive_ms=", self.receive);
        ms(line, " queue_ms=", self.queue);
        ms(line, " run_ms=", self.run);
        if self.batch > 0 {
            number(line, " batch=", self.batch as u64);
        }
        if let Some(fuel) = self.fuel {
            number(line, " fuel=", fuel);
        }
        if !self.upstream.is_empty() {
            line.push_str(" upstream=");
            line.push_str(self.upstream);
            number(line, " retries=", self.retries.into());
        }
        number(line, " memory=", self.memory as u64);
        number(line, " bytes_in=", self.bytes_in as u64);
        number(line, " bytes_out=", self.bytes_out as u64);
        if let Some(stream) = self.stream {
            ms(line, " head_ms=", stream.head);
            number(line, " chunks=", stream.chunks);
            if stream.is_cut {
                line.push_str(" cut=true");
            }
        }
        if self.mirrored {
            line.push_str(" mirrored=true");
        }
        if !self.cause.is_empty() {
            line.push_str(" cause=\"");
            push_escaped(line, self.cause);
            line.push('"');
        }
    }

    fn json(&self, line: &mut String) {
        let text = |line: &mut String, key: &str, text: &str| {
            line.push_str(key);
            push_escaped(line, text);
            line.push('"');
        };
        line.push_str("{\"timestamp\":\"");
        push_timestamp(line, self.ended);
        text(line, "\",\"level\":\"INFO\",\"target\":\"request\",\"request_id\":\"", self.request_id.as_str());
        text(line, ",\"service\":\"", self.service);
        if self.version > 0 {
            number(line, ",\"version\":", self.version);
        }
        text(line, ",\"method\":\"", self.method);
        text(line, ",\"path\":\"", self.path);
        number(line, ",\"status\":", self.status.into());
        text(line, ",\"code\":\"", self.code);
        ms(line, ",\"receive_ms\":", self.receive);
        ms(line, ",\"queue_ms\":", self.queue);
        ms(line, ",\"run_ms\":", self.run);
        if self.batch > 0 {
            number(line, ",\"batch\":", self.batch as u64);
        }
        if let Some(fuel) = self.fuel {
            number(line, ",\"fuel\":", fuel);
        }
        if !self.upstream.is_empty() {
            text(line, ",\"upstream\":\"", self.upstream);
            number(line, ",\"retries\":", self.retries.into());
        }
        number(line, ",\"memory\":", self.memory as u64);
        number(line, ",\"bytes_in\":", self.bytes_in as u64);
        number(line, ",\"bytes_out\":", self.bytes_out as u64);
        if let Some(stream) = self.stream {
            ms(line, ",\"head_ms\":", stream.head);
            number(line, ",\"chunks\":", stream.chunks);
            if stream.is_cut {
                line.push_str(",\"cut\":true");
            }
        }
        if self.mirrored {
            line.push_str(",\"mirrored\":true");
        }
        if !self.cause.is_empty() {
            text(line, ",\"cause\":\"", self.cause);
        }
        line.push('}');
    }
}

fn number(line: &mut String, key: &str, number: u64) {
    line.push_str(key);
    push_number(line, number);
}

fn ms(line: &mut String, key: &str, time: Duration) {
    line.push_str(key);
    push_ms(line, time);
}

/// True for control characters, and for those that end lines or reorder text on a screen.
pub(super) fn is_wild(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends text so that it cannot begin a line, end a string, or move a terminal's cursor.
fn push_escaped(line: &mut String, text: &str) {
    let is_plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    if text.bytes().all(is_plain) {
        return line.push_str(text);
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if is_wild(c) => {
                // Writing to a string cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
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
            ended: Instant::now(),
            method: "POST",
            path: "/api/predict/echo",
            status: 400,
            code: "processor_exception",
            receive: Duration::from_micros(1500),
            queue: Duration::ZERO,
            run: Duration::from_micros(70),
            batch: 3,
            fuel: Some(12),
            memory: 65536,
            upstream: "",
            retries: 0,
            bytes_in: 5,
            bytes_out: 6,
            stream: Some(StreamFacts { head: Duration::from_micros(1520), chunks: 4, bytes: 6, is_cut: true }),
            mirrored: false,
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
             code=processor_exception receive_ms=1.500 queue_ms=0.000 run_ms=0.070 batch=3 fuel=12 memory=65536 bytes_in=5 \
             bytes_out=6 head_ms=1.520 chunks=4 cut=true cause=\"it \\\"broke\\\"\\u000abadly\"\n"
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
        assert_eq!(parsed["batch"], 3);
        assert_eq!((&parsed["head_ms"], &parsed["chunks"], &parsed["cut"]), (&1.52.into(), &4.into(), &true.into()));
    }
}
