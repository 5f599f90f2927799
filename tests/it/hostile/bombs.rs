//! Components that are small to send and dear to compile, through the API of a host that goes on serving.

use std::time::Instant;

use bulkhead_hostile::{Expect, bombs};
use serde_json::json;

use super::{refused, try_deploy};
use crate::figures::{must, tell};
use crate::host::TestHost;

/// Processor seconds that any upload may cost.
const MOST_SECONDS: f64 = 20.0;

#[test]
fn compile_bombs_are_refused_before_they_cost_much() {
    let host = TestHost::start();
    let echo = host.deploy("echo", "echo", json!({}));
    let mut wrong = Vec::new();
    let bombs = bombs();
    let mut dearest = 0.0_f64;
    for bomb in &bombs {
        let (before, began) = (child_seconds(&host), Instant::now());
        let answer = try_deploy(&host, "bomb", &bomb.component, json!({}), 1000);
        let (seconds, wall) = (child_seconds(&host) - before, began.elapsed().as_secs_f64());
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
        assert_eq!(host.client().post(&echo, b"beside").body, b"beside", "beside {}", bomb.id);
    }
    tell("hostile.bombs.dearest_s", "at most 20 s of a processor", dearest, dearest <= MOST_SECONDS);
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), bombs.len(), wrong.join("\n"));
    must("hostile.bombs", "every outcome as expected", json!(format!("{} of {}", bombs.len(), bombs.len())), true);
}

/// Processor time of the host's children that have ended, in seconds.
fn child_seconds(host: &TestHost) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", host.pid())).expect("its account");
    // After the name, which may hold anything: the state is field 3, and the children's two times are 16 and 17.
    let after = stat.rsplit_once(')').expect("a name").1;
    let ticks: u64 =
        after.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
