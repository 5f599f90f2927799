//! The warm-up: requests that a version answers before those of callers, so that no caller gets a slow first request.
//!
//! A `.txt` file has one request body on each line that is not empty. A `.bin` file is one body as an SDK builds it.
//! With any other name, a text is read as lines. As in EAS the whole file is sent five times in a row, each request
//! after the previous one has succeeded, and a version is ready only after that. Here the first worker of every
//! instance gets the requests. They have no caller: no token, no rate limit, no counts.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::ticket::Stopped;
use super::version::Version;
use super::work::Ran;
use crate::call::{Answer, Call, Deadline, RequestId, Spent, Streaming};
use crate::config::ServiceSpec;
use crate::failpoint;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::registry::change::{ChangeError, Progress, Report, Step};
use crate::storage::Record;

/// Number of times that the file is sent, as in EAS. A guest's caches are warm after the first time, a host's after a
/// few.
const ROUNDS: usize = 5;
/// Time limit for all requests. A warm-up that takes longer is taken for a mistake.
const LONGEST: Duration = Duration::from_secs(300);
/// Factor on the service's deadline for one request, because first requests are slow.
const PATIENCE: u32 = 2;
/// Most bytes of a wrong answer that an error shows.
const TOLD: usize = 200;
/// The content type that the SDKs send.
const SDK_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A request of the warm-up file.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// The line number, from 1; `None` if the file is one request.
    line: Option<usize>,
    body: Bytes,
}

impl Registry {
    /// Sends a version's warm-up requests, if there are any, to these instances of it.
    pub(in crate::registry) async fn warm_up(
        &self,
        record: &Record,
        version: &Version,
        instances: Range<usize>,
        progress: &Progress,
    ) -> Result<(), ChangeError> {
        let Some(sha256) = &record.warm_up else { return Ok(()) };
        progress(Report::Begun(Step::WarmUp));
        let bytes = self.storage.read_whole(sha256, "the warm-up data").await?;
        let name = version.spec.warm_up_data_path().unwrap_or_default();
        let requests = requests(name, bytes);
        let outcome = send(version, instances, &requests).await;
        failpoint::reach("deploy.warmed");
        outcome.map_err(|Cold { reason, stack }| ChangeError::Refused { reason, stack })
    }
}

/// The reason why the warm-up failed.
#[derive(Debug)]
struct Cold {
    reason: String,
    stack: String,
}

async fn send(version: &Version, instances: Range<usize>, requests: &[Request]) -> Result<(), Cold> {
    let cold = |reason: String| Cold { reason, stack: String::new() };
    if requests.is_empty() {
        return Err(cold("the warm-up file has no request in it (warm_up_data_path)".into()));
    }
    let limit = version.spec.sandbox().max_request_bytes;
    if let Some(request) = requests.iter().find(|request| request.body.len() > limit) {
        let (what, size) = (request.name(), request.body.len());
        return Err(cold(format!(
            "{what} has {size} bytes, and the service takes {limit} (sandbox.max_request_bytes)"
        )));
    }
    let end = Instant::now() + LONGEST;
    for round in 1..=ROUNDS {
        for request in requests {
            for instance in instances.clone() {
                let called = request.call(&version.spec, end);
                let run = version.run_alone(instance, Arc::clone(&called)).await;
                let (answered, stack) = match run {
                    Ok(Ran::Streaming(answer)) => match refusal(*answer).await {
                        None => continue,
                        Some(told) => (told, String::new()),
                    },
                    Ok(Ran::Ended(run)) => match run.result {
                        Ok(answer) => match refusal(*answer).await {
                            None => continue,
                            Some(told) => (told, String::new()),
                        },
                        Err(failed) => {
                            let stack = failed.stack.clone();
                            let refusal = Refusal::failed(*failed, version.spec.sandbox());
                            (told(refusal.row().status, refusal.cause().as_bytes()), stack)
                        }
                    },
                    Err(Stopped::NoGuest(error)) => (format!("got no guest: {error}"), String::new()),
                    Err(Stopped::Overdue | Stopped::Retired | Stopped::NoWorker | Stopped::ClientClosed) => {
                        let most = version.spec.rpc().keepalive * PATIENCE;
                        let what = format!(
                            "was not answered in time: {} ms for one request, {} s for all",
                            most.as_millis(),
                            LONGEST.as_secs()
                        );
                        (what, String::new())
                    }
                };
                let reason = format!("{}, sent for the {} time, {answered}", request.name(), ordinal(round));
                return Err(Cold { reason, stack });
            }
        }
    }
    Ok(())
}

