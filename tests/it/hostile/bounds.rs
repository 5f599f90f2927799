//! Exact limits: fuel, memory of the host, and isolation between requests.

use std::time::Instant;

use serde_json::json;

use super::{deploy_component, named, polite_answer};
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};

#[test]
fn a_call_costs_the_same_fuel_each_time_and_one_unit_less_is_too_little() {
    let host = TestHost::start();
    let component = bulkhead_hostile::good();
    let deploy = |name: &str, fuel: u64| {
        let sandbox = json!({"fuel": fuel, "expose": ["fuel"], "isolation": "fresh"});
        deploy_component(&host, name, &component, sandbox, 5000).unwrap()
    };
    let fuel = |service: &Deployed| {
        let answer = polite_answer(&host, service);
        answer.header("x-bulkhead-fuel").expect("it is told").parse::<u64>().expect("a number")
    };
    let ample = deploy("ample", 1_000_000);
    let cost = fuel(&ample);
    let rounds = rounds(50, 1000);
    let same = (0..rounds).filter(|_| fuel(&ample) == cost).count();
    must("hostile.fuel.same_each_time", "every time", same, same == rounds);
    // Fuel is checked where functions and loops begin, so the last few units of a call are never needed. The least
    // sufficient amount is a little less than the cost, and is found by bisection.
    let (mut too_little, mut enough) = (cost / 2, cost);
    while enough - too_little > 1 {
        let between = too_little.midpoint(enough);
        match polite_answer(&host, &deploy("between", between)).status {
            200 => enough = between,
            _ => too_little = between,
        }
        assert!(host.call_admin("DELETE", "/api/v1/services/between", b"").status < 300);
    }
    let (enough_for_it, one_less) = (deploy("enough", enough), deploy("one-less", enough - 1));
    let right = (0..rounds).filter(|_| {
        polite_answer(&host, &one_less).assert_problem(400, "fuel_exhausted");
        // The reported cost is the whole allowance, since no more can be spent.
        fuel(&enough_for_it) == enough
    });
    let (right, target) = (right.count(), format!("{enough} of {cost} are enough, one less never is, {rounds} times"));
    must("hostile.fuel.to_the_unit", &target, right, right == rounds);
    assert!(cost - enough <= 1, "{enough} of {cost}");
}

#[test]
fn lengths_that_no_guest_has_cost_the_host_no_memory() {
    let host = TestHost::start();
    let before = peak(&host);
    for id in [
        "E8-minus",
        "E8-half",
        "E6",
        "E6-all",
        "E8-zeroes",
        "H6-minus",
        "H6-half",
        "H5-count",
        "H5-wrap",
        "H5-shared",
        "D4-length",
    ] {
        let guest = named(id);
        let name = id.to_ascii_lowercase();
        match deploy_component(&host, &name, &guest.component, json!({}), 5000) {
            Ok(service) => {
                for _ in 0..5 {
                    host.client().post(&service, b"").assert_problem(400, "processor_exception");
                }
            }
            Err(refused) => assert!(id.starts_with('D'), "{id}: {refused}"),
        }
    }
    let grown = peak(&host).saturating_sub(before) >> 10;
    // A call may copy up to twice the limit of an answer, plus a mebibyte, out of its guest: 33 MiB.
    must("hostile.peak_grown_mib", "less than two calls may copy, 66 MiB, and the guests", grown, grown < 128);
}

/// Returns the host's peak resident memory in KiB.
fn peak(host: &TestHost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_panic_that_was_survived_is_not_told_to_the_next_caller() {
    let host = TestHost::start();
    let component = bulkhead_hostile::processor(
        r#"(data (i32.const 4096) "what one caller said")
           (func $act
                (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (unreachable)))
                (call $report_panic (i32.const 4096) (i32.const 20) (i32.const 0) (i32.const 0) (i32.const 0)))"#,
    );
    let service = deploy_component(&host, "panics", &component, json!({}), 5000).unwrap();
    assert_eq!(host.client().post(&service, b"").status, 200);
    let problem = host.client().post(&service, b"").assert_problem(400, "processor_exception");
    assert_eq!(problem["detail"], "the processor trapped: unreachable executed, in act");
}

/// The host fits a slice to the cost of a processor's fuel. This processor first uses cheap fuel, so that its slices
/// become as long as possible. Then it spends them on calls that are expensive for the host and cheap in fuel.
#[test]
fn long_slices_that_were_honestly_come_by_hold_no_thread() {
    let host = TestHost::start_with(&["--io-threads", "1"], "");
    let component = bulkhead_hostile::processor(
        r#"(memory (export "memory") 128)
           (func $polite (result i32) (local $left i32) (local.set $left (i32.const 10))
                (loop $again
                    (memory.fill (i32.const 131072) (i32.const 7) (i32.const 8000000))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
                (i32.const 1024))
           (func $act (loop $again (drop (call $now)) (drop (call $now)) (drop (call $now)) (drop (call $now)) (br $again)))"#,
    );
    let service = deploy_component(&host, "trained", &component, json!({}), 50).unwrap();
    for _ in 0..30 {
        polite_answer(&host, &service);
    }
    let began = Instant::now();
    host.client().post(&service, b"").assert_problem(408, "deadline_exceeded");
    let late = began.elapsed().as_millis() as u64 - 50;
    tell("hostile.trained.stopped_late_ms", "at most 20 ms after the deadline", late, late <= 20);
    assert!(late < 3000, "it held the thread for {late} ms past its deadline");
}
