//! The one stream of log lines, and the thread that writes it.
//!
//! Lines are appended to a bounded buffer; the thread writes what has gathered. If standard error stands still, lines
//! are lost and counted: a stuck log must not become a stuck host.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::access::{Entry, Format, is_wild};

/// Bytes that may wait to be written.
const MAX_PENDING: usize = 4 << 20;
/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(10);

/// Where log lines go. Cloning gives another handle; the thread ends with the [`LogThread`].
#[derive(Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
    format: Format,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    asleep: bool,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.state();
        if state.pending.len() + line.len() > MAX_PENDING {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.pending.extend_from_slice(line);
        if std::mem::take(&mut state.asleep) {
            self.wake.notify_one();
        }
    }
}

impl LogWriter {
    /// Says what became of a request.
    pub fn request(&self, entry: &Entry<'_>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            entry.write(self.format, line);
            self.shared.append(line.as_bytes());
        });
    }

    /// Lines lost so far because nobody took them.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Write for LogWriter {
    /// Takes one event, which is one line, whatever a guest or a caller put into it.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.shared.append(&tamed(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An event's line without whatever could begin another one or confuse a terminal: as `\u000a`, which JSON reads as well.
fn tamed(event: &[u8]) -> Cow<'_, [u8]> {
    let (line, end) = event.strip_suffix(b"\n").map_or((event, ""), |line| (line, "\n"));
    let text = String::from_utf8_lossy(line);
    if !text.contains(is_wild) {
        return event.into();
    }
    let mut tamed = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = if is_wild(c) { write!(tamed, "\\u{:04x}", u32::from(c)) } else { tamed.write_char(c) };
    }
    tamed.push_str(end);
    tamed.into_bytes().into()
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The writing thread; dropping it writes what is left.
pub struct LogThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends events of the whole process to standard error; `BULKHEAD_LOG` chooses which, as `info` or `bulkhead=debug`.
///
/// # Errors
/// When the thread cannot be started, or `BULKHEAD_LOG` is not understood.
pub fn install(format: Format) -> std::io::Result<(LogWriter, LogThread)> {
    let filter = match std::env::var("BULKHEAD_LOG") {
        Ok(wanted) => EnvFilter::try_new(&wanted)
            .map_err(|error| std::io::Error::other(format!("BULKHEAD_LOG={wanted:?}: {error}")))?,
        Err(_) => EnvFilter::new("info"),
    };
    let (writer, thread) = start(format, std::io::stderr())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer.clone()).with_ansi(false);
    // A second host in one process shares the first one's events; only tests do that.
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok((writer, thread))
}

fn start(format: Format, mut output: impl Write + Send + 'static) -> std::io::Result<(LogWriter, LogThread)> {
    let shared = Arc::new(Shared::default());
    let theirs = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
        let mut lines = Vec::new();
        loop {
            {
                let mut state = theirs.state();
                while state.pending.is_empty() {
                    if state.ended {
                        return;
                    }
                    state.asleep = true;
                    state = theirs.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if !state.ended {
                    state = theirs.wake.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner).0;
                }
                std::mem::swap(&mut state.pending, &mut lines);
            }
            // There is nobody to tell that the log cannot be written.
            let _ = output.write_all(&lines).and_then(|()| output.flush());
            lines.clear();
        }
    })?;
    Ok((LogWriter { shared: Arc::clone(&shared), format }, LogThread { shared, thread: Some(thread) }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Stuck(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_and_says_nothing_to_a_terminal() {
        let event = "INFO one\ntwo\r\u{1b}[2J\u{85}\u{202e}\u{2028}ä\n".as_bytes();
        let tame = "INFO one\\u000atwo\\u000d\\u001b[2J\\u0085\\u202e\\u2028ä\n".as_bytes();
        assert_eq!(*tamed(event), *tame);
        assert_eq!(*tamed(b"INFO fine\n"), *b"INFO fine\n");
    }

    #[test]
    fn a_stuck_output_loses_lines_and_counts_them_but_stops_nobody() {
        let (release, stuck) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut writer, thread) = start(Format::Text, Stuck(stuck, Arc::clone(&written))).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            writer.write_all(&line).unwrap();
        }
        let lost = writer.lost();
        assert!(lost >= 12, "at most what is pending and what is being written is kept, lost {lost}");
        drop(release);
        drop(thread);
        assert_eq!(written.lock().unwrap().len() as u64, (20 - lost) << 20);
    }
}
