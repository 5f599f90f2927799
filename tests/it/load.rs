//! Overload: five times as many requests as the host can serve, and thousands of clients that never finish.

mod generator;
mod lingering;
mod slow;

pub(crate) use self::generator::percentile;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use self::generator::{Generator, Outcomes};
use crate::crowd::Over;
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::request;

const WORKERS: usize = 5;
const QUEUE: u64 = 16;

/// Rounds to two decimals.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Returns the deepest queue that the metrics show until `over`.
fn deepest_queue(host: &TestHost, over: &AtomicBool) -> u64 {
    let mut deepest = 0;
    while !over.load(Ordering::SeqCst) {
        deepest = deepest.max(host.metric("bulkhead_queue_depth{service=\"faults\",instance=\"0\"}"));
    }
    deepest
}

/// Sends one request after the other until twenty in a row are served. Returns the time from `end` to the first of the
/// twenty.
fn recovery(host: &TestHost, service: &Deployed, end: Instant) -> Duration {
    let mut client = host.client();
    let (mut streak, mut first) = (0, Duration::ZERO);
    host.wait_for("twenty served in a row", || {
        if client.post(service, br#"{"do":"sleep","ms":10}"#).status != 200 {
            streak = 0;
            return false;
        }
        streak += 1;
        if streak == 1 {
            first = end.elapsed();
        }
        streak == 20
    });
    first
}

#[test]
fn five_times_too_much_costs_nothing_of_what_can_be_done() {
    let seconds = Duration::from_secs(rounds(3, 60) as u64);
    let host = TestHost::start();
    let keys = json!({"metadata": {"rpc": {"worker_threads": WORKERS, "max_queue_size": QUEUE}}});
    let service = host.deploy("faults", "faults", keys);
    let headers = [("authorization", service.token.as_str())];
    let bytes = request("POST", &service.path, &headers, br#"{"do":"sleep","ms":10}"#);
    let generator = Generator::new(host.data, &bytes);

    // Twice as many callers as workers keep every worker busy.
    let capacity = generator.closed_loop(2 * WORKERS, Duration::from_secs(rounds(1, 5) as u64));
    let over = AtomicBool::new(false);
    let (outcomes, deepest, end) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| deepest_queue(&host, &over));
        let watching = Over(&over);
        let outcomes = generator.open_loop(5.0 * capacity, seconds);
        let end = Instant::now();
        drop(watching);
        (outcomes, watcher.join().expect("it ends"), end)
    });
    let recovered = recovery(&host, &service, end);

    let Outcomes { sent, served, full, other, .. } = &outcomes;
    must("load.overload.answers", &format!("0 of {sent} neither 200 nor 450"), other.len(), {
        assert!(other.is_empty(), "{other:?}");
        served.len() + full.len() == *sent && !full.is_empty()
    });
    must(
        "load.overload.deepest_queue",
        &format!("at most {QUEUE}, its bound"),
        deepest,
        (1..=QUEUE).contains(&deepest),
    );
    tell(
        "load.overload.capacity_rps",
        "what 5 workers do in 10 ms each, at most 500",
        capacity.round(),
        capacity > 0.0,
    );
    let offered = *sent as f64 / outcomes.took.as_secs_f64() / capacity;
    tell("load.overload.offered", "5 times the capacity", rounded(offered), offered > 4.5);
    let goodput = served.len() as f64 / outcomes.took.as_secs_f64() / capacity;
    tell("load.overload.goodput", "at least 0.9 of the capacity", rounded(goodput), goodput >= 0.9);
    let (refused, answered) = (outcomes.full_p(99), outcomes.served_p(99));
    tell("load.overload.450_p99_ms", "at most 5 ms", millis(refused), refused <= Duration::from_millis(5));
    // A worker needs 10 ms for each request: for those of a full queue, and for the measured one.
    let bound = Duration::from_millis(10 * (QUEUE.div_ceil(WORKERS as u64) + 1) * 2);
    let target = format!("at most {} ms, twice the queue before it", bound.as_millis());
    tell("load.overload.200_p99_ms", &target, millis(answered), answered <= bound);
    tell("load.overload.recovery_ms", "at most 1000 ms", millis(recovered), recovered <= Duration::from_secs(1));
}
