//! The standard sequence under load: create, modify, a canary with a tenth of the requests, and back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{go_back, keys, mark_on, marked, modify, modify_to, svc};
use crate::crowd::Over;
use crate::figures::{must, rounds};
use crate::host::TestHost;

#[test]
fn create_modify_canary_and_back_under_load_without_a_failed_request() {
    let while_canary = rounds(2_000, 100_000) as u64;
    let host = TestHost::start_with(&["--max-requests-per-connection", "1000000"], "");
    host.deploy("svc", "faults", keys(1));
    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    // The client panics on a failed connection or an invalid answer, and `mark_on` on any status but 200.
    let load = || {
        let (mut by_mark, mut client) = (BTreeMap::<u64, u64>::new(), host.client());
        while !over.load(Ordering::SeqCst) {
            *by_mark.entry(mark_on(&mut client)).or_default() += 1;
            answered.fetch_add(1, Ordering::SeqCst);
        }
        by_mark
    };
    let seen_since = |begin: u64, count: u64| {
        host.wait_for("requests to be answered", || answered.load(Ordering::SeqCst) >= begin + count);
    };
    let by_version = |version: u64| {
        host.metric(&format!("bulkhead_version_requests_total{{service=\"svc\",version=\"{version}\",status=\"200\"}}"))
    };
    let (totals, by_canary) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let loading = Over(&over);
        seen_since(0, 100);
        assert_eq!(modify_to(&host, 2), 2);
        seen_since(answered.load(Ordering::SeqCst), 100);
        let canary = modify(&host, json!({"spec": {"processor_envs": marked(3)}, "canary": 10}));
        assert_eq!(canary.status, 200, "{}", canary.text());
        host.wait_for("the canary to have its share", || by_version(2) + by_version(3) >= while_canary);
        let by_canary = [by_version(2), by_version(3)];
        assert_eq!(go_back(&host, 1).status, 200);
        assert_eq!(mark_on(&mut host.client()), 1);
        seen_since(answered.load(Ordering::SeqCst), 100);
        drop(loading);
        let mut totals = BTreeMap::<u64, u64>::new();
        for by_mark in clients.into_iter().map(|client| client.join().expect("every request is answered with 200")) {
            for (mark, count) in by_mark {
                *totals.entry(mark).or_default() += count;
            }
        }
        (totals, by_canary)
    });
    let all: u64 = totals.values().sum();
    must("versions.run.failed", &format!("0 of {all} requests and their connections, by version {totals:?}"), 0, {
        totals.keys().copied().eq(1..=3)
    });
    let [current, canary] = by_canary;
    let percent = 100.0 * canary as f64 / (current + canary) as f64;
    // The share may be wrong by the requests that were running when the numbers were read.
    let off = canary.abs_diff((current + canary) / 10);
    let target = format!("10 % of {} requests, give or take those under way", current + canary);
    must("versions.run.canary_percent", &target, (percent * 100.0).round() / 100.0, off <= 8);
    assert_eq!(host.metric("bulkhead_requests_total{service=\"svc\",status=\"200\"}"), all + 1);
    host.client().post(&svc(), br#"{"do":"inspect"}"#);
}
