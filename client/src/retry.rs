//! The retry policy: which failed calls are repeated, how often, and after which pause.

use std::time::Duration;

use crate::error::{Error, Fault};

/// A policy for retries: the conditions, the largest number, and the pauses, which grow.
///
/// The default is up to three retries, and only if no processor can have worked on the request: [`Condition::SAFE`]. A
/// request whose answer was lost may have changed something, so its caller decides about a retry, by naming further
/// conditions.
///
/// ```
/// use bulkhead_client::{Condition, RetryPolicy};
///
/// // For a processor that can be called twice with one request. The official Go SDK does this, without pauses.
/// let policy = RetryPolicy::new(5).on(Condition::ALL);
/// assert_ne!(policy, RetryPolicy::new(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    retries: u32,
    conditions: Vec<Condition>,
    first_pause: Duration,
    longest_pause: Duration,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// No connection could be made, or it was lost before anything was sent. Safe.
    ConnectionFailed,
    /// No connection was made in time. Safe.
    ConnectionTimeout,
    /// A full queue (450), a rate limit (429), or a 503 of a service that does not run at the moment, if the server
    /// itself says so ([`Refused::is_turned_away`](crate::Refused::is_turned_away)). Safe.
    TurnedAway,
    /// No answer in time. The request may have been processed.
    ReadTimeout,
    /// The connection ended before or within an answer. The request may have been processed.
    BrokenOff,
    /// A 5xx status other than those of `TurnedAway`. The request may have been processed.
    Response5xx,
    /// A 4xx status other than those of `TurnedAway`. The request may have been processed, and will probably fail
    /// again.
    Response4xx,
}

impl Condition {
    /// The conditions in which no processor can have seen the request.
    pub const SAFE: [Self; 3] = [Self::ConnectionFailed, Self::ConnectionTimeout, Self::TurnedAway];
    /// All conditions.
    pub const ALL: [Self; 7] = [
        Self::ConnectionFailed,
        Self::ConnectionTimeout,
        Self::TurnedAway,
        Self::ReadTimeout,
        Self::BrokenOff,
        Self::Response5xx,
        Self::Response4xx,
    ];

    /// Returns `None` for a failure that a retry cannot change.
    fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Discovery(_) | Error::Request(_) => None,
            Error::Transport(transport) => match transport.fault {
                Fault::ConnectionFailed => Some(Self::ConnectionFailed),
                Fault::ConnectionTimeout => Some(Self::ConnectionTimeout),
                Fault::ReadTimeout => Some(Self::ReadTimeout),
                Fault::BrokenOff | Fault::Senseless => Some(Self::BrokenOff),
            },
            Error::Response(unreadable) => match unreadable.why {
                crate::Unread::BrokenOff(_) => Some(Self::BrokenOff),
                crate::Unread::Timeout => Some(Self::ReadTimeout),
                crate::Unread::TooLarge { .. } | crate::Unread::NotText | crate::Unread::Malformed(_) => None,
            },
            Error::Refused(refused) => match refused.status {
                429 | 450 | 503 if refused.is_turned_away() => Some(Self::TurnedAway),
                500.. => Some(Self::Response5xx),
                400..=499 => Some(Self::Response4xx),
                _ => None,
            },
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(3)
    }
}

impl RetryPolicy {
    /// Allows up to `retries` retries where they are safe, with pauses from 50 ms to 2 s.
    pub fn new(retries: u32) -> Self {
        let (first_pause, longest_pause) = (Duration::from_millis(50), Duration::from_secs(2));
        Self { retries, conditions: Condition::SAFE.to_vec(), first_pause, longest_pause }
    }

    /// Allows no retry.
    pub fn none() -> Self {
        Self::new(0)
    }

    /// Retries in these conditions and no others.
    #[must_use]
    pub fn on(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.conditions = conditions.into_iter().collect();
        self
    }

