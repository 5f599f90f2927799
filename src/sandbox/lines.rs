//! The output of a guest: `log` calls, standard output and standard error, as bounded log lines of the request.
//!
//! A line is logged once it is complete, so that nothing is lost if the guest is stopped half-way. Lines past the byte
//! limit of a request are counted and dropped.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::fault::Fault;
use super::host::SLICE_OF_HOST_WORK;
use crate::call::RequestId;

/// Bytes that every line counts besides its text, for the time, service and request before it in the log. Without this,
/// lines of one byte could write a hundred times as many bytes to the disk as the limit allows.
const LINE: usize = 64;
/// Most bytes kept of an unfinished line.
const MAX_LINE: usize = 8 << 10;
/// Most bytes that a guest may print at once, and most bytes of a message that are read.
const MAX_WRITE: usize = 64 << 10;
const MAX_MESSAGE: usize = MAX_WRITE;
/// Host work of a byte of output. One byte may be a whole line, so it costs more than a copied byte.
const OUTPUT_BYTE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The destination of a service's lines.
pub trait LineSink: Send + Sync + 'static {
    /// Logs a line. `request` is `None` for lines of `initialize`.
    fn line(&self, request: Option<RequestId>, level: Level, text: &str);
    /// Reports that `count` lines of one request were dropped, because it had used up its bytes.
    fn dropped(&self, request: Option<RequestId>, count: u64);
    /// Reports that the guest failed and is not used again. `stack` has its frames, innermost first, one per line; it
    /// is empty if there are none. `request` is `None` outside of requests, and if several requests failed together.
    fn fault(&self, request: Option<RequestId>, fault: &Fault, stack: &str);
}

/// The lines of one guest. Clones share them.
#[derive(Clone)]
pub(super) struct Lines {
    sink: Arc<dyn LineSink>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    request: Option<RequestId>,
    left: usize,
    dropped: u64,
    partial: [Vec<u8>; 2],
    /// Host work of writes since one of the guest's streams last yielded.
    written: usize,
}

/// Standard output or standard error.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

impl Lines {
    pub(super) fn new(sink: Arc<dyn LineSink>) -> Self {
        Self { sink, state: Arc::default() }
    }

    /// Assigns the next lines to `request`, which may log `limit` bytes.
    pub(super) fn begin(&self, request: Option<RequestId>, limit: usize) {
        let mut state = self.state();
        state.request = request;
        state.left = limit;
    }

    /// Assigns the next lines to another request of the same batch, whose bytes are counted together.
    pub(super) fn select(&self, request: RequestId) {
        let mut state = self.state();
        if state.request != Some(request) {
            self.finish(&mut state);
            state.request = Some(request);
        }
    }

    /// Logs unfinished lines.
    fn finish(&self, state: &mut State) {
        for source in [Source::Stdout, Source::Stderr] {
            let rest = std::mem::take(&mut state.partial[source as usize]);
            if !rest.is_empty() {
                self.say(state, source.level(), &rest);
            }
        }
    }

    /// Reports a fault of the guest, after the guest's own lines. The line is the host's, and does not count against
    /// the request's log bytes.
    pub(super) fn fault(&self, request: Option<RequestId>, fault: &Fault, stack: &str) {
        self.finish(&mut self.state());
        self.sink.fault(request, fault, stack);
    }

    /// Logs unfinished lines, and the number of dropped ones.
    pub(super) fn end(&self) {
        let mut state = self.state();
        self.finish(&mut state);
        let dropped = std::mem::take(&mut state.dropped);
        if dropped > 0 {
            self.sink.dropped(state.request, dropped);
        }
    }

    /// Logs a message, line by line. A message longer than `MAX_MESSAGE` is cut.
    pub(super) fn log(&self, level: Level, text: &str) {
        let mut state = self.state();
        let text = text.as_bytes();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for line in text[..text.len().min(MAX_MESSAGE)].split(|&byte| byte == b'\n') {
            self.say(&mut state, level, line);
        }
    }

