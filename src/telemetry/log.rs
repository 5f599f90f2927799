//! The log: one stream of lines, and the thread that writes it.
//!
//! Lines are appended to bounded buffers, and the thread writes what has gathered. Lines of one thread keep their
//! order; lines of several threads may change places within a hundredth of a second. If standard error blocks, lines
//! are lost and counted, so that the host goes on.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::access::{Entry, Format, is_wild};
use super::filter::Filter;
use super::sampling::AccessLog;
use super::{fields, library};
use crate::threads::PerThread;

/// Most bytes that wait to be written, for the threads that share a buffer.
const MAX_PENDING: usize = 2 << 20;
/// The time for which lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(10);

/// A handle for writing log lines. Cloning gives another handle. The thread ends with the [`LogThread`].
#[derive(Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
    format: Format,
    /// The requests that get a line.
    access: AccessLog,
}

#[derive(Default)]
struct Shared {
    /// The lines of each thread, so that no thread waits for another.
    pending: PerThread<Mutex<Vec<u8>>>,
    /// True while the writing thread sleeps until the next line wakes it.
    is_asleep: AtomicBool,
    writer: OnceLock<Thread>,
    has_ended: AtomicBool,
    lost: AtomicU64,
}

impl Shared {
    fn append(&self, line: &[u8]) {
        {
            let mut pending = self.pending.mine().lock().unwrap_or_else(PoisonError::into_inner);
            if pending.len() + line.len() > MAX_PENDING {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            pending.extend_from_slice(line);
        }
        // Either this thread sees that the writer has gone to sleep, or the writer sees the line, because it checks for
        // lines once more after it has set the flag.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let (true, Some(writer)) = (self.is_asleep.swap(false, Ordering::Relaxed), self.writer.get()) {
            writer.unpark();
        }
    }

    /// Waits for lines; false once the log has ended and no lines are left.
    fn wait(&self, gathered: &mut Gathered) -> bool {
        while !gathered.take(self) {
            self.is_asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // Read before the lines are taken, so that lines from before the end are written.
            let has_ended = self.has_ended.load(Ordering::Relaxed);
            let has_lines = gathered.take(self);
            if has_lines || has_ended {
                self.is_asleep.store(false, Ordering::Relaxed);
                return has_lines;
            }
            thread::park();
        }
        true
    }
}

/// The lines that the writing thread has taken from the others.
#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    /// An empty buffer, swapped for a thread's buffer, so that the thread's lock is held only briefly.
    spare: Vec<u8>,
}

impl Gathered {
    /// Takes all lines; true if there are any.
    fn take(&mut self, shared: &Shared) -> bool {
        for pending in shared.pending.all() {
            std::mem::swap(&mut *pending.lock().unwrap_or_else(PoisonError::into_inner), &mut self.spare);
            self.lines.append(&mut self.spare);
        }
        !self.lines.is_empty()
    }
}

impl LogWriter {
    /// Writes the line of a request, if requests with its outcome get one.
    pub fn request(&self, entry: &Entry<'_>) {
        if !self.access.wants(entry.status) {
            return;
        }
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            entry.write(self.format, line);
            self.shared.append(line.as_bytes());
        });
    }

    /// Makes a writer whose lines are never written.
    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        Self { shared: Arc::default(), format: Format::Text, access: AccessLog::All }
    }

    /// Returns the number of lines lost so far because they could not be written fast enough.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Write for LogWriter {
    /// Appends one event as one line, whatever a guest or a caller put into it.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.shared.append(&tamed(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Escapes everything in an event's line that could begin another line or confuse a terminal: as `\u000a`, which JSON
/// reads as well.
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

/// The writing thread. Dropping it writes the lines that are left.
pub struct LogThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Sends the events of the process that `BULKHEAD_LOG` selects to standard error: see [`Filter`]. `access` selects the
/// requests that get a line, unless `BULKHEAD_LOG` switches request lines off.
///
/// # Errors
/// The thread cannot be started, or `BULKHEAD_LOG` is invalid.
pub fn install(format: Format, access: AccessLog) -> std::io::Result<(LogWriter, LogThread)> {
    let filter = Filter::from_env().map_err(std::io::Error::other)?;
    let access = if filter.lets_requests_through() { access } else { AccessLog::Off };
    let (writer, thread) = start(format, access, std::io::stderr())?;
    let events = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(writer.clone());
    // A second host in one process shares the first one's events; only tests do that.
    let _ = match format {
        Format::Text => events.fmt_fields(fields::text()).finish().with(filter.targets()).try_init(),
        Format::Json => events.json().flatten_event(true).finish().with(filter.targets()).try_init(),
    };
    library::listen(filter);
    Ok((writer, thread))
}

fn start(
    format: Format,
    access: AccessLog,
    mut output: impl Write + Send + 'static,
) -> std::io::Result<(LogWriter, LogThread)> {
    let shared = Arc::new(Shared::default());
    let theirs = Arc::clone(&shared);
    let thread = thread::Builder::new().name("log".into()).spawn(move || {
        let _ = theirs.writer.set(thread::current());
        let mut gathered = Gathered::default();
        while theirs.wait(&mut gathered) {
            if !theirs.has_ended.load(Ordering::Relaxed) {
                thread::park_timeout(GATHER);
                gathered.take(&theirs);
            }
            // A failure to write the log cannot be reported anywhere.
            let _ = output.write_all(&gathered.lines).and_then(|()| output.flush());
            gathered.lines.clear();
        }
    })?;
    Ok((LogWriter { shared: Arc::clone(&shared), format, access }, LogThread { shared, thread: Some(thread) }))
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
        let (mut writer, thread) = start(Format::Text, AccessLog::All, Stuck(stuck, Arc::clone(&written))).unwrap();
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
