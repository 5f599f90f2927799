//! What a process has cost, from `/proc`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Processor time of all threads of a process that are still alive; the servers here do not end any under load.
///
/// The scheduler's own account counts nanoseconds, `stat` only ticks of a hundredth of a second.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let mut nanos = 0;
    for thread in threads {
        // A thread may end between being listed and being read.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += text.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib / 1024.0)
}

/// How many cores are at work while we do nothing.
pub(super) fn busy_cores() -> Result<f64> {
    let start = Instant::now();
    let before = ticks_at_work()?;
    thread::sleep(Duration::from_secs(1));
    // The kernel counts in hundredths of a second, whatever its own clock does.
    Ok((ticks_at_work()? - before) / 100.0 / start.elapsed().as_secs_f64())
}

/// The first line of `/proc/stat` without its idle columns.
fn ticks_at_work() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let columns = stat.lines().next().context("/proc/stat is empty")?.split_whitespace().skip(1);
    let ticks: Vec<f64> = columns.map(str::parse).collect::<Result<_, _>>().context("/proc/stat is not as expected")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is already in user.
    Ok(ticks.iter().enumerate().filter(|(column, _)| matches!(column, 0..=2 | 5..=7)).map(|(_, ticks)| ticks).sum())
}
