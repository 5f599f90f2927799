//! One call to a processor and what came of it.
//!
//! The floor under front, admission and sandbox: a [`Call`] is made once, by whoever received the request, and handed
//! down unchanged; an [`Answer`] comes back up already safe to send. Neither knows how it is transported or computed.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

mod body;
mod headers;

pub use self::body::{Beginning, Body, Cut, Stream};
pub use self::headers::Headers;

/// One request to a processor, received whole.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub uri: Uri,
    /// Where in the URI's path the part after the service's name begins.
    pub path_start: usize,
    pub headers: Headers,
    pub body: Bytes,
    pub request_id: RequestId,
    /// The moment at which the caller gets 408, whatever the call is doing.
    pub deadline: Instant,
    pub spent: Spent,
}

impl Call {
    /// The path after the service's name: empty, or beginning with `/`.
    pub fn path(&self) -> &str {
        self.uri.path().get(self.path_start..).unwrap_or_default()
    }

    pub fn content_type(&self) -> Option<&str> {
        self.headers.received().get(http::header::CONTENT_TYPE)?.to_str().ok()
    }
}

/// What a call that was stopped half-way had used until then; one that ran to its end says so itself.
#[derive(Debug, Default)]
pub struct Spent {
    memory: AtomicUsize,
    /// One more than was burnt, so that zero is "not known".
    fuel: AtomicU64,
    batch: OnceLock<Batched>,
}

/// When a call was begun on together with others, and how many they were, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batched {
    pub began: Instant,
    pub size: usize,
}

impl Spent {
    /// The guest has come to use so many bytes of memory.
    pub fn note_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    pub fn note_fuel(&self, burnt: u64) {
        self.fuel.store(burnt.saturating_add(1), Ordering::Relaxed);
    }

    /// The call left in this batch, which it does once.
    pub fn note_batch(&self, batch: Batched) {
        let _ = self.batch.set(batch);
    }

    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// `None` for a call on its own, and for one that still waits.
    pub fn batch(&self) -> Option<Batched> {
        self.batch.get().copied()
    }

    /// `None` as long as the guest has not come to rest, and where it is not metered.
    pub fn fuel(&self) -> Option<u64> {
        self.fuel.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// What a processor answered, checked: the status is 200 to 599, and no header can touch the framing of the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub headers: HeaderMap,
    pub body: Body,
}

/// Names one request in the answer, the log and the guest: `x-request-id`.
///
/// Callers may bring their own, so that one name follows a request through several systems.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl RequestId {
    /// Bytes in the longest id that is taken over from a caller.
    pub const MAX: usize = 64;

    /// A fresh id: a random start of this process and a count, in hexadecimal.
    pub fn generate() -> Self {
        static PROCESS: LazyLock<[u8; 17]> = LazyLock::new(|| {
            let mut seed = [0; 8];
            // Uniqueness across restarts is a convenience for readers of logs; without randomness the count still serves.
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

    /// Takes over a caller's id if it is 1 to 64 visible ASCII characters of the kind ids are made of.
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

/// Counts over all threads, each of which takes many numbers at once: to take every single one would be to wait for the
/// others.
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

/// The low digits of `value`, as many as `into` has room for.
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
            request_id: RequestId::generate(),
            deadline: Instant::now(),
            spent: Spent::default(),
        };
        assert_eq!(call("/api/predict/echo/v1/x?q=1", 17).path(), "/v1/x");
        assert_eq!(call("/api/predict/echo", 17).path(), "");
    }
}
