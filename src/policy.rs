//! Limits of a whole service, checked before any work is done for a request: its rate, and the number of requests under
//! way. A service without limits costs one check.

mod rate;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use self::rate::Rate;
use crate::config::GatewayPolicy;

/// The limit that refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    pub limit: Limit,
    /// The value of the limit.
    pub most: u64,
    /// The time after which a request may pass.
    pub retry_after: Duration,
}

/// A kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `metadata.rpc.rate_limit`.
    Instances,
    /// The rate of the whole service or route.
    Rate(LimitOf),
    /// The number of requests under way in the whole service or route.
    Concurrency(LimitOf),
}

/// The owner of a limit. The same limit has one key in a service file and another in a gateway's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOf {
    Service,
    Route,
}

/// The limits of one service. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Policy(Option<Arc<Limits>>);

#[derive(Debug)]
struct Limits {
    owner: LimitOf,
    of: GatewayPolicy,
    rate: Option<Rate>,
    under_way: AtomicU32,
}

/// A request that has passed the limits. It is under way until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct InFlight(Option<Arc<Limits>>);

impl Policy {
    /// Creates the limits of a service. If they equal those of `before`, they share its counts.
    pub fn of(owner: LimitOf, policy: GatewayPolicy, before: Option<&Self>) -> Self {
        if policy == GatewayPolicy::default() {
            return Self(None);
        }
        if let Some(Self(Some(limits))) = before
            && limits.of == policy
            && limits.owner == owner
        {
            return Self(Some(Arc::clone(limits)));
        }
        let rate = policy.rate_limit.map(|limit| Rate::per_second(limit.into()));
        Self(Some(Arc::new(Limits { owner, of: policy, rate, under_way: AtomicU32::new(0) })))
    }

    /// Admits a request, or returns the limit that refuses it.
    pub fn enter(&self) -> Result<InFlight, Limited> {
        let Some(limits) = &self.0 else { return Ok(InFlight(None)) };
        let most = limits.of.concurrency_limit.map_or(u32::MAX, NonZeroU32::get);
        let one_more = |under_way: u32| (under_way < most).then_some(under_way + 1);
        if limits.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            let limit = Limit::Concurrency(limits.owner);
            return Err(Limited { limit, most: most.into(), retry_after: Duration::ZERO });
        }
        let entered = InFlight(Some(Arc::clone(limits)));
        if let Some(rate) = &limits.rate {
            let most = limits.of.rate_limit.map_or(u64::MAX, |limit| limit.get().into());
            rate.pass().map_err(|retry_after| Limited { limit: Limit::Rate(limits.owner), most, retry_after })?;
        }
        Ok(entered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(limits) = &self.0 {
            limits.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rate: u32, concurrency: u32) -> GatewayPolicy {
        GatewayPolicy { rate_limit: NonZeroU32::new(rate), concurrency_limit: NonZeroU32::new(concurrency) }
    }

    fn of(policy: GatewayPolicy, before: Option<&Policy>) -> Policy {
        Policy::of(LimitOf::Service, policy, before)
    }

    #[test]
    fn a_request_under_way_holds_its_place_until_it_is_dropped() {
        let limits = of(policy(0, 2), None);
        let first = limits.enter().unwrap();
        let _second = limits.enter().unwrap();
        let limited = limits.enter().unwrap_err();
        assert_eq!((limited.limit, limited.most), (Limit::Concurrency(LimitOf::Service), 2));
        drop(first);
        let _third = limits.enter().unwrap();
        assert!(limits.enter().is_err());
    }

    #[test]
    fn one_that_is_past_the_rate_holds_no_place() {
        let limits = of(policy(1, 5), None);
        let _first = limits.enter().unwrap();
        let limited = limits.enter().unwrap_err();
        assert_eq!((limited.limit, limited.most), (Limit::Rate(LimitOf::Service), 1));
        assert!(limited.retry_after > Duration::from_millis(900));
        assert_eq!(limits.0.as_ref().unwrap().under_way.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_new_version_goes_on_with_the_account_of_the_same_limits() {
        let before = of(policy(0, 1), None);
        let _entered = before.enter().unwrap();
        assert!(of(policy(0, 1), Some(&before)).enter().is_err());
        assert!(of(policy(0, 2), Some(&before)).enter().is_ok());
        assert!(of(policy(0, 0), Some(&before)).enter().is_ok());
    }
}
