//! Numbers and times as text, without the formatting machinery, because it is on the path of every request.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};

pub(crate) fn push_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Appends milliseconds with three digits after the point.
pub(crate) fn push_ms(text: &mut String, time: Duration) {
    push_number(text, time.as_secs() * 1000 + u64::from(time.subsec_millis()));
    push_thousandths(text, time.subsec_micros() % 1000);
}

/// Appends a point and three digits.
fn push_thousandths(text: &mut String, thousandths: u32) {
    /// ".000" to ".999".
    const TEXTS: &str = {
        const BYTES: [u8; 4000] = {
            let mut bytes = [b'.'; 4000];
            let mut number = 0;
            while number < 1000 {
                bytes[4 * number + 1] = b'0' + (number / 100) as u8;
                bytes[4 * number + 2] = b'0' + (number / 10 % 10) as u8;
                bytes[4 * number + 3] = b'0' + (number % 10) as u8;
                number += 1;
            }
            bytes
        };
        match str::from_utf8(&BYTES) {
            Ok(texts) => texts,
            Err(_) => panic!("digits are UTF-8"),
        }
    };
    let at = 4 * thousandths as usize;
    text.push_str(&TEXTS[at..at + 4]);
}

/// The time for which a thread uses its last reading of the wall clock. A changed clock shows in the log only after
/// this time.
const TRUST: Duration = Duration::from_secs(1);

/// Appends a time in the format of RFC 3339, in UTC and with milliseconds.
pub(crate) fn push_timestamp(text: &mut String, at: Instant) {
    thread_local! {
        static CLOCK: RefCell<Option<WallClock>> = const { RefCell::new(None) };
    }
    CLOCK.with_borrow_mut(|clock| {
        let clock = match clock {
            Some(clock) if at.saturating_duration_since(clock.looked) < TRUST => clock,
            _ => clock.insert(WallClock::look()),
        };
        clock.push(text, at);
    });
}

/// A recent reading of the wall clock, and the second that was formatted last.
struct WallClock {
    looked: Instant,
    /// The time since the beginning of 1970.
    time: Duration,
    second: u64,
    written: String,
}

impl WallClock {
    fn look() -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { looked: Instant::now(), time, second: u64::MAX, written: String::new() }
    }

    fn push(&mut self, text: &mut String, at: Instant) {
        let time = match at.checked_duration_since(self.looked) {
            Some(later) => self.time + later,
            None => self.time.saturating_sub(self.looked - at),
        };
        if time.as_secs() != self.second {
            self.second = time.as_secs();
            self.written.clear();
            let second = SystemTime::UNIX_EPOCH + Duration::from_secs(self.second);
            // Writing to a string cannot fail.
            let _ = write!(self.written, "{}", humantime::format_rfc3339_seconds(second));
            self.written.pop();
        }
        text.push_str(&self.written);
        push_thousandths(text, time.subsec_millis());
        text.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_digits_behind_the_point() {
        for (micros, expected) in [(0, "0.000"), (7, "0.007"), (1_050, "1.050"), (61_000_999, "61000.999")] {
            let mut text = String::new();
            push_ms(&mut text, Duration::from_micros(micros));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn timestamps_are_those_of_the_wall_clock_before_and_after_the_look() {
        let mut clock = WallClock::look();
        clock.time = Duration::new(1_000_000_000, 900_000_000);
        let looked = clock.looked;
        let mut written = |at| {
            let mut text = String::new();
            clock.push(&mut text, at);
            text
        };
        assert_eq!(written(looked), "2001-09-09T01:46:40.900Z");
        assert_eq!(written(looked + Duration::from_millis(105)), "2001-09-09T01:46:41.005Z");
        assert_eq!(written(looked - Duration::from_millis(901)), "2001-09-09T01:46:39.999Z");
    }

    #[test]
    fn timestamps_follow_the_clock() {
        let mut text = String::new();
        push_timestamp(&mut text, Instant::now());
        let told = humantime::parse_rfc3339(&text).unwrap();
        let apart = SystemTime::now().duration_since(told).unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(5), "{text}");
    }
}
