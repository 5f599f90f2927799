//! D12: the wall clock jumps, as after being set or after a suspend. Time limits must not be affected.
//!
//! The host runs with libfaketime, which takes the wall clock's time from a file and leaves the monotonic clock
//! unchanged, like a kernel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::figures::{must, rounds, tell};
use crate::host::TestHost;

/// Returns the library for multi-threaded programs, at Debian's path.
fn library() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").ok()?.flatten();
    directories.map(|directory| directory.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}

/// Sets the offset of the host's wall clock from the true time.
fn set(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).unwrap();
    // Renamed atomically, because the host may be reading the file.
    std::fs::rename(new, file).unwrap();
}

/// Returns the number of minutes by which the host's wall clock is ahead, from the last line of its log.
fn ahead(host: &TestHost) -> i64 {
    let log = host.log();
    // The last complete line: a line may be half written.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let told = whole.lines().last().and_then(|line| humantime::parse_rfc3339(line.split(' ').next()?).ok());
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    (seconds(told.expect("a time")) - seconds(SystemTime::now())) / 60
}

#[test]
fn jumps_of_the_wall_clock_end_nothing_early_and_nothing_late() {
    let Some(library) = library() else {
        tell("clock.false_answers", "0 of 408 and 429", "skipped: libfaketime is not installed", true);
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("time");
    set(&file, "+0");
    let on = OsStr::new("1");
    let host = TestHost::start_among(&[
        ("LD_PRELOAD", library.as_os_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
        ("FAKETIME_NO_CACHE", on),
        ("FAKETIME_DONT_FAKE_MONOTONIC", on),
    ]);
    let rpc = json!({"worker_threads": 2, "keepalive": 3000, "rate_limit": 100_000});
    let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}}));
    let (mut client, mut answered, mut wrong) = (host.client(), 0, Vec::new());
    let mut ask = |body: &str| {
        let answer = client.post(&service, body.as_bytes());
        if answer.status == 200 { answered += 1 } else { wrong.push(format!("{}: {}", answer.status, answer.text())) }
    };
    for offset in ["+1h", "-1h", "+1h", "+0"].iter().cycle().take(rounds(8, 200)) {
        // Some requests run during the jump, some begin after it.
        std::thread::scope(|scope| {
            let under_way = scope.spawn(|| host.client().post(&service, br#"{"do":"sleep","ms":100}"#).status);
            host.wait_for("it to run", || {
                host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") > 0 || under_way.is_finished()
            });
            set(&file, offset);
            (0..20).for_each(|_| ask(r#"{"do":"flag"}"#));
            assert_eq!(under_way.join().unwrap(), 200, "under way when the clock went {offset}");
        });
        let minutes = match *offset {
            "+1h" => 60,
            "-1h" => -60,
            _ => 0,
        };
        // A thread reads the wall clock once a second. Repeated requests on one connection would exhaust that
        // connection.
        host.wait_for("the clock to have jumped", || {
            assert_eq!(host.client().post(&service, br#"{"do":"flag"}"#).status, 200);
            (ahead(&host) - minutes).abs() <= 1
        });
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let target = format!("0 of 408 and 429 in {answered} answers while the clock jumps");
    must("clock.false_answers", &target, wrong.len(), answered > 100);

    // Deadlines hold in spite of a jump in either direction.
    for offset in ["+1h", "-1h"] {
        std::thread::scope(|scope| {
            let began = Instant::now();
            let overdue = scope.spawn(|| host.client().post(&service, br#"{"do":"loop"}"#).status);
            host.wait_for("it to run", || host.metric("bulkhead_workers_busy{service=\"faults\",instance=\"0\"}") > 0);
            set(&file, offset);
            assert_eq!(overdue.join().unwrap(), 408);
            let took = began.elapsed();
            assert!(took >= Duration::from_secs(3), "{offset}: {took:?}");
            tell(
                "clock.overdue_ms",
                "3000 ms, its deadline, and at most 20 more",
                took.as_millis() as u64,
                took.as_millis() <= 3020,
            );
        });
    }
}
