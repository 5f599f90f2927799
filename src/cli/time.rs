//! Parses lengths of time from the command line.

use std::time::Duration;

/// The longest time that is accepted. An `Instant` plus this time does not overflow.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
const FORMS: &str = "expected seconds, or a number with a unit, as 5, 5s, 500ms or 1m";

/// Parses seconds, or a number with a unit. Zero is accepted.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    match seconds.or_else(|| humantime::parse_duration(text).ok()) {
        Some(span) if span <= LONGEST => Ok(span),
        Some(_) => Err("expected at most a week".to_owned()),
        None => Err(FORMS.to_owned()),
    }
}

/// As [`span`], but at least 1 ms.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = span(text)?;
    if time >= Duration::from_millis(1) { Ok(time) } else { Err("expected at least 1ms".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, ms) in [("1", 1_000), ("1ms", 1), ("500ms", 500), ("5s", 5_000), ("1m", 60_000), ("1m 5s", 65_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "soon", "-1", "1.5", "5 parsecs", "s"] {
            assert_eq!(time(text).unwrap_err(), FORMS, "{text}");
        }
        assert!(span("0").unwrap().is_zero() && time("0").is_err() && time("8d").is_err());
    }
}
