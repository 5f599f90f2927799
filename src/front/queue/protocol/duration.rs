//! Durations as text, as Go's `time.ParseDuration` reads and `Duration.String` prints them: `1m30s`, `500ms`, `2.5h`.

use std::time::Duration;

use crate::quoted::Quoted;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// The longest duration of Go, about 292 years.
const LONGEST_NANOS: u64 = i64::MAX as u64;
/// Most digits of a fraction that are used. More would not change the result by a nanosecond.
const FRACTION_DIGITS: usize = 18;

/// The reason why a text is no duration that can be waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadDuration {
    #[error("the duration is empty; accepted is {ACCEPTED}")]
    Empty,
    #[error("{} is not a duration; accepted is {ACCEPTED}", Quoted(.0))]
    Malformed(String),
    #[error("{} is negative; accepted is {ACCEPTED}", Quoted(.0))]
    Negative(String),
    #[error("{} is longer than 292 years; accepted is {ACCEPTED}", Quoted(.0))]
    TooLong(String),
}

const ACCEPTED: &str = "a duration of 0 or more such as 5s, 1m30s, 500ms or 2h, or a number of seconds such as 2.5";

/// Parses a duration of Go, or a bare number of seconds. The caller bounds the result.
///
/// # Errors
/// Says why the text is refused, and which texts are accepted.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, BadDuration> {
    if text.is_empty() {
        return Err(BadDuration::Empty);
    }
    if text.starts_with('-') {
        return Err(BadDuration::Negative(text.to_owned()));
    }
    let malformed = || BadDuration::Malformed(text.to_owned());
    let too_long = || BadDuration::TooLong(text.to_owned());

    let mut rest = text.strip_prefix('+').unwrap_or(text);
    // Go accepts a number without a unit only for `0`.
    if let Some((seconds, "")) = Number::split(rest) {
        return seconds.times(NANOS_PER_SECOND).and_then(bounded).ok_or_else(too_long);
    }
    let mut nanos: u128 = 0;
    loop {
        let (number, after) = Number::split(rest).ok_or_else(malformed)?;
        let (unit, after) = unit(after).ok_or_else(malformed)?;
        nanos = number.times(unit).and_then(|part| nanos.checked_add(part)).ok_or_else(too_long)?;
        if after.is_empty() {
            return bounded(nanos).ok_or_else(too_long);
        }
        rest = after;
    }
}

fn bounded(nanos: u128) -> Option<Duration> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos <= LONGEST_NANOS).map(Duration::from_nanos)
}

/// The digits of a decimal number, before and after its point.
struct Number<'t> {
    whole: &'t str,
    fraction: &'t str,
}

impl<'t> Number<'t> {
    /// Splits a number off the beginning of `text`. At least one side of the point has digits.
    fn split(text: &'t str) -> Option<(Self, &'t str)> {
        let (whole, rest) = digits(text);
        let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
        let has_digits = !whole.is_empty() || !fraction.is_empty();
        has_digits.then_some((Self { whole, fraction }, rest))
    }

    /// The product with `unit`, rounded down; `None` if it is far beyond any duration.
    fn times(&self, unit: u128) -> Option<u128> {
        let value = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) };
        let fraction = &self.fraction[..self.fraction.len().min(FRACTION_DIGITS)];
        let scale = fraction.bytes().fold(1, |scale: u128, _| scale * 10);
        let part = value(fraction)? * unit / scale;
        value(self.whole)?.checked_mul(unit)?.checked_add(part)
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The nanoseconds of the unit at the beginning of `text`, and the text after it.
fn unit(text: &str) -> Option<(u128, &str)> {
    // Longer units come before their beginnings: `ms` before `m`. The two micro signs are U+00B5 and U+03BC.
    const UNITS: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", NANOS_PER_SECOND),
        ("m", 60 * NANOS_PER_SECOND),
        ("h", 3600 * NANOS_PER_SECOND),
    ];
    UNITS.iter().find_map(|(unit, nanos)| Some((*nanos, text.strip_prefix(unit)?)))
}

