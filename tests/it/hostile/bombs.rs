//! Components that are small to send and expensive to compile, uploaded to a host that keeps serving.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bulkhead_hostile::{Expect, bombs};
use serde_json::json;

use super::{refused, try_deploy};
use crate::crowd::Over;
use crate::figures::{must, tell};
use crate::host::{Deployed, TestHost};
use crate::load::percentile;

/// The most CPU seconds that an upload may cost.
const MOST_SECONDS: f64 = 20.0;

#[test]
fn compile_bombs_are_refused_before_they_cost_much_and_nobody_beside_them_notices() {
    let host = TestHost::start_with(&["--max-requests-per-connection", "100000000"], "");
    let echo = host.deploy("echo", "echo", json!({}));
    let alone = neighbour(&host, &echo, || thread::sleep(Duration::from_secs(1)));
    let resident = resident_kib(&host);
    let beside = neighbour(&host, &echo, || upload_all(&host));
    let grown = resident_kib(&host).saturating_sub(resident) >> 10;
    tell("hostile.bombs.host_grown_mib", "at most 64 MiB", grown, grown <= 64);
    must("hostile.bombs.neighbour_answers", "every one right", beside.len(), !beside.is_empty());
    let p99 = |times: &[Duration]| (percentile(times, 99).as_secs_f64() * 1e6).round() / 1e3;
    let measured = json!({"alone_ms": p99(&alone), "beside_ms": p99(&beside)});
    tell("hostile.bombs.neighbour_p99", "at most 3 times", measured, p99(&beside) <= 3.0 * p99(&alone));
}

/// Measures the answer times of a client of another service during `work`, in rising order.
pub(super) fn neighbour(host: &TestHost, echo: &Deployed, work: impl FnOnce()) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| goes_on(host, echo, &over));
        {
            let _over = Over(&over);
            work();
        }
        neighbour.join().expect("every answer was right")
    })
}

/// Sends requests until `over`, and checks that each gets its own answer.
fn goes_on(host: &TestHost, echo: &Deployed, over: &AtomicBool) -> Vec<Duration> {
    let (mut client, mut times) = (host.client(), Vec::new());
    while !over.load(Ordering::SeqCst) {
        let body = times.len().to_string();
        let sent = Instant::now();
        assert_eq!(client.post(echo, body.as_bytes()).text(), body);
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    times
}

fn upload_all(host: &TestHost) {
    let mut wrong = Vec::new();
    let bombs = bombs();
    let mut dearest = 0.0_f64;
    for bomb in &bombs {
        let (before, began) = (child_seconds(host), Instant::now());
        let answer = try_deploy(host, "bomb", &bomb.component, json!({}), 1000);
        let (seconds, wall) = (child_seconds(host) - before, began.elapsed().as_secs_f64());
        dearest = dearest.max(seconds);
        let found = match bomb.expect {
            Expect::Refused(told) => refused(&answer, told),
            _ if answer.status == 201 => Ok(()),
            _ => Err(answer.text()),
        };
        if answer.status == 201 {
            assert!(host.call_admin("DELETE", "/api/v1/services/bomb", b"").status < 300);
        }
        let measured =
            json!({"status": answer.status, "bytes": bomb.component.len(), "child_s": seconds, "wall_s": wall});
        tell(
            &format!("hostile.bombs.{}", bomb.id.to_ascii_lowercase()),
            "as expected, within 20 s",
            measured,
            found.is_ok() && seconds <= MOST_SECONDS,
        );
        if let Err(found) = found {
            wrong.push(format!("{} {}: expected {:?}, found {found}", bomb.id, bomb.title, bomb.expect));
        }
    }
    tell("hostile.bombs.dearest_s", "at most 20 s of a processor", dearest, dearest <= MOST_SECONDS);
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), bombs.len(), wrong.join("\n"));
    must("hostile.bombs", "every outcome as expected", json!(format!("{} of {}", bombs.len(), bombs.len())), true);
}

fn resident_kib(host: &TestHost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Returns the CPU time of the host's ended children, in seconds.
fn child_seconds(host: &TestHost) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", host.pid())).expect("its account");
    // The name may contain any characters. After it, the state is field 3, and the children's two times are 16 and 17.
    let after = stat.rsplit_once(')').expect("a name").1;
    let ticks: u64 =
        after.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
