//! The plan of a run: its requests, its pace and its length.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Uri};

use super::queue::Queue;
use crate::cli::failure::Failure;

/// The pace of the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Each connection sends its next request when the last one is answered.
    Closed,
    /// `rate` requests a second, even if earlier ones are not answered; evenly spaced, or at random times if
    /// `by_chance`.
    Open { rate: f64, by_chance: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    After(Duration),
    Requests(u64),
}

pub(super) struct Plan {
    /// The URL for the report.
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// The bytes of whole requests, sent in turn.
    pub(super) requests: Vec<Vec<u8>>,
    /// True if answers have no body, whatever their headers say.
    pub(super) is_head: bool,
    pub(super) pace: Pace,
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) stop: Stop,
    pub(super) timeout: Duration,
    /// The largest share of requests that may fail; `None` if one success is enough.
    pub(super) fail_above: Option<f64>,
    /// The queue of an asynchronous service, whose requests are puts; `None` for other targets.
    pub(super) queue: Option<Queue>,
}

/// The parts of a request. All requests are built before the run.
pub(super) struct Template<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    /// Valid names and values of headers.
    pub(super) headers: &'a [(String, String)],
}

impl Template<'_> {
    pub(super) fn with_body(&self, body: &[u8]) -> Vec<u8> {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = host.rsplit('@').next().unwrap_or_default();
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\n", self.method);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(*self.method, Method::POST | Method::PUT | Method::PATCH) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }
}

impl Plan {
    /// The plan in words, for the report.
    pub(super) fn sentence(&self) -> String {
        let connections = self.connections;
        let what = if self.queue.is_some() { "puts into a queue, " } else { "" };
        let pace = match self.pace {
            Pace::Closed => format!("closed loop, {connections} at a time"),
            Pace::Open { rate, by_chance } => {
                let how = if by_chance { ", at random moments" } else { "" };
                format!("open loop, {rate} requests a second{how}, over up to {connections} connections")
            }
        };
        let stop = match self.stop {
            Stop::After(time) => format!("for {}", humantime::format_duration(time)),
            Stop::Requests(count) => format!("until {count} are answered"),
        };
        match self.warm_up.is_zero() {
            true => format!("{what}{pace}, {stop}"),
            false => format!("{what}{pace}, {stop}, after a warm-up of {}", humantime::format_duration(self.warm_up)),
        }
    }
}

/// Parses an `http` URL and resolves its address.
pub(super) fn resolve(url: &str) -> Result<(Uri, SocketAddr), Failure> {
    use std::net::ToSocketAddrs;
    let usage = |why: String| Failure::Usage(why);
    let uri: Uri = url.parse().map_err(|error| usage(format!("`{url}` is not a URL: {error}")))?;
    if uri.scheme_str() != Some("http") {
        return Err(usage(format!("`{url}` does not begin with http://, the only scheme that `bench` supports")));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(80);
    let unreachable = |cause: String| Failure::Unreachable { what: format!("cannot reach {url}: {cause}"), hint: None };
    let mut found = (host, port).to_socket_addrs().map_err(|error| unreachable(error.to_string()))?;
    let address = found.next().ok_or_else(|| unreachable("its name has no address".to_owned()))?;
    Ok((uri, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_put_together() {
        let uri = Uri::from_static("http://u@h:1/api/predict/echo?x=1");
        let headers = [("authorization".to_owned(), "tok".to_owned())];
        let template = Template { method: &Method::POST, uri: &uri, headers: &headers };
        assert_eq!(
            String::from_utf8(template.with_body(b"hi")).unwrap(),
            "POST /api/predict/echo?x=1 HTTP/1.1\r\nhost: h:1\r\nauthorization: tok\r\ncontent-length: 2\r\n\r\nhi"
        );
        let get = Template { method: &Method::GET, uri: &uri, headers: &[] };
        assert!(!String::from_utf8(get.with_body(b"")).unwrap().contains("content-length"));
    }

    #[test]
    fn only_http_is_spoken() {
        assert_eq!(resolve("http://127.0.0.1/x").unwrap().1, "127.0.0.1:80".parse().unwrap());
        assert_eq!(resolve("http://[::1]:7/x").unwrap().1, "[::1]:7".parse().unwrap());
        for wrong in ["https://127.0.0.1/", "127.0.0.1:80", "no url"] {
            assert!(matches!(resolve(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
