//! Server-sent events, as the HTML standard defines them (section 9.2.6, "Interpreting an event stream").

use crate::stream::{Abandoned, Stream};
use crate::{Error, Response};

/// An answer of server-sent events: `text/event-stream`, for `EventSource` in browsers and for clients of language
/// models.
///
/// ```
/// use bulkhead_guest::{Error, stream::{self, Event, Events}};
///
/// let caller = stream::simulate();
/// let mut events = Events::begin()?;
/// events.send(&Event::new("hello"))?;
/// events.send(&Event::new("two\nlines").with_name("token").with_id("7"))?;
/// let response = events.finish(); // for `process` to return
/// assert!(response.body.is_empty());
/// assert_eq!(caller.received(), b"data: hello\n\nevent: token\nid: 7\ndata: two\ndata: lines\n\n");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[must_use = "`finish` makes the response that `process` returns"]
pub struct Events(Stream);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    name: Option<String>,
    id: Option<String>,
    retry_ms: Option<u64>,
}

impl Events {
    /// Begins an answer of events, with headers that keep proxies from holding events back.
    ///
    /// # Errors
    ///
    /// As for [`Response::stream`].
    pub fn begin() -> Result<Self, Error> {
        let response = Response::new("")
            .with_content_type("text/event-stream")
            .with_header("cache-control", "no-cache")
            .with_header("x-accel-buffering", "no");
        Ok(Self(response.stream()?))
    }

    /// Sends an event.
    ///
    /// # Errors
    ///
    /// The caller has left.
    pub fn send(&mut self, event: &Event) -> Result<(), Abandoned> {
        self.0.write(event.to_text())
    }

    /// Sends an empty comment, which clients ignore. Proxies that close idle connections see that there is one.
    ///
    /// # Errors
    ///
    /// The caller has left.
    pub fn keep_alive(&mut self) -> Result<(), Abandoned> {
        self.0.write(":\n\n")
    }

    /// True if the caller has left. For work that takes long between two events.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }

    /// Makes the response that `process` returns once all events are sent.
    #[must_use = "`process` returns this response"]
    pub fn finish(self) -> Response {
        self.0.finish()
    }
}

impl Event {
    /// Makes an event with this data, which may have several lines.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Sets the name of the event. Browsers dispatch it under this name instead of `message`. Everything from a line
    /// end on is left out.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(one_line(name.into()));
        self
    }

    /// Sets the id of the event, which a browser sends as `Last-Event-ID` when it connects again. Everything from a line
    /// end or a NUL on is left out.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(one_line(id.into()));
        self
    }

    /// Sets the time in milliseconds after which a browser connects again.
    #[must_use]
    pub fn with_retry_ms(mut self, retry_ms: u64) -> Self {
        self.retry_ms = Some(retry_ms);
        self
    }

    fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.data.len() + 16);
        let mut line = |key: &str, value: &str| text.extend([key, ": ", value, "\n"]);
        if let Some(name) = &self.name {
            line("event", name);
        }
        if let Some(id) = &self.id {
            line("id", id);
        }
        if let Some(retry) = self.retry_ms {
            line("retry", &retry.to_string());
        }
        // All three line ends of the standard: a bare carriage return would otherwise begin a field.
        for part in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            line("data", part);
        }
        text.push('\n');
        text
    }
}

fn one_line(mut text: String) -> String {
    let end = text.find(['\r', '\n', '\0']).unwrap_or(text.len());
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_several_lines_is_one_event() {
        let text = |data: &str| Event::new(data).to_text();
        assert_eq!(text(""), "data: \n\n");
        assert_eq!(text("a\r\nb\rc\n"), "data: a\ndata: b\ndata: c\ndata: \n\n");
    }

    #[test]
    fn a_name_or_an_id_cannot_make_another_field() {
        let event = Event::new("x").with_name("a\ndata: forged").with_id("1\rid: 2").with_retry_ms(500);
        assert_eq!(event.to_text(), "event: a\nid: 1\nretry: 500\ndata: x\n\n");
    }

    #[test]
    fn events_are_not_held_back_by_proxies() {
        let caller = crate::stream::simulate();
        let mut events = Events::begin().unwrap();
        events.keep_alive().unwrap();
        let head = caller.head().unwrap();
        assert_eq!(head.content_type.as_deref(), Some("text/event-stream"));
        assert!(head.headers.contains(&("x-accel-buffering".to_owned(), "no".to_owned())));
        assert_eq!(caller.received(), b":\n\n");
        caller.leave();
        assert!(events.is_abandoned());
        assert_eq!(events.send(&Event::new("late")), Err(Abandoned));
    }
}
