//! The reasons why no upstream answered a request, in Envoy's words, because callers and their tools know them.

use std::fmt;

use crate::incoming::Broken;

/// The gateway's reason for answering in an upstream's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Every upstream is unhealthy or ejected.
    NoHealthyUpstream,
    /// The connection to the upstream failed before the head of an answer arrived.
    Reset { reason: Reset, retried: bool },
    /// The upstream did not answer in time.
    TimedOut,
    /// The client did not send its request in time.
    Stalled,
    /// The client's request broke off, or its body is malformed.
    Request(Broken),
    /// The request has come through this gateway before.
    Circle,
}

/// The way in which a connection to an upstream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It could not be made.
    ConnectionFailure,
    ConnectionTimeout,
    /// It ended before the head of the answer.
    ConnectionTermination,
    /// Too many requests are waiting for a connection.
    Overflow,
    /// The data that came over it is not an answer.
    ProtocolError,
}

impl Reset {
    pub(super) const COUNT: usize = 5;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::ConnectionFailure,
        Self::ConnectionTimeout,
        Self::ConnectionTermination,
        Self::Overflow,
        Self::ProtocolError,
    ];

    /// Returns Envoy's words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ConnectionFailure => "remote connection failure",
            Self::ConnectionTimeout => "connection timeout",
            Self::ConnectionTermination => "connection termination",
            Self::Overflow => "overflow",
            Self::ProtocolError => "protocol error",
        }
    }

    /// Returns its name as a label of a metric.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionFailure => "connection_failure",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionTermination => "connection_termination",
            Self::Overflow => "overflow",
            Self::ProtocolError => "protocol_error",
        }
    }
}

impl Failure {
    pub(super) const fn reset(reason: Reset) -> Self {
        Self::Reset { reason, retried: false }
    }

    /// Returns the failure as that of a second upstream, after a retry.
    pub(super) const fn after_a_retry(self) -> Self {
        match self {
            Self::Reset { reason, .. } => Self::Reset { reason, retried: true },
            other => other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHealthyUpstream => f.write_str("no healthy upstream"),
            Self::Reset { reason, retried } => {
                let which = if *retried { "retried and the latest reset reason" } else { "reset reason" };
                write!(f, "upstream connect error or disconnect/reset before headers. {which}: {}", reason.words())
            }
            Self::TimedOut => f.write_str("upstream request timeout"),
            Self::Stalled => f.write_str("the request did not arrive in time"),
            Self::Request(broken) => broken.fmt(f),
            Self::Circle => f.write_str("the routes form a circle: the request has come through this gateway before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_envoy() {
        let reset = |reason, retried| Failure::Reset { reason, retried }.to_string();
        assert_eq!(
            reset(Reset::ConnectionFailure, false),
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
        );
        assert_eq!(
            reset(Reset::ConnectionTermination, true),
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection termination"
        );
        assert_eq!(Failure::NoHealthyUpstream.to_string(), "no healthy upstream");
        assert_eq!(Failure::TimedOut.to_string(), "upstream request timeout");
    }
}
