//! A cluster: upstreams that answer for the same services, and the choice between them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::StatusCode;
use tokio::task::AbortHandle;

use super::checks;
use super::failure::{Failure, Reset};
use super::link::Patience;
use super::upstream::Upstream;
use crate::config::ClusterSpec;

pub(super) struct Cluster {
    pub(super) spec: ClusterSpec,
    upstreams: Vec<Arc<Upstream>>,
    /// Held while the ejected upstreams are counted and one more is ejected.
    ejecting: Mutex<()>,
    checks: Vec<AbortHandle>,
}

impl Cluster {
    /// Starts a cluster with its health checks. Must be called within the runtime.
    pub(super) fn start(spec: ClusterSpec) -> Self {
        let upstreams: Vec<Arc<Upstream>> = spec
            .upstreams
            .iter()
            .map(|upstream| Arc::new(Upstream::new(&upstream.address, upstream.health_address.as_ref(), &spec)))
            .collect();
        let check = |upstream| Some(checks::start(&spec.name, upstream, spec.health_check.clone()?));
        let checks = upstreams.iter().filter_map(check).collect();
        Self { upstreams, spec, ejecting: Mutex::default(), checks }
    }

    pub(super) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { answer: self.spec.request_timeout, idle: self.spec.idle_timeout }
    }

    /// True if every upstream has been checked, or if there are no checks.
    pub(super) fn is_settled(&self) -> bool {
        self.spec.health_check.is_none() || self.upstreams.iter().all(|upstream| upstream.health.has_been_checked())
    }

    pub(super) fn has_another(&self, than: &Arc<Upstream>, now: Instant) -> bool {
        self.upstreams.iter().any(|upstream| !Arc::ptr_eq(upstream, than) && upstream.health.is_available(now))
    }

    /// Picks the less loaded of two usable upstreams that are drawn at random. `except` has been tried already.
    pub(super) fn pick(&self, except: Option<&Arc<Upstream>>, now: Instant) -> Option<&Arc<Upstream>> {
        if let [only] = &self.upstreams[..] {
            return (except.is_none() && only.health.is_available(now)).then_some(only);
        }
        let usable = |upstream: &&Arc<Upstream>| {
            except.is_none_or(|except| !Arc::ptr_eq(except, upstream)) && upstream.health.is_available(now)
        };
        let count = self.upstreams.iter().filter(usable).count();
        let nth = |n: usize| self.upstreams.iter().filter(usable).nth(n);
        if count < 2 {
            return nth(0);
        }
        let first = fastrand::usize(..count);
        // The second one is drawn from the others, so that the two differ.
        let second = (first + 1 + fastrand::usize(..count - 1)) % count;
        // One of the two may have become unusable since they were counted.
        match (nth(first), nth(second)) {
            (Some(a), Some(b)) => Some(if b.load() < a.load() { b } else { a }),
            (a, b) => a.or(b).or_else(|| nth(0)),
        }
    }

    /// Records an answer with this status. A 503 does not count against the upstream: hosts send it for one service of
    /// many.
    pub(super) fn answered(&self, upstream: &Upstream, status: StatusCode, now: Instant) {
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            self.note_failure(upstream, now);
        } else {
            upstream.health.succeeded();
        }
    }

    /// Records that an upstream has not answered.
    pub(super) fn failed(&self, upstream: &Upstream, failure: Failure, now: Instant) {
        upstream.count(failure);
        let is_its_doing = match failure {
            Failure::TimedOut => true,
            Failure::Reset { reason, .. } => reason != Reset::Overflow,
            Failure::NoHealthyUpstream | Failure::Stalled | Failure::Request(_) | Failure::Circle => false,
        };
        if is_its_doing {
            self.note_failure(upstream, now);
        }
    }

    fn note_failure(&self, upstream: &Upstream, now: Instant) {
        let Some(ejection) = &self.spec.ejection else { return };
        if !upstream.health.failed(ejection) {
            return;
        }
        let _alone = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if upstream.health.ejected_for(now).is_some() {
            return;
        }
        let out = self.upstreams.iter().filter(|upstream| upstream.health.ejected_for(now).is_some()).count();
        let most = self.upstreams.len() * ejection.max_share as usize / 100;
        if out < most {
            let time_ms = upstream.health.eject(ejection, now).as_millis() as u64;
            let (cluster, upstream) = (&self.spec.name, upstream.address());
            tracing::warn!(cluster, upstream, time_ms, "upstream ejected: too many of its requests failed in a row");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for check in &self.checks {
            check.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::GatewaySpec;
    use crate::incoming::Broken;

    fn cluster(upstreams: usize, ejection: &str) -> Cluster {
        let upstreams: Vec<String> = (1..=upstreams).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let text = format!(
            r#"{{"clusters": {{"c": {{"upstreams": [{}], "health_check": {{"interval_ms": 0}}, "ejection": {ejection}}}}},
                "routes": {{"*": "c"}}}}"#,
            upstreams.join(",")
        );
        Cluster::start(GatewaySpec::parse(&text).unwrap().clusters()[0].clone())
    }

    const AT_ONCE: &str = r#"{"consecutive_failures": 1, "time_ms": 1000, "max_time_ms": 1000}"#;

    #[test]
    fn every_upstream_that_can_be_used_is_picked_and_no_other() {
        let (cluster, now) = (cluster(4, AT_ONCE), Instant::now());
        cluster.failed(&cluster.upstreams[2], Failure::TimedOut, now);
        let mut picked = [0; 4];
        for _ in 0..1000 {
            let one = cluster.pick(Some(&cluster.upstreams[0]), now).unwrap();
            picked[cluster.upstreams.iter().position(|upstream| Arc::ptr_eq(upstream, one)).unwrap()] += 1;
        }
        assert!(picked[0] == 0 && picked[2] == 0 && picked[1] > 300 && picked[3] > 300, "{picked:?}");
        assert!(cluster.pick(None, now + Duration::from_secs(2)).is_some());
    }

    #[test]
    fn no_more_than_their_share_are_left_out_and_a_single_one_never_is() {
        let (four, now) = (cluster(4, AT_ONCE), Instant::now());
        for upstream in four.upstreams() {
            four.failed(upstream, Failure::TimedOut, now);
        }
        assert_eq!(four.upstreams.iter().filter(|upstream| upstream.health.is_available(now)).count(), 2);
        let one = cluster(1, AT_ONCE);
        one.failed(&one.upstreams[0], Failure::TimedOut, now);
        assert!(one.pick(None, now).is_some());
        assert!(one.pick(Some(&one.upstreams[0]), now).is_none());
    }

    #[test]
    fn what_says_nothing_about_an_upstream_does_not_count_against_it() {
        let (cluster, now) = (cluster(2, AT_ONCE), Instant::now());
        let first = &cluster.upstreams[0];
        cluster.answered(first, StatusCode::SERVICE_UNAVAILABLE, now);
        cluster.failed(first, Failure::Request(Broken::CutOff), now);
        cluster.failed(first, Failure::reset(Reset::Overflow), now);
        assert!(first.health.is_available(now));
        cluster.answered(first, StatusCode::BAD_GATEWAY, now);
        assert!(!first.health.is_available(now));
    }
}
