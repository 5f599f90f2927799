//! The requests that every client sends, and the expected answers.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The framing of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length,
    Chunked,
}

impl Framing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Length => "length",
            Self::Chunked => "chunked",
        }
    }
}

/// The status and the `code` of the right answer; `-` for an answer without a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want(pub(super) u16, pub(super) &'static str);

pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) body: Body,
    pub(super) want: Want,
}

pub(super) enum Body {
    Size(usize),
    Text(&'static str),
}

/// Requests that one client sends one after the other.
pub(super) struct Session {
    pub(super) name: String,
    pub(super) requests: Vec<Request>,
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) sessions: Vec<Session>,
}

impl Plan {
    pub(super) fn session(&mut self, name: &str) -> &mut Session {
        self.sessions.push(Session { name: name.to_owned(), requests: Vec::new() });
        self.sessions.last_mut().expect("it was just added")
    }

    pub(super) fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.requests.len()).sum()
    }

    pub(super) fn want(&self, session: &str, index: usize) -> Want {
        let session = self.sessions.iter().find(|s| s.name == session).expect("a session of the plan");
        session.requests[index].want
    }

    /// Writes the plan in the form that `tests/clients/README.md` describes.
    pub(super) fn write(&self, dir: &Path, address: SocketAddr) -> PathBuf {
        let mut text = format!("{}\n", dir.display());
        for session in &self.sessions {
            for (index, request) in session.requests.iter().enumerate() {
                let Request { method, path, headers, framing, body, .. } = request;
                let body = match body {
                    Body::Size(size) => format!("size:{size}"),
                    Body::Text(said) => format!("text:{said}"),
                };
                let (name, framing) = (&session.name, framing.name());
                write!(text, "{name}\t{index}\t{method}\thttp://{address}{path}\t{framing}\t{body}").expect("a string");
                for (name, value) in headers {
                    write!(text, "\t{name}: {value}").expect("a string");
                }
                text.push('\n');
            }
        }
        let file = dir.join("plan.txt");
        std::fs::write(&file, text).expect("a file");
        file
    }
}

impl Session {
    pub(super) fn send(
        &mut self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        framing: Framing,
        size: usize,
        want: Want,
    ) {
        self.push(method, path, headers, framing, Body::Size(size), want);
    }

    pub(super) fn say(
        &mut self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        text: &'static str,
        want: Want,
    ) {
        self.push(method, path, headers, Framing::Length, Body::Text(text), want);
    }

    fn push(
        &mut self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        framing: Framing,
        body: Body,
        want: Want,
    ) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.requests.push(Request { method, path: path.to_owned(), headers, framing, body, want });
    }
}
