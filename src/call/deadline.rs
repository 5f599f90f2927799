//! The time at which a call must end. For a streamed answer it moves from piece to piece.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time until which a call may run, shared by those who run it and those who wait for it.
#[derive(Debug)]
pub struct Deadline {
    head: Instant,
    stream: OnceLock<StreamClock>,
}

/// The times that bound a streamed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Longest time that the caller waits for the next piece.
    pub idle: Duration,
    /// Longest time from the head of the answer to its end.
    pub total: Duration,
}

#[derive(Debug)]
struct StreamClock {
    began: Instant,
    limits: StreamLimits,
    /// The time since which the caller has waited for a piece, in microseconds after `began`, plus one; 0 while the
    /// caller does not wait.
    awaited: AtomicU64,
}

impl Deadline {
    /// Makes the deadline of a call whose answer, or the head of it, is due at this time.
    pub fn new(head: Instant) -> Self {
        Self { head, stream: OnceLock::new() }
    }

    /// Returns the present deadline. It moves to an earlier time only when the answer begins.
    pub fn at(&self) -> Instant {
        let Some(StreamClock { began, limits, awaited }) = self.stream.get() else { return self.head };
        let since = match awaited.load(Ordering::Relaxed).checked_sub(1) {
            Some(micros) => *began + Duration::from_micros(micros),
            // The caller is busy with what it has got. That is not the guest's fault.
            None => Instant::now(),
        };
        (since + limits.idle).min(*began + limits.total)
    }

    /// Records that the head of a streamed answer has come, and that its first piece is awaited.
    pub fn begin_stream(&self, limits: StreamLimits) {
        let _ = self.stream.set(StreamClock { began: Instant::now(), limits, awaited: AtomicU64::new(1) });
    }

    /// Records that the caller waits for a piece.
    pub fn await_piece(&self) {
        if let Some(stream) = self.stream.get()
            && stream.awaited.load(Ordering::Relaxed) == 0
        {
            // Rounded up, so that the deadline does not move to an earlier time.
            let micros = u64::try_from(stream.began.elapsed().as_micros()).unwrap_or(u64::MAX - 2);
            stream.awaited.store(micros + 2, Ordering::Relaxed);
        }
    }

    /// Records that the caller has got a piece.
    pub fn take_piece(&self) {
        if let Some(stream) = self.stream.get() {
            stream.awaited.store(0, Ordering::Relaxed);
        }
    }

    /// True if a streamed answer has reached its total time.
    pub fn is_total_over(&self) -> bool {
        self.stream.get().is_some_and(|stream| stream.began.elapsed() >= stream.limits.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits { idle: Duration::from_secs(10), total: Duration::from_secs(15) };

    fn is_about(at: Instant, seconds: u64) -> bool {
        let left = at.saturating_duration_since(Instant::now());
        left > Duration::from_secs(seconds) - Duration::from_secs(3)
            && left <= Duration::from_secs(seconds) + Duration::from_millis(1)
    }

    #[test]
    fn a_whole_answer_is_due_at_a_fixed_time() {
        let head = Instant::now() + Duration::from_secs(60);
        let deadline = Deadline::new(head);
        deadline.await_piece();
        deadline.take_piece();
        assert_eq!((deadline.at(), deadline.is_total_over()), (head, false));
    }

    #[test]
    fn a_stream_is_due_piece_by_piece() {
        let deadline = Deadline::new(Instant::now());
        deadline.begin_stream(LIMITS);
        let first = deadline.at();
        assert!(is_about(first, 10));
        deadline.await_piece();
        assert_eq!(deadline.at(), first, "it is awaited since the head");
        deadline.take_piece();
        let busy = deadline.at();
        deadline.await_piece();
        assert!(first < busy && busy <= deadline.at() && is_about(deadline.at(), 10));
    }

    #[test]
    fn a_stream_has_a_total_time_however_slow_its_caller_is() {
        let deadline = Deadline::new(Instant::now());
        deadline.begin_stream(StreamLimits { total: Duration::from_secs(5), ..LIMITS });
        assert!(is_about(deadline.at(), 5) && !deadline.is_total_over());
        deadline.take_piece();
        assert!(is_about(deadline.at(), 5));

        let deadline = Deadline::new(Instant::now());
        deadline.begin_stream(StreamLimits { total: Duration::ZERO, ..LIMITS });
        assert!(deadline.at() <= Instant::now() && deadline.is_total_over());
    }
}