    /// Sets the pause before the first retry, and the longest one. The pause doubles with each retry. The client waits
    /// for a random part of it, so that callers refused together do not return together. A longer `Retry-After` is
    /// obeyed up to the longest pause; if the server asks for more, there is no retry.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// The policy for requests that can be repeated without harm: also if a try may have been processed.
    pub(crate) fn of_repeatable(mut self) -> Self {
        self.conditions.extend([Condition::ReadTimeout, Condition::BrokenOff, Condition::Response5xx]);
        self
    }

    /// Returns the time to wait before the next try, after `tries` tries; `None` for no further try.
    pub(crate) fn pause(&self, error: &Error, tries: u32) -> Option<Duration> {
        let condition = Condition::of(error)?;
        if tries > self.retries || !self.conditions.contains(&condition) {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1_u32.checked_shl(tries - 1).unwrap_or(u32::MAX));
        let jittered = doubled.min(self.longest_pause).mul_f64(fastrand::f64());
        match error.refused().and_then(|refused| refused.retry_after) {
            Some(asked) if asked > self.longest_pause => None,
            Some(asked) => Some(jittered.max(asked)),
            None => Some(jittered),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{Refused, Response, Unread, Unreadable};

    fn refused(status: u16) -> Error {
        let response = Response { status, headers: HeaderMap::new(), body: "x".into() };
        Error::Refused(Box::new(Refused::from_response(response)))
    }

    fn repeats(policy: &RetryPolicy, error: &Error) -> bool {
        policy.pause(error, 1).is_some()
    }

    #[test]
    fn by_default_only_what_no_processor_saw_is_repeated() {
        let policy = RetryPolicy::default();
        let transport = |fault| Error::transport(fault, "h:1", "x");
        for safe in
            [transport(Fault::ConnectionFailed), transport(Fault::ConnectionTimeout), refused(450), refused(429)]
        {
            assert!(repeats(&policy, &safe) && !safe.may_have_been_processed(), "{safe}");
        }
        for other in [
            transport(Fault::ReadTimeout),
            transport(Fault::BrokenOff),
            Error::Response(Unreadable { status: 200, why: Unread::Timeout }),
            refused(500),
            refused(503),
            refused(400),
            refused(201),
        ] {
            assert!(!repeats(&policy, &other), "{other}");
        }
    }

    #[test]
    fn whoever_asks_for_it_gets_more() {
        let policy = RetryPolicy::new(1).on(Condition::ALL);
        for error in [refused(500), refused(404), Error::transport(Fault::BrokenOff, "h:1", "x")] {
            assert!(repeats(&policy, &error), "{error}");
        }
        assert!(!repeats(&policy, &Error::Request(String::new())), "it will never be better");
        assert!(!repeats(&policy, &refused(302)));
        assert!(!repeats(&RetryPolicy::none().on(Condition::ALL), &refused(500)));
    }

    #[test]
    fn tries_are_counted_and_pauses_bounded() {
        let policy = RetryPolicy::new(40).pauses(Duration::from_millis(10), Duration::from_millis(80));
        let longest = |tries| (0..200).filter_map(|_| policy.pause(&refused(450), tries)).max().unwrap();
        assert!(longest(1) <= Duration::from_millis(10));
        assert!(longest(4) > Duration::from_millis(40) && longest(40) <= Duration::from_millis(80));
        assert_eq!(policy.pause(&refused(450), 41), None);
    }

    #[test]
    fn the_server_may_ask_for_a_longer_pause_but_not_for_any() {
        let asking = |seconds: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", seconds.parse().unwrap());
            Error::Refused(Box::new(Refused::from_response(Response { status: 429, headers, body: "x".into() })))
        };
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(&asking("1"), 1), Some(Duration::from_secs(1)));
        assert_eq!(policy.pause(&asking("3"), 1), None);
        assert!(policy.pause(&asking("soon"), 1).is_some());
    }
}
