//! Selects the requests that get a line in the log.

use std::fmt;
use std::str::FromStr;

/// The lowest status that counts as a failure.
const FIRST_FAILURE: u16 = 400;
/// All requests, as a share in millionths.
const WHOLE: u32 = 1_000_000;

/// The requests that get a line in the log: `--access-log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    #[default]
    All,
    /// Those whose status is 400 or more; 499, a client that left, is one of them.
    Failures,
    Off,
    /// Every failure, and a random share of the others, in millionths.
    Share(u32),
}

impl AccessLog {
    /// True if a request that ended with this status gets a line.
    pub(super) fn wants(self, status: u16) -> bool {
        match self {
            Self::All => true,
            Self::Off => false,
            Self::Failures => status >= FIRST_FAILURE,
            Self::Share(share) => status >= FIRST_FAILURE || fastrand::u32(..WHOLE) < share,
        }
    }
}

impl FromStr for AccessLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "failures" => return Ok(Self::Failures),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            Some(percent) => Ok(Self::Share((percent / 100.0 * f64::from(WHOLE)).round() as u32)),
            None => Err("expected all, failures, off, or a share of the successful requests, as 1% or 0.1%".into()),
        }
    }
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Failures => f.write_str("failures"),
            Self::Off => f.write_str("off"),
            Self::Share(share) => write!(f, "{}%", f64::from(*share) * 100.0 / f64::from(WHOLE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_word_or_a_percentage() {
        let read = |text: &str| text.parse::<AccessLog>();
        for (text, choice) in [
            ("all", AccessLog::All),
            ("failures", AccessLog::Failures),
            ("off", AccessLog::Off),
            ("1%", AccessLog::Share(10_000)),
            ("0.1%", AccessLog::Share(1000)),
            ("100%", AccessLog::Share(WHOLE)),
        ] {
            assert_eq!(read(text), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        for wrong in ["", "none", "1", "%", "-1%", "101%", "nan%", "inf%"] {
            assert!(read(wrong).is_err_and(|why| why.contains("failures")), "{wrong}");
        }
    }

    #[test]
    fn failures_get_their_line_whatever_the_share_of_the_others() {
        for (choice, successes, failures) in [
            (AccessLog::All, true, true),
            (AccessLog::Failures, false, true),
            (AccessLog::Off, false, false),
            (AccessLog::Share(0), false, true),
            (AccessLog::Share(WHOLE), true, true),
        ] {
            assert!([200, 302].iter().all(|status| choice.wants(*status) == successes), "{choice}");
            assert!([400, 422, 450, 499, 503].iter().all(|status| choice.wants(*status) == failures), "{choice}");
        }
        let tenth = AccessLog::Share(WHOLE / 10);
        let seen = (0..10_000).filter(|_| tenth.wants(200)).count();
        assert!((500..2000).contains(&seen), "a tenth of 10000 is {seen}");
    }
}