    fn write(&self, source: Source, mut bytes: &[u8]) {
        let mut state = self.state();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let mut line = std::mem::take(&mut state.partial[source as usize]);
            let room = MAX_LINE.saturating_sub(line.len());
            line.extend_from_slice(&bytes[..end.min(room)]);
            self.say(&mut state, source.level(), &line);
            line.clear();
            state.partial[source as usize] = line;
            bytes = &bytes[end + 1..];
        }
        let partial = &mut state.partial[source as usize];
        let room = MAX_LINE.saturating_sub(partial.len());
        partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn say(&self, state: &mut State, level: Level, text: &[u8]) {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = &text[..text.len().min(MAX_LINE)];
        let Some(left) = state.left.checked_sub(text.len() + LINE) else {
            state.dropped += 1;
            return;
        };
        state.left = left;
        self.sink.line(state.request, level, &String::from_utf8_lossy(text));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stream(&self, source: Source) -> LineStream {
        LineStream { lines: self.clone(), source }
    }
}

impl Source {
    const fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Warn,
        }
    }
}

/// A guest's standard output or error. Writing does not wait, but it yields now and then, so that no guest holds its
/// thread by printing.
#[derive(Clone)]
pub(super) struct LineStream {
    lines: Lines,
    source: Source,
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// The form of WASI 0.3.
impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let permit = self.permit();
        if permit == 0 {
            self.has_yielded();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(permit)];
        self.printed(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {
        if self.permit() == 0 {
            self.has_yielded();
            tokio::task::yield_now().await;
        }
    }
}

impl LineStream {
    /// Returns the number of bytes that may be written now.
    fn permit(&self) -> usize {
        SLICE_OF_HOST_WORK.saturating_sub(self.lines.state().written).min(MAX_WRITE)
    }

    fn printed(&self, bytes: &[u8]) {
        self.lines.state().written += bytes.len().saturating_mul(OUTPUT_BYTE) + 1;
        self.lines.write(self.source, bytes);
    }

    fn has_yielded(&self) {
        self.lines.state().written = 0;
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.permit() {
            return Err(StreamError::trap("it printed more than it was allowed"));
        }
        self.printed(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.permit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl LineSink for Kept {
        fn line(&self, _: Option<RequestId>, level: Level, text: &str) {
            self.0.lock().unwrap().push(format!("{} {text}", level.name()));
        }
        fn dropped(&self, _: Option<RequestId>, count: u64) {
            self.0.lock().unwrap().push(format!("dropped {count}"));
        }
        fn fault(&self, _: Option<RequestId>, fault: &Fault, _: &str) {
            self.0.lock().unwrap().push(format!("fault {fault}"));
        }
    }

    fn lines(limit: usize) -> (Lines, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let lines = Lines::new(kept.clone());
        lines.begin(None, limit);
        (lines, kept)
    }

    #[test]
    fn output_is_cut_into_lines_and_the_rest_is_said_at_the_end() {
        let (lines, kept) = lines(4 * LINE + 100);
        lines.write(Source::Stdout, b"one\r\ntw");
        lines.write(Source::Stderr, b"warned\n");
        lines.write(Source::Stdout, b"o\nrest");
        lines.end();
        assert_eq!(*kept.0.lock().unwrap(), ["info one", "warn warned", "info two", "info rest"]);
    }

    #[test]
    fn past_the_limit_lines_are_counted_not_kept() {
        let (lines, kept) = lines(2 * LINE + 11);
        lines.write(Source::Stdout, b"12345\n67890\nx\n\n");
        lines.end();
        assert_eq!(*kept.0.lock().unwrap(), ["info 12345", "info 67890", "dropped 2"]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let (lines, kept) = lines(1 << 20);
        for _ in 0..100 {
            lines.write(Source::Stdout, &[b'a'; 1000]);
        }
        lines.write(Source::Stdout, b"\nnext\n");
        let kept = kept.0.lock().unwrap();
        assert_eq!((kept[0].len(), kept[1].as_str()), ("info ".len() + MAX_LINE, "info next"));
    }
}
