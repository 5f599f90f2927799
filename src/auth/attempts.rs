//! Limits the wrong tokens that one address may try in a second, so that a weak token cannot be guessed quickly.
//!
//! - A token that a person chose may be weak. An address over the limit is refused before its token is compared,
//!   because the answer would tell a right token from a wrong one. An address that has shown a right token within the
//!   last five minutes has a reserve of failures, so that others at the same address do not lock its owner out. In the
//!   long run the limit is the same.
//! - A token that cannot be guessed needs no protection, so the right one is always accepted. Wrong ones over the limit
//!   are refused with a time to wait.
//!
//! A request without a token guesses nothing and is not counted. For callers the limit is off unless it is set: behind
//! a gateway, all callers have the gateway's address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Unauthorized;
use crate::config::Strength;

/// The burst: the failures that the limit allows in this time may come all at once.
const WINDOW: Duration = Duration::from_secs(1);
/// The burst of an address that has shown a right token, and the time for which this is remembered.
const TRUSTED_WINDOW: Duration = Duration::from_secs(300);
/// A right token is recorded again only after this time, so that most requests write nothing.
const RENEWED_AFTER: Duration = Duration::from_secs(60);
/// Most addresses remembered, in each of the two maps. Counting does not stop an attacker who has more addresses.
const MOST_ADDRESSES: usize = 10_000;

/// The failed attempts of each address.
#[derive(Debug)]
pub struct Attempts {
    most: Option<NonZeroU32>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The time until which the failures of an address count, if no more come. Each failure moves this time on.
    failing: HashMap<IpAddr, Instant>,
    /// The time at which an address last showed a right token, to within a minute.
    trusted: HashMap<IpAddr, Instant>,
}

/// This address has failed too often. It may try again after `retry_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFailures {
    /// Failures per second that one address may have.
    pub most: u32,
    pub retry_after: Duration,
}

/// The reason why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Unauthorized(Unauthorized),
    TooManyFailures(TooManyFailures),
}

impl Attempts {
    /// Allows `most` failures per second from one address; `None` for no limit.
    pub fn new(most: Option<NonZeroU32>) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Authenticates a request from `address`, within the limit. `strength` is the strength of the service's tokens.
    ///
    /// # Errors
    /// The reason why the request is denied.
    pub fn bound<T>(
        &self,
        address: IpAddr,
        strength: Strength,
        authenticate: impl FnOnce() -> Result<T, Unauthorized>,
    ) -> Result<T, Denied> {
        let Some(most) = self.most else { return authenticate().map_err(Denied::Unauthorized) };
        self.bound_at(most, origin(address), strength, authenticate, Instant::now())
    }

