//! Bounds how many wrong tokens one address may try in a second, so that a weak token cannot be guessed at line rate.
//!
//! Over the bound, an address is refused before anything is compared: a right token would otherwise still be told from a
//! wrong one. That is also why it is for each address alone, and off for callers where a gateway gives all of them one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);
/// Addresses remembered at once. Whoever has more than these to attack from is not stopped by counting addresses.
const MOST_ADDRESSES: usize = 10_000;

/// The failed attempts of the last second, by address.
#[derive(Debug)]
pub struct Attempts {
    most: Option<NonZeroU32>,
    failed: Mutex<HashMap<IpAddr, Failed>>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    since: Instant,
    count: u32,
}

/// This address has failed too often; it may try again in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFailures {
    pub retry_after: Duration,
}

impl Attempts {
    /// `most` failures a second from one address; `None` for no bound.
    pub fn new(most: Option<NonZeroU32>) -> Self {
        Self { most, failed: Mutex::default() }
    }

    /// Before anything is compared: whether the address may try.
    ///
    /// # Errors
    /// When it has failed as often as it may in the present second.
    pub fn check(&self, address: IpAddr) -> Result<(), TooManyFailures> {
        if self.most.is_none() { Ok(()) } else { self.check_at(address, Instant::now()) }
    }

    /// The attempt failed.
    pub fn failed(&self, address: IpAddr) {
        self.failed_at(address, Instant::now());
    }

    fn check_at(&self, address: IpAddr, now: Instant) -> Result<(), TooManyFailures> {
        let Some(most) = self.most else { return Ok(()) };
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Failed { since, count }) = failed.get(&origin(address)) else { return Ok(()) };
        let left = WINDOW.saturating_sub(now.saturating_duration_since(*since));
        if *count < most.get() || left.is_zero() { Ok(()) } else { Err(TooManyFailures { retry_after: left }) }
    }

    fn failed_at(&self, address: IpAddr, now: Instant) {
        if self.most.is_none() {
            return;
        }
        let is_over = |failed: &Failed| now.saturating_duration_since(failed.since) >= WINDOW;
        let address = origin(address);
        let mut all = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, failed| !is_over(failed));
            if all.len() >= MOST_ADDRESSES {
                return;
            }
        }
        let failed = all.entry(address).or_insert(Failed { since: now, count: 0 });
        if is_over(failed) {
            *failed = Failed { since: now, count: 0 };
        }
        failed.count += 1;
    }
}

/// What one party has: an IPv4 address, or a /64 of IPv6, which any single line is given whole (RFC 6177).
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

    fn ip(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    #[test]
    fn an_address_that_failed_often_waits_for_the_next_second_and_no_other_does() {
        let attempts = Attempts::new(NonZeroU32::new(3));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(attempts.check_at(ip(1), at(100)), Ok(()));
            attempts.failed_at(ip(1), at(100));
        }
        let wait = Err(TooManyFailures { retry_after: Duration::from_millis(600) });
        assert_eq!(attempts.check_at(ip(1), at(500)), wait);
        assert_eq!(attempts.check_at(ip(2), at(500)), Ok(()));
        assert_eq!(attempts.check_at(ip(1), at(1100)), Ok(()));
        attempts.failed_at(ip(1), at(1100));
        assert_eq!(attempts.check_at(ip(1), at(1101)), Ok(()), "a new second, a new count");
    }

    #[test]
    fn without_a_bound_nothing_is_remembered() {
        let attempts = Attempts::new(None);
        for _ in 0..100 {
            attempts.failed(ip(1));
        }
        assert_eq!(attempts.check(ip(1)), Ok(()));
        assert!(attempts.failed.lock().unwrap().is_empty());
    }

    #[test]
    fn however_many_addresses_fail_few_are_remembered() {
        let attempts = Attempts::new(NonZeroU32::new(1));
        let start = Instant::now();
        for last in 0..MOST_ADDRESSES as u32 + 100 {
            attempts.failed_at(ip(last), start);
        }
        assert_eq!(attempts.failed.lock().unwrap().len(), MOST_ADDRESSES);
        assert!(attempts.check_at(ip(7), start).is_err(), "who is remembered stays so");
        attempts.failed_at(ip(1 << 20), start + WINDOW);
        assert_eq!(attempts.failed.lock().unwrap().len(), 1, "and is forgotten when it is over");
    }

    #[test]
    fn a_line_of_ipv6_is_one_address() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