/// Formats a duration as Go prints it: `0s`, `500ms`, `2.091s`, `1m30s`, `1h0m0s`.
pub(crate) fn as_go(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), u64::from(duration.subsec_nanos()));
    match (seconds, nanos) {
        (0, 0) => "0s".to_owned(),
        (0, ..1_000) => format!("{nanos}ns"),
        (0, ..1_000_000) => format!("{}µs", decimal(nanos / 1_000, nanos % 1_000, 3)),
        (0, _) => format!("{}ms", decimal(nanos / 1_000_000, nanos % 1_000_000, 6)),
        _ => {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = decimal(seconds % 60, nanos, 9);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// A decimal number without zeros at its end. `fraction` has up to `places` digits.
fn decimal(whole: u64, fraction: u64, places: usize) -> String {
    let text = format!("{whole}.{fraction:0places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn nanos(text: &str) -> u64 {
        u64::try_from(parse_timeout(text).unwrap_or_else(|refused| panic!("{text}: {refused}")).as_nanos()).unwrap()
    }

    #[test]
    fn durations_of_go_are_read() {
        for (text, expected) in [
            ("0s", 0),
            ("0", 0),
            ("+0", 0),
            ("5s", 5 * SECOND),
            ("+5s", 5 * SECOND),
            ("1.5s", SECOND * 3 / 2),
            ("1.s", SECOND),
            (".5s", SECOND / 2),
            ("1m30s", 90 * SECOND),
            ("2h", 7200 * SECOND),
            ("1h1m1.001s", 3661 * SECOND + 1_000_000),
            ("30s1m", 90 * SECOND),
            ("1s1s", 2 * SECOND),
            ("500ms", SECOND / 2),
            ("12us", 12_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("1.5us", 1_500),
            ("7ns", 7),
            ("0.9ns", 0),
            ("0.3333333333333333333333333h", 1_199_999_999_999),
            ("2562047h47m16.854775807s", i64::MAX as u64),
            ("0000000000000000000000005s", 5 * SECOND),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn bare_numbers_are_seconds() {
        for (text, expected) in [("5", 5 * SECOND), ("2.5", SECOND * 5 / 2), ("+3", 3 * SECOND), (".5", SECOND / 2)] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_texts_that_are_accepted() {
        for text in [
            "s", "+", ".", ".s", "5x", "5S", "1m30", "30 s", " 5s", "5s ", "5,5s", "1e3", "0x5", "++5", "+-5",
            "5.5.5s", "5s-1s", "abc", "∞", "5\0", "٣s", "1h 1m", "d", "1d",
        ] {
            assert_eq!(parse_timeout(text), Err(BadDuration::Malformed(text.to_owned())), "{text}");
        }
        for text in ["-1s", "-0s", "-", "-5"] {
            assert_eq!(parse_timeout(text), Err(BadDuration::Negative(text.to_owned())), "{text}");
        }
        for text in [
            "2562047h47m16.854775808s",
            "9223372037",
            "99999999999999999999s",
            "99999999999999999999999999999999999999999999",
            "18446744073709551615h",
            "2562047h2562047h",
        ] {
            assert_eq!(parse_timeout(text), Err(BadDuration::TooLong(text.to_owned())), "{text}");
        }
        assert_eq!(parse_timeout(""), Err(BadDuration::Empty));
        for (text, begins) in [
            ("", "the duration is empty; "),
            ("5x", "\"5x\" is not a duration; "),
            ("-5", "\"-5\" is negative; "),
            ("9223372037", "\"9223372037\" is longer than 292 years; "),
        ] {
            let refused = parse_timeout(text).unwrap_err().to_string();
            assert_eq!(refused, format!("{begins}accepted is {ACCEPTED}"));
        }
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (duration, expected) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1), "1ns"),
            (Duration::from_nanos(999), "999ns"),
            (Duration::from_nanos(1_100), "1.1µs"),
            (Duration::from_micros(2_200), "2.2ms"),
            (Duration::from_millis(500), "500ms"),
            (Duration::from_millis(100), "100ms"),
            (Duration::from_millis(2_091), "2.091s"),
            (Duration::from_millis(10_000), "10s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(60), "1m0s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::from_millis(3_605_500), "1h0m5.5s"),
            (Duration::from_nanos(i64::MAX as u64), "2562047h47m16.854775807s"),
        ] {
            assert_eq!(as_go(duration), expected);
            assert_eq!(parse_timeout(expected), Ok(duration), "{expected}");
        }
    }
}
