//! Processor time and memory of processes, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The kernel's unit of time in `/proc`: hundredths of a second, independent of its own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time of processes up to a moment. Kept per thread, so that a thread that ends does not reduce the sum
/// of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpu {
    by_thread: HashMap<u32, Duration>,
    /// Seconds, in steps of a hundredth. Precise enough as a share of long runs.
    user: f64,
    kernel: f64,
}

/// The processor time between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spent {
    pub(super) total: Duration,
    /// The share of the processor time that was spent in the kernel.
    pub(super) kernel_share: f64,
}

impl Cpu {
    pub(super) fn of(pids: &[u32]) -> Result<Self> {
        let mut cpu = Self::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            let stat = stat.with_context(|| format!("process {pid} is gone"))?;
            let (user, kernel) = ticks(&stat).context("/proc/PID/stat is not as expected")?;
            cpu.user += user / TICKS_PER_SECOND;
            cpu.kernel += kernel / TICKS_PER_SECOND;
            cpu.by_thread.extend(scheduled(*pid)?);
        }
        Ok(cpu)
    }

    /// Returns the time since `before`. Time of threads that have ended since is not included; the servers here end no
    /// thread under load.
    pub(super) fn since(&self, before: &Self) -> Spent {
        let since = |(thread, time): (&u32, &Duration)| {
            time.saturating_sub(before.by_thread.get(thread).copied().unwrap_or_default())
        };
        let (user, kernel) = (self.user - before.user, self.kernel - before.kernel);
        let kernel_share = if user + kernel > 0.0 { kernel / (user + kernel) } else { 0.0 };
        Spent { total: self.by_thread.iter().map(since).sum(), kernel_share }
    }
}

/// Reads the time of each thread from the scheduler, which counts nanoseconds. `stat` counts only ticks.
fn scheduled(pid: u32) -> Result<HashMap<u32, Duration>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let time = |thread: fs::DirEntry| {
        // The thread may have ended since it was listed.
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = text.split_whitespace().next()?.parse().ok()?;
        Some((thread.file_name().to_str()?.parse().ok()?, Duration::from_nanos(nanos)))
    };
    Ok(threads.flatten().filter_map(time).collect())
}

/// Parses the ticks in user mode and in the kernel. The process name before them may contain spaces and parentheses.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Returns a process and all its descendants.
pub(super) fn family(pid: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // The process may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![pid];
    let mut seen = 0;
    while let Some(pid) = family.get(seen) {
        family.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        seen += 1;
    }
    Ok(family)
}

fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the resident memory in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS:").map(|kib| kib / 1024.0)
}

/// Returns memory in KiB. A page with many mappings, such as the code of a thousand services, counts once.
pub(super) fn proportional_kib(pid: u32) -> Result<f64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kib(file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in {file}"))?;
    line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{name} in {file} is not a number"))
}

/// Returns the number of cores that are busy while this program sleeps.
pub(super) fn busy_cores() -> Result<f64> {
    let start = Instant::now();
    let before = ticks_at_work()?;
    thread::sleep(Duration::from_secs(1));
    Ok((ticks_at_work()? - before) / TICKS_PER_SECOND / start.elapsed().as_secs_f64())
}

/// Returns the first line of `/proc/stat` without its idle columns.
fn ticks_at_work() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let columns = stat.lines().next().context("/proc/stat is empty")?.split_whitespace().skip(1);
    let ticks: Vec<f64> = columns.map(str::parse).collect::<Result<_, _>>().context("/proc/stat is not as expected")?;
    // Columns: user, nice, system, idle, iowait, irq, softirq, steal. Guests' time is already in user.
    Ok(ticks.iter().enumerate().filter(|(column, _)| matches!(column, 0..=2 | 5..=7)).map(|(_, ticks)| ticks).sum())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194304 100 0 0 0 21 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(parent(stat), Some(3));
        assert_eq!(ticks(stat), Some((21.0, 34.0)));
        assert_eq!(ticks("7 (a) S 3"), None);
    }

    #[test]
    fn our_work_is_counted_and_our_children_found() {
        let before = Cpu::of(&[std::process::id()]).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::black_box(0);
        }
        let worked = Cpu::of(&[std::process::id()]).unwrap().since(&before);
        assert!(worked.total > Duration::from_millis(1), "{worked:?}");

        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let family = family(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(family.contains(&child.id()) && family[0] == std::process::id(), "{family:?}");
    }

    #[test]
    fn a_thread_that_ends_takes_nothing_of_the_others_along() {
        let cpu = |threads: &[(u32, u64)], user, kernel| {
            let by_thread = threads.iter().map(|(thread, seconds)| (*thread, Duration::from_secs(*seconds))).collect();
            Cpu { by_thread, user, kernel }
        };
        let before = cpu(&[(1, 10), (2, 500)], 400.0, 110.0);
        let spent = cpu(&[(1, 13), (3, 1)], 401.0, 113.0).since(&before);
        assert_eq!(spent, Spent { total: Duration::from_secs(4), kernel_share: 0.75 });
        assert_eq!(before.since(&before), Spent { total: Duration::ZERO, kernel_share: 0.0 });
    }
}
