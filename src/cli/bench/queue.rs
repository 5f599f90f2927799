//! The queue of an asynchronous service, as a run uses it: what makes a request a put, and how its result is found.
//!
//! Each put has two tags, which its result has too: the name of the run, and a request id. The id is the name of the
//! run and a number. It is the last part of the target, so its place in the bytes of all requests is the same.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::plan::{Template, resolve};
use crate::cli::failure::Failure;

/// The digits of the number of a put.
const DIGITS: usize = 12;
/// The longest wait that one get asks for. A proxy may end a request that is idle for a minute.
pub(super) const POLL: Duration = Duration::from_secs(20);
/// The tag with the name of the run, and the one with the request id.
pub(super) const TAGS: [&str; 2] = ["bench", "requestId"];
/// Headers that would name the request of a put, or make all puts repetitions of the first one.
const RESERVED: [&str; 2] = ["x-eas-queueservice-request-id", "x-bulkhead-idempotency-key"];

pub(super) struct Queue {
    /// The name of the run.
    pub(super) run: String,
    /// The place of the number in the bytes of every put.
    number_at: usize,
    /// The bytes of the request that gets results, and the address of the sink.
    pub(super) get: Vec<u8>,
    pub(super) sink: SocketAddr,
    /// The longest time without a result, after the last put.
    pub(super) patience: Duration,
}

/// A name that no other run has.
pub(super) fn run_name() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The URL of the puts of a run: the tags are added to the query.
pub(super) fn tagged(url: &str, run: &str) -> Result<String, Failure> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    if let Some(tag) = TAGS.into_iter().find(|tag| query.split('&').any(|pair| pair.split('=').next() == Some(tag))) {
        return Err(Failure::Usage(format!("each put has a tag `{tag}` of its own, so --path cannot have one")));
    }
    let mark = if url.contains('?') { '&' } else { '?' };
    Ok(format!("{url}{mark}{}={run}&{}={}", TAGS[0], TAGS[1], request_id(run, 0)))
}

fn request_id(run: &str, number: u64) -> String {
    format!("{run}-{number:0DIGITS$}")
}

/// Checks what the command line says about the puts.
pub(super) fn checked(method: Option<&str>, headers: &[(HeaderName, HeaderValue)]) -> Result<Method, Failure> {
    if method.is_some_and(|method| method != "POST") {
        return Err(Failure::Usage(
            "the service is asynchronous: its requests are puts, whose method is POST".to_owned(),
        ));
    }
    match headers.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
        Some((name, _)) => {
            Err(Failure::Usage(format!("each put has a request id of its own, so `{name}` cannot be set")))
        }
        None => Ok(Method::POST),
    }
}

impl Queue {
    /// The queue at `sink`, the URL of the sink, for puts to `url`, a [`tagged`] URL.
    pub(super) fn new(
        run: String,
        url: &str,
        sink: &str,
        token: Option<&(String, String)>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let (uri, _) = resolve(url)?;
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        if !target.ends_with(&request_id(&run, 0)) {
            return Err(Failure::Usage("--path has a `#`, which no request can have".to_owned()));
        }
        let poll = POLL.as_secs();
        let query = format!("{}={run}&_length_=1000&_raw_=false&_auto_delete_=true&_timeout_={poll}s", TAGS[0]);
        let (sink_uri, address) = resolve(&format!("{sink}?{query}"))?;
        let accept = ("accept".to_owned(), "application/vnd.google.protobuf".to_owned());
        let headers: Vec<_> = token.into_iter().cloned().chain([accept]).collect();
        let get = Template { method: &Method::GET, uri: &sink_uri, headers: &headers };
        Ok(Self {
            run,
            number_at: Method::POST.as_str().len() + 1 + target.len() - DIGITS,
            get: get.with_body(b""),
            sink: address,
            patience,
        })
    }

    /// A put with this number.
    pub(super) fn numbered(&self, request: &[u8], number: u64) -> Vec<u8> {
        let mut put = request.to_vec();
        put[self.number_at..self.number_at + DIGITS].copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        put
    }

    /// The number of the put with this request id.
    pub(super) fn number(&self, request_id: &str) -> Option<u64> {
        request_id.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::bench) fn queue() -> Queue {
        let url = tagged("http://127.0.0.1:1/api/predict/later?kind=demo", "r1").unwrap();
        let token = ("authorization".to_owned(), "tok".to_owned());
        let sink = "http://127.0.0.1:2/api/predict/later/sink";
        Queue::new("r1".to_owned(), &url, sink, Some(&token), Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn each_put_has_the_tags_of_the_run_and_an_id_of_its_own() {
        let queue = queue();
        let url = tagged("http://127.0.0.1:1/api/predict/later?kind=demo", "r1").unwrap();
        let template = Template { method: &Method::POST, uri: &url.parse().unwrap(), headers: &[] };
        let put = String::from_utf8(queue.numbered(&template.with_body(b"hi"), 1234)).unwrap();
        let line = "POST /api/predict/later?kind=demo&bench=r1&requestId=r1-000000001234 HTTP/1.1\r\n";
        assert!(put.starts_with(line) && put.ends_with("\r\n\r\nhi"), "{put}");
        assert_eq!(queue.number("r1-000000001234"), Some(1234));
        assert_eq!((queue.number("r2-000000001234"), queue.number("r1-x"), queue.number("")), (None, None, None));
    }

    #[test]
    fn only_results_of_the_run_are_taken() {
        let get = String::from_utf8(queue().get).unwrap();
        assert!(get.starts_with("GET /api/predict/later/sink?bench=r1&_length_=1000&_raw_=false&"), "{get}");
        assert!(get.contains("\r\nauthorization: tok\r\n") && get.contains("\r\naccept: application/vnd.google"));
    }

    #[test]
    fn what_would_hide_the_id_of_a_put_is_refused() {
        for path in ["?requestId=7", "?a=1&bench=x"] {
            assert!(matches!(tagged(&format!("http://h/x{path}"), "r1"), Err(Failure::Usage(_))), "{path}");
        }
        let header = |name: &'static str| [(HeaderName::from_static(name), HeaderValue::from_static("v"))];
        assert!(checked(Some("GET"), &[]).is_err());
        assert!(checked(None, &header("x-bulkhead-idempotency-key")).is_err());
        assert_eq!(checked(Some("POST"), &header("x-other")).unwrap(), Method::POST);
    }
}
