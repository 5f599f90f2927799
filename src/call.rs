//! One call of a processor, and its answer.
//!
//! Front, admission and sandbox all use this module. The receiver of a request makes a [`Call`] once and passes it down
//! unchanged; an [`Answer`] comes back checked and safe to send. Neither depends on how it is transported or computed.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

mod body;
mod deadline;
mod headers;
mod job;
mod streaming;
mod upload;

pub use self::body::{Beginning, Body, Cut, Stream, collect_ready};
pub use self::deadline::{Deadline, StreamLimits};
pub use self::headers::Headers;
pub use self::job::{Job, Keeping};
pub use self::streaming::{Raced, Streaming};
pub use self::upload::{Upload, UploadFault};

/// One complete request to a processor.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub uri: Uri,
    /// The offset in the URI's path of the part after the service's name.
    pub path_start: usize,
    pub headers: Headers,
    /// The whole body; empty if it is an `upload`.
    pub body: Bytes,
    /// The body of a call that runs before the body has arrived.
    pub upload: Option<Upload>,
    pub request_id: RequestId,
    /// The time at which the caller gets 408, whatever the state of the call. It moves when a streamed answer begins.
    pub deadline: Deadline,
    pub spent: Spent,
    pub streaming: Streaming,
    /// The item of a queue that the call works on; `None` for a call whose caller waits.
    pub job: Option<Arc<dyn Job>>,
}

impl Call {
    /// Returns the path after the service's name: empty, or beginning with `/`.
    pub fn path(&self) -> &str {
        self.uri.path().get(self.path_start..).unwrap_or_default()
    }

    /// Begins the streamed answer of this call. The item of a queue keeps its own deadline, because no caller waits for
    /// pieces.
    pub fn begin_answer(&self, answer: Answer, limits: StreamLimits) {
        if self.job.is_none() {
            self.deadline.begin_stream(limits);
        }
        self.streaming.begin(answer);
    }

    pub fn content_type(&self) -> Option<&str> {
        self.headers.received().get(http::header::CONTENT_TYPE)?.to_str().ok()
    }
}

/// Resources used so far, for a call that is stopped early. A call that ends by itself reports them in its result.
#[derive(Debug, Default)]
pub struct Spent {
    memory: AtomicUsize,
    /// The fuel used, plus one, so that zero means "not known".
    fuel: AtomicU64,
    batch: OnceLock<Batched>,
}

/// The batch of a call: its start, and its number of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batched {
    pub began: Instant,
    pub size: usize,
}

impl Spent {
    /// Records the memory that the guest uses.
    pub fn note_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    pub fn note_fuel(&self, burnt: u64) {
        self.fuel.store(burnt.saturating_add(1), Ordering::Relaxed);
    }

    /// Records the batch of the call. A call is in one batch only.
    pub fn note_batch(&self, batch: Batched) {
        let _ = self.batch.set(batch);
    }

    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Returns the batch; `None` for a call without a batch, and for a call that still waits.
    pub fn batch(&self) -> Option<Batched> {
        self.batch.get().copied()
    }

    /// Returns the fuel used; `None` until the guest first stops, and for a guest that is not metered.
    pub fn fuel(&self) -> Option<u64> {
        self.fuel.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// A processor's answer, checked: the status is 200 to 599, and no header can affect the framing of the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub headers: HeaderMap,
    pub body: Body,
}

/// The name of one request in the response, the log and the guest: `x-request-id`.
///
/// Callers may send their own, so that one name follows a request through several systems.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl RequestId {
    /// Most bytes in an id from a caller.
    pub const MAX: usize = 64;

    /// Generates an id in hexadecimal: a random number of this process, and a count.
    pub fn generate() -> Self {
        static PROCESS: LazyLock<[u8; 17]> = LazyLock::new(|| {
            let mut seed = [0; 8];
            // Without randomness the ids are still unique within the process; uniqueness across restarts only helps
            // readers of logs.
            let _ = getrandom::fill(&mut seed);
            let mut text = [b'-'; 17];
            write_hex(&mut text[..16], u64::from_ne_bytes(seed));
            text
        });
        let mut id = Self { bytes: [0; Self::MAX], len: 25 };
        id.bytes[..17].copy_from_slice(&*PROCESS);
        write_hex(&mut id.bytes[17..25], next_count());
        id
    }

    /// Accepts a caller's id of 1 to 64 characters: letters, digits and `-_.:/+=`.
    pub fn from_caller(value: &[u8]) -> Option<Self> {
        let well_formed =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
        if value.is_empty() || value.len() > Self::MAX || !value.iter().all(well_formed) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self { bytes, len: value.len() as u8 })
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the next number of a count over all threads. Each thread takes a block of numbers at once, so that the
/// threads do not contend for every number.
fn next_count() -> u64 {
    const AT_ONCE: u64 = 1 << 10;
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    NEXT.with(|next| {
        let count = match next.get() {
            used_up if used_up % AT_ONCE == 0 => TAKEN.fetch_add(AT_ONCE, Ordering::Relaxed),
            count => count,
        };
        next.set(count + 1);
        count
    })
}

/// Writes the low digits of `value`, as many as `into` has room for.
fn write_hex(into: &mut [u8], value: u64) {
    for (i, digit) in into.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (4 * i)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_ids_differ_on_all_threads_and_are_well_formed() {
        let many = || (0..3000).map(|_| RequestId::generate().to_string()).collect::<Vec<_>>();
        let others: Vec<_> = (0..3).map(|_| std::thread::spawn(many)).collect();
        let mut all = many();
        all.extend(others.into_iter().flat_map(|thread| thread.join().unwrap()));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        let id = RequestId::generate();
        assert_eq!(RequestId::from_caller(id.as_str().as_bytes()), Some(id));
        assert_eq!(id.as_str().len(), 25);
    }

    #[test]
    fn a_callers_id_is_taken_over_only_if_it_cannot_forge_a_log_line() {
        assert_eq!(RequestId::from_caller(b"abc-1:2").unwrap().as_str(), "abc-1:2");
        for bad in [&b""[..], b"a b", b"a\nb", b"\xff", &[b'a'; 65]] {
            assert_eq!(RequestId::from_caller(bad), None);
        }
    }

    #[test]
    fn path_is_what_follows_the_service() {
        let call = |uri: &'static str, path_start| Call {
            method: Method::POST,
            uri: Uri::from_static(uri),
            path_start,
            headers: Headers::default(),
            body: Bytes::new(),
            upload: None,
            request_id: RequestId::generate(),
            deadline: Deadline::new(Instant::now()),
            spent: Spent::default(),
            streaming: Streaming::default(),
            job: None,
        };
        assert_eq!(call("/api/predict/echo/v1/x?q=1", 17).path(), "/v1/x");
        assert_eq!(call("/api/predict/echo", 17).path(), "");
    }
}