fn requests(name: &str, bytes: Bytes) -> Vec<Request> {
    // A URL may have a query after its name.
    let name = name.split(['?', '#']).next().unwrap_or_default();
    let extension = Path::new(name).extension().map(|extension| extension.to_ascii_lowercase());
    let is_text = match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("txt") => true,
        Some("bin") => false,
        _ => str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0')),
    };
    if !is_text {
        let one = Request { line: None, body: bytes };
        return if one.body.is_empty() { Vec::new() } else { vec![one] };
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let request = |(index, line): (usize, &[u8])| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.trim_ascii().is_empty()).then(|| Request { line: Some(index + 1), body: bytes.slice_ref(line) })
    };
    lines.filter_map(request).collect()
}

impl Request {
    fn name(&self) -> String {
        match self.line {
            Some(line) => format!("the warm-up request in line {line}"),
            None => "the warm-up request".to_owned(),
        }
    }

    fn call(&self, spec: &ServiceSpec, end: Instant) -> Arc<Call> {
        let methods = &spec.sandbox().methods;
        let method = if methods.accepts("POST") { Some("POST") } else { methods.names().next() };
        let method = method.and_then(|name| Method::from_bytes(name.as_bytes()).ok()).unwrap_or(Method::POST);
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, SDK_TYPE), (CONTENT_LENGTH, HeaderValue::from(self.body.len()))]);
        Arc::new(Call {
            method,
            // The path after the service's name is empty.
            uri: Uri::from_static("/"),
            path_start: 1,
            headers: headers.into(),
            body: self.body.clone(),
            upload: None,
            request_id: RequestId::generate(),
            deadline: Deadline::new(end.min(Instant::now() + spec.rpc().keepalive * PATIENCE)),
            spent: Spent::default(),
            streaming: Streaming::default(),
            job: None,
        })
    }
}

/// Reads an answer to its end. Returns a description if the answer is not a success.
async fn refusal(answer: Answer) -> Option<String> {
    let status = answer.status;
    match answer.body.read(TOLD + 1).await {
        Ok(_) if status.is_success() => None,
        Ok(body) => Some(told(status.as_u16(), &body.bytes)),
        Err(cut) => Some(told(cut.status, cut.cause.as_bytes())),
    }
}

fn told(status: u16, text: &[u8]) -> String {
    format!("was answered with status {status}: {:?}", beginning(text))
}

fn beginning(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(TOLD)]).into_owned();
    if bytes.len() > TOLD {
        text.push('…');
    }
    text
}

fn ordinal(round: usize) -> &'static str {
    ["first", "second", "third", "fourth", "fifth"].get(round - 1).copied().unwrap_or("last")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &'static [u8]) -> Vec<(Option<usize>, Bytes)> {
        requests(name, Bytes::from_static(bytes)).into_iter().map(|request| (request.line, request.body)).collect()
    }

    #[test]
    fn a_text_has_a_request_on_each_line_that_is_not_empty() {
        let lines = [(Some(1), Bytes::from_static(b"{\"a\": 1}")), (Some(4), Bytes::from_static(b" b "))];
        for name in ["warm.txt", "dir.bin/WARM.TXT", "https://host/warm.txt?sign=a.bin", "warm", "warm.json"] {
            assert_eq!(read(name, b"{\"a\": 1}\r\n\n \t\n b \n"), lines, "{name}");
        }
        assert_eq!(read("warm.txt", b"\n\n"), []);
        assert_eq!(read("warm.txt", b""), []);
    }

    #[test]
    fn a_binary_file_is_one_request_whatever_is_in_it() {
        for name in ["warm.bin", "a.txt/warm.BIN"] {
            assert_eq!(read(name, b"a\nb\n"), [(None, Bytes::from_static(b"a\nb\n"))], "{name}");
        }
        assert_eq!(read("warm", b"\x0a\x0e\xff"), [(None, Bytes::from_static(b"\x0a\x0e\xff"))]);
        assert_eq!(read("warm", b"a\n\0"), [(None, Bytes::from_static(b"a\n\0"))]);
        assert_eq!(read("warm.bin", b""), []);
    }
}
