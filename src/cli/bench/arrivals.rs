//! The times at which requests are due, and a timer that is precise enough for them.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The times at which one lane's requests are due, from the first of the warm-up to the last that is measured.
pub(super) struct Arrivals {
    start: Instant,
    /// The next due time, in seconds since the start. It is not rounded, so that errors do not add up.
    next: f64,
    made: u64,
    /// Seconds from the start to the first due time, and between two due times on average.
    offset: f64,
    gap: f64,
    by_chance: bool,
    chance: fastrand::Rng,
}

impl Arrivals {
    /// The due times of lane `index`, where all `lanes` together send `rate` requests a second.
    pub(super) fn new(start: Instant, rate: f64, by_chance: bool, index: usize, lanes: usize) -> Self {
        Self::with(start, rate, by_chance, index, lanes, fastrand::Rng::new())
    }

    fn with(start: Instant, rate: f64, by_chance: bool, index: usize, lanes: usize, chance: fastrand::Rng) -> Self {
        // The due times of different lanes are evenly spaced, unless they are random.
        let (offset, gap) = (index as f64 / rate, lanes as f64 / rate);
        let mut arrivals = Self { start, next: offset, made: 0, offset, gap, by_chance, chance };
        if by_chance {
            arrivals.next = arrivals.wait();
        }
        arrivals
    }

    /// Draws the time to the next request. Between independent callers it is exponentially distributed.
    fn wait(&mut self) -> f64 {
        -self.gap * (1.0 - self.chance.f64()).ln()
    }

    /// The next due time, without taking it.
    pub(super) fn peek(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.next)
    }

    pub(super) fn advance(&mut self) {
        self.made += 1;
        self.next = match self.by_chance {
            true => self.next + self.wait(),
            false => self.offset + self.made as f64 * self.gap,
        };
    }
}

/// A timer with a precision of microseconds. The runtime's own timers have one of a millisecond, several times as long
/// as a request takes.
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(unsafe_code, reason = "the runtime has no other way to wait for a timer of the kernel's")]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: the `AsyncFd` owns the descriptor, and nothing replaces or closes the descriptor before the `AsyncFd`
        // is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
    }

    pub(super) async fn until(&self, due: Instant) -> io::Result<()> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            let value = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(
                self.0.get_ref(),
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: once, it_value: value },
            )?;
            let mut ready = self.0.readable().await?;
            // Reads the number of expirations, so that the descriptor is not readable until the next one. The number is
            // not needed.
            let _ = rustix::io::read(self.0.get_ref(), &mut [0_u8; 8]);
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(mut arrivals: Arrivals, until: Instant) -> Vec<Instant> {
        let mut times = Vec::new();
        while arrivals.peek() < until {
            times.push(arrivals.peek());
            arrivals.advance();
        }
        times
    }

    #[test]
    fn lanes_share_a_rate_evenly() {
        let start = Instant::now();
        let lane = |index| times(Arrivals::new(start, 300.0, false, index, 4), start + Duration::from_secs(10));
        let mut all: Vec<Instant> = (0..4).flat_map(lane).collect();
        all.sort_unstable();
        assert_eq!(all.len(), 3000, "though the gap is no whole number of nanoseconds");
        let gap = Duration::from_secs(1) / 300;
        assert!(all.windows(2).all(|two| (two[1] - two[0]).abs_diff(gap) < Duration::from_nanos(5)));
    }

    #[test]
    fn by_chance_there_are_as_many_and_no_two_gaps_alike() {
        let start = Instant::now();
        let arrivals = Arrivals::with(start, 1000.0, true, 0, 1, fastrand::Rng::with_seed(7));
        let times = times(arrivals, start + Duration::from_secs(10));
        assert!((9_500..10_500).contains(&times.len()), "{}", times.len());
        let gaps: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
        // Of exponentially distributed gaps 63 % are shorter than the average.
        let short = gaps.iter().filter(|gap| **gap < Duration::from_millis(1)).count();
        assert!((0.60..0.66).contains(&(short as f64 / gaps.len() as f64)), "{short} of {}", gaps.len());
    }

    #[tokio::test]
    async fn the_timer_is_never_early() {
        let timer = Timer::new().unwrap();
        for micros in [0, 50, 700, 3_000] {
            let due = Instant::now() + Duration::from_micros(micros);
            timer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
