//! Divides the file descriptors of the process: parts for callers, for operators and for the requests of guests, and
//! the rest for files and the process itself. Neither callers nor guests get the part of operators, so that they cannot
//! keep health checks out.

use rustix::process::{Resource, getrlimit};

/// Descriptors for files that are open from the start, about 40, and for uploads, compilations and guests.
const RESERVE: usize = 64;
/// The smallest limit for connections of each kind.
const LEAST: usize = 8;
const MOST_CALLERS: usize = 10_000;
const MOST_OPERATORS: usize = 256;
const MOST_OUTGOING: usize = 1024;

/// The number of descriptors that a process may have.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors(usize);

/// The number of descriptors that a caller's connection takes.
#[derive(Clone, Copy, Debug)]
pub enum Each {
    Own,
    /// Two descriptors, because a request may be forwarded over a connection to another host.
    OwnAndForwarded,
}

impl Each {
    const fn count(self) -> usize {
        match self {
            Self::Own => 1,
            Self::OwnAndForwarded => 2,
        }
    }

    pub const fn of(forwards: bool) -> Self {
        if forwards { Self::OwnAndForwarded } else { Self::Own }
    }
}

impl Descriptors {
    /// The smallest number with which a process can start.
    const FEWEST: usize = RESERVE + 3 * LEAST;

    pub fn of_this_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        Self(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// Returns the limit for operators' connections.
    pub fn for_operators(self) -> usize {
        (self.to_share() / 3).clamp(LEAST, MOST_OPERATORS)
    }

    /// Returns the limit for connections of outgoing requests.
    pub fn for_outgoing(self) -> usize {
        (self.to_share() / 8).clamp(LEAST, MOST_OUTGOING)
    }

    /// Returns the limit for callers' connections, unless a setting says otherwise.
    pub fn for_callers(self, each: Each) -> usize {
        let left = self.to_share().saturating_sub(self.for_operators() + self.for_outgoing());
        (left / each.count()).min(self.0 / 2).clamp(LEAST, MOST_CALLERS)
    }

    fn to_share(self) -> usize {
        self.0.saturating_sub(RESERVE)
    }

    /// Checks that there are enough descriptors to start.
    ///
    /// # Errors
    /// A sentence with the number that is needed.
    pub fn check(self) -> Result<(), String> {
        let (given, fewest) = (self.0, Self::FEWEST);
        if given >= fewest {
            return Ok(());
        }
        Err(format!("the process may have {given} files and connections open, and needs {fewest} (`ulimit -n`)"))
    }

    /// Returns a warning if `callers` connections are too many, or if operators get fewer connections than usual.
    pub fn shortage(self, callers: usize, each: Each) -> Option<String> {
        let (given, operators) = (self.0, self.for_operators());
        let needed = callers.saturating_mul(each.count()).saturating_add(operators + self.for_outgoing() + RESERVE);
        let limit = format!("the process may have {given} files and connections open (`ulimit -n`)");
        if needed > given {
            return Some(format!(
                "{limit}: too few for {callers} connections of callers (--max-connections) and {operators} of operators; \
                 callers may keep operators and health checks out"
            ));
        }
        (operators < MOST_OPERATORS).then(|| {
            format!("{limit}: there is room for {callers} connections of callers and {operators} of operators")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_others_leave() {
        for (limit, callers, operators, outgoing) in [
            (Descriptors::FEWEST, 8, 8, 8),
            (128, 35, 21, 8),
            (256, 104, 64, 24),
            (1024, 512, 256, 120),
            (1 << 20, MOST_CALLERS, MOST_OPERATORS, MOST_OUTGOING),
            (usize::MAX, MOST_CALLERS, MOST_OPERATORS, MOST_OUTGOING),
        ] {
            let descriptors = Descriptors(limit);
            let shares = (descriptors.for_callers(Each::Own), descriptors.for_operators(), descriptors.for_outgoing());
            assert_eq!(shares, (callers, operators, outgoing), "{limit}");
            assert!(callers + operators + outgoing + RESERVE <= limit, "{limit}");
        }
    }

    /// Each caller has a second connection, to its upstream.
    #[test]
    fn fewer_callers_are_forwarded() {
        let descriptors = Descriptors(1024);
        let callers = descriptors.for_callers(Each::OwnAndForwarded);
        assert_eq!((callers, descriptors.shortage(callers, Each::OwnAndForwarded)), (292, None));
        assert!(descriptors.shortage(callers + 1, Each::OwnAndForwarded).is_some());
    }

    #[test]
    fn too_few_are_told() {
        assert!(Descriptors(8).check().unwrap_err().contains("needs 88 (`ulimit -n`)"));
        assert_eq!(Descriptors(Descriptors::FEWEST).check(), Ok(()));
        assert_eq!(Descriptors(1024).shortage(512, Each::Own), None);
        assert!(Descriptors(1024).shortage(1000, Each::Own).unwrap().contains("callers may keep operators"));
        let told = Descriptors(128).shortage(35, Each::Own).unwrap();
        assert!(told.contains("room for 35 connections of callers and 21 of operators"), "{told}");
    }
}