    fn bound_at<T>(
        &self,
        most: NonZeroU32,
        address: IpAddr,
        strength: Strength,
        authenticate: impl FnOnce() -> Result<T, Unauthorized>,
        now: Instant,
    ) -> Result<T, Denied> {
        let pause = WINDOW / most.get();
        let too_many = |retry_after| Denied::TooManyFailures(TooManyFailures { most: most.get(), retry_after });
        let can_be_guessed = strength == Strength::Guessable;
        if can_be_guessed {
            self.known().check(address, pause, now).map_err(too_many)?;
        }
        match authenticate() {
            Ok(shown) => {
                if can_be_guessed {
                    self.known().trust(address, now);
                }
                Ok(shown)
            }
            Err(Unauthorized::Missing) => Err(Denied::Unauthorized(Unauthorized::Missing)),
            Err(why) => match self.known().fail(address, pause, now) {
                Ok(()) => Err(Denied::Unauthorized(why)),
                Err(retry_after) => Err(too_many(retry_after)),
            },
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Checks that the address may fail once more; the error is the time to wait until it may. Each failure counts for
    /// `pause`, one after the other.
    fn check(&self, address: IpAddr, pause: Duration, now: Instant) -> Result<(), Duration> {
        let Some(worked_off) = self.failing.get(&address) else { return Ok(()) };
        let window = if self.is_trusted(address, now) { TRUSTED_WINDOW } else { WINDOW };
        let after_one_more = worked_off.saturating_duration_since(now) + pause;
        match after_one_more.checked_sub(window) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Counts a failure, unless the address is over the limit already.
    fn fail(&mut self, address: IpAddr, pause: Duration, now: Instant) -> Result<(), Duration> {
        self.check(address, pause, now)?;
        if make_room(&mut self.failing, address, |worked_off| *worked_off <= now) {
            let worked_off = self.failing.entry(address).or_insert(now);
            *worked_off = now.max(*worked_off) + pause;
        }
        Ok(())
    }

    fn is_trusted(&self, address: IpAddr, now: Instant) -> bool {
        self.trusted.get(&address).is_some_and(|shown| now.saturating_duration_since(*shown) < TRUSTED_WINDOW)
    }

    /// Notes that the address has shown a right token.
    fn trust(&mut self, address: IpAddr, now: Instant) {
        let since = |shown: &Instant| now.saturating_duration_since(*shown);
        let is_renewed = self.trusted.get(&address).is_none_or(|shown| since(shown) >= RENEWED_AFTER);
        if is_renewed && make_room(&mut self.trusted, address, |shown| since(shown) >= TRUSTED_WINDOW) {
            self.trusted.insert(address, now);
        }
    }
}

/// True if there is room for `address`. If the map is full, entries that have expired are removed first.
fn make_room<T>(all: &mut HashMap<IpAddr, T>, address: IpAddr, is_over: impl Fn(&T) -> bool) -> bool {
    if all.len() >= MOST_ADDRESSES && !all.contains_key(&address) {
        all.retain(|_, entry| !is_over(entry));
    }
    all.len() < MOST_ADDRESSES || all.contains_key(&address)
}

impl From<Unauthorized> for Denied {
    fn from(why: Unauthorized) -> Self {
        Self::Unauthorized(why)
    }
}

/// Returns the addresses of one party as one: an IPv4 address, or a /64 of IPv6, which is the least that a single
/// customer gets (RFC 6177).
pub fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();

    /// Attempts that are made at given milliseconds.
    struct Scene {
        attempts: Attempts,
        start: Instant,
        strength: Strength,
    }

    impl Scene {
        fn new(strength: Strength) -> Self {
            Self { attempts: Attempts::new(Some(THREE)), start: Instant::now(), strength }
        }

        fn show(&self, last: u32, millis: u64, shown: Result<(), Unauthorized>) -> Result<(), Denied> {
            let now = self.start + Duration::from_millis(millis);
            self.attempts.bound_at(THREE, ip(last), self.strength, || shown, now)
        }

        fn fail(&self, last: u32, millis: u64) -> Result<(), Denied> {
            self.show(last, millis, Err(Unauthorized::WrongToken))
        }
    }

    const WRONG: Result<(), Denied> = Err(Denied::Unauthorized(Unauthorized::WrongToken));

    fn ip(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    fn wait(millis: u64) -> Result<(), Denied> {
        Err(Denied::TooManyFailures(TooManyFailures { most: 3, retry_after: Duration::from_millis(millis) }))
    }

    /// Rounds up to whole milliseconds, because a third of a second is not a whole number of them.
    fn rounded(outcome: Result<(), Denied>) -> Result<(), Denied> {
        match outcome {
            Err(Denied::TooManyFailures(TooManyFailures { retry_after, .. })) => {
                wait(retry_after.as_nanos().div_ceil(1_000_000) as u64)
            }
            other => other,
        }
    }

    #[test]
    fn an_address_that_failed_often_waits_before_anything_is_compared_and_no_other_does() {
        let scene = Scene::new(Strength::Guessable);
        for _ in 0..3 {
            assert_eq!(scene.fail(1, 100), WRONG);
        }
        assert_eq!(rounded(scene.fail(1, 100)), wait(334));
        assert_eq!(rounded(scene.show(1, 200, Ok(()))), wait(234), "a right token is not told from a wrong one");
        assert_eq!(scene.show(2, 200, Ok(())), Ok(()));
        assert_eq!(scene.fail(1, 500), WRONG);
        assert!(matches!(scene.fail(1, 501), Err(Denied::TooManyFailures(_))));
        assert_eq!(scene.show(1, 1500, Ok(())), Ok(()));
    }

    #[test]
    fn who_has_shown_a_right_token_is_not_locked_out_by_others_at_its_address() {
        let scene = Scene::new(Strength::Guessable);
        assert_eq!(scene.show(1, 0, Ok(())), Ok(()));
        // Nineteen a second for half a minute.
        for step in 0..570 {
            assert_eq!(scene.fail(1, step * 1000 / 19), WRONG, "{step}");
            assert_eq!(scene.show(1, step * 1000 / 19, Ok(())), Ok(()), "{step}");
        }
    }

    #[test]
    fn guessing_is_bounded_in_the_long_run_whatever_has_been_shown() {
        let scene = Scene::new(Strength::Guessable);
        let hour = 3_600_000;
        let mut compared = 0;
        for millis in (0..hour).step_by(10) {
            let _ = scene.show(1, millis, Ok(()));
            compared += u64::from(scene.fail(1, millis) == WRONG);
        }
        let most = 3 * (hour / 1000 + TRUSTED_WINDOW.as_secs());
        assert!((most - 3..=most + 3).contains(&compared), "{compared} of {most}");
    }

    #[test]
    fn an_address_is_trusted_for_some_minutes() {
        let scene = Scene::new(Strength::Guessable);
        assert_eq!(scene.show(1, 0, Ok(())), Ok(()));
        for _ in 0..4 {
            assert_eq!(scene.fail(1, 299_900), WRONG);
        }
        assert!(matches!(scene.fail(1, 300_000), Err(Denied::TooManyFailures(_))));
    }

    #[test]
    fn a_token_that_nobody_guesses_is_let_in_at_any_time() {
        let scene = Scene::new(Strength::Unguessable);
        for _ in 0..3 {
            assert_eq!(scene.fail(1, 0), WRONG);
        }
        for _ in 0..1000 {
            assert_eq!(rounded(scene.fail(1, 0)), wait(334), "who is refused does not wait any longer for that");
            assert_eq!(scene.show(1, 0, Ok(())), Ok(()));
        }
        assert!(scene.attempts.known().trusted.is_empty());
    }

    #[test]
    fn a_request_without_a_token_guesses_nothing() {
        let scene = Scene::new(Strength::Guessable);
        for _ in 0..100 {
            let missing = Err(Denied::Unauthorized(Unauthorized::Missing));
            assert_eq!(scene.show(1, 0, Err(Unauthorized::Missing)), missing);
        }
        assert_eq!(scene.show(1, 0, Ok(())), Ok(()));
    }

    #[test]
    fn without_a_bound_nothing_is_remembered() {
        let attempts = Attempts::new(None);
        for _ in 0..100 {
            let wrong: Result<(), Denied> =
                attempts.bound(ip(1), Strength::Guessable, || Err(Unauthorized::WrongToken));
            assert_eq!(wrong, WRONG);
        }
        assert!(attempts.known().failing.is_empty());
    }

    #[test]
    fn however_many_addresses_fail_few_are_remembered() {
        let scene = Scene::new(Strength::Guessable);
        for last in 0..MOST_ADDRESSES as u32 + 100 {
            assert_eq!(scene.fail(last, 0), WRONG);
        }
        assert_eq!(scene.attempts.known().failing.len(), MOST_ADDRESSES);
        for _ in 0..2 {
            assert_eq!(scene.fail(7, 0), WRONG);
        }
        assert!(matches!(scene.fail(7, 0), Err(Denied::TooManyFailures(_))), "who is remembered stays so");
        assert_eq!(scene.fail(1 << 20, 2000), WRONG);
        assert_eq!(scene.attempts.known().failing.len(), 1, "and is forgotten when it is over");
        for last in 0..MOST_ADDRESSES as u32 + 100 {
            assert_eq!(scene.show(last, 2000, Ok(())), Ok(()));
        }
        assert_eq!(scene.attempts.known().trusted.len(), MOST_ADDRESSES);
    }

    #[test]
    fn a_line_of_ipv6_is_one_address() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
