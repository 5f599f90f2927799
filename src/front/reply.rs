//! Replies: an answer or a refusal, with the headers that the host adds.
//!
//! The host's own headers are kept apart from the others until they are written. Most answers have no others, and need
//! no map.

pub(in crate::front) mod compress;
pub(in crate::front) mod content;
pub(in crate::front) mod cors;
pub(in crate::front) mod date;
pub(in crate::front) mod problem;
pub(in crate::front) mod render;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;

use self::content::Content;
use self::cors::CrossOrigin;
use super::http1::{Outgoing, Upgrade};
use crate::call::RequestId;
use crate::config::Expose;
use crate::outcome::{Streamed, Times};
use crate::refusal::title;
use crate::telemetry::push_ms;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const FUEL: HeaderName = HeaderName::from_static("x-bulkhead-fuel");
const NOSNIFF: (HeaderName, &[u8]) = (HeaderName::from_static("x-content-type-options"), b"nosniff");
const SANDBOXED: (HeaderName, &[u8]) = (HeaderName::from_static("content-security-policy"), b"sandbox");

/// The reply to a request. It is boxed wherever it is passed on, because it is large.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The reason phrase of an upstream.
    pub(super) reason: Option<ReasonPhrase>,
    /// Its headers, except those that the host writes.
    pub(super) headers: HeaderMap,
    /// Describes a body that a processor or the host wrote. An upstream describes its body in `headers`.
    pub(super) written: Option<Written>,
    pub(super) about: About,
    pub(super) content: Content,
    /// The conversation that follows a reply with the status 101.
    pub(super) upgrade: Option<Upgrade>,
}

/// The description of a body that was written on this host.
pub(super) struct Written {
    pub(super) content_type: HeaderValue,
    /// True if a processor wrote it. A browser must not run it with the rights of this origin.
    pub(super) is_foreign: bool,
}

/// Facts about a request for the headers of its reply, as far as the service exposes them.
pub(super) struct About {
    pub(super) request_id: RequestId,
    pub(super) times: Times,
    pub(super) fuel: Option<u64>,
    pub(super) expose: Option<Expose>,
    /// The CORS headers; `None` for a service without `sandbox.cors`.
    pub(super) cors: Option<Box<CrossOrigin>>,
}

impl Reply {
    /// Returns the reason phrase of the status. Clients show it to people.
    pub(super) fn reason(&self) -> &[u8] {
        match &self.reason {
            Some(reason) => reason.as_bytes(),
            None => self.status.canonical_reason().unwrap_or_else(|| title(self.status)).as_bytes(),
        }
    }

    /// Passes every header to `write`, except those that frame the message.
    pub(super) fn each_header(&self, mut write: impl FnMut(&HeaderName, &[u8])) {
        let About { request_id, times, fuel, expose, cors } = &self.about;
        for (name, value) in &self.headers {
            if cors.is_none() || !CrossOrigin::is_ours(name) {
                write(name, value.as_bytes());
            }
        }
        if let Some(cors) = cors {
            cors.each_header(&mut write);
        }
        if let Some(written) = &self.written {
            write(&CONTENT_TYPE, written.content_type.as_bytes());
            if written.is_foreign {
                write(&NOSNIFF.0, NOSNIFF.1);
                if can_hold_script(&written.content_type) {
                    write(&SANDBOXED.0, SANDBOXED.1);
                }
            }
        }
        write(&REQUEST_ID, request_id.as_str().as_bytes());
        let Some(expose) = expose else { return };
        if expose.timing {
            let mut text = String::with_capacity(64);
            let stages = [("receive;dur=", times.receive), (", queue;dur=", times.queue), (", run;dur=", times.run)];
            for (stage, time) in stages {
                text.push_str(stage);
                push_ms(&mut text, time);
            }
            write(&SERVER_TIMING, text.as_bytes());
        }
        if let (true, Some(fuel)) = (expose.fuel, fuel) {
            write(&FUEL, itoa::Buffer::new().format(*fuel).as_bytes());
        }
    }
}

impl Outgoing for Box<Reply> {
    type Stream = Streamed;

    fn status(&self) -> StatusCode {
        self.status
    }

    fn reason(&self) -> &[u8] {
        Reply::reason(self)
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn each_header(&self, write: impl FnMut(&HeaderName, &[u8])) {
        Reply::each_header(self, write);
    }

    fn content(&self) -> &Content {
        &self.content
    }

    fn into_content(self) -> Content {
        self.content
    }

    fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take()
    }
}

fn can_hold_script(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    [b"text/html".as_slice(), b"text/xml", b"application/x", b"image/svg"]
        .iter()
        .any(|kind| bytes.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
}
