//! Child processes of the bench. None of them outlives the bench, however it ends.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code that a shell reports for an interrupted program.
const INTERRUPTED: i32 = 130;
/// The longest wait for a process to end. A gateway finishes its running requests; a counting build writes its counts.
const END: Duration = Duration::from_secs(40);

/// All processes to kill on SIGINT or SIGTERM. Process-wide because signals are.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

#[derive(Clone, Copy, Debug, PartialEq)]
enum Watched {
    Process(Pid),
    /// A process group, for servers that start processes of their own.
    Group(Pid),
}

/// Ends this program on Ctrl-C or SIGTERM, its children first.
pub(super) fn end_with_us() -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // The lock is held until the exit, so that no further process is started.
        let watched = watched();
        watched.iter().for_each(|watched| watched.kill());
        eprintln!("\ninterrupted: ended {} processes of the bench", watched.len());
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

/// Registers a process that another module has started, so that it is killed on SIGINT or SIGTERM. In the usual case
/// its owner ends it.
pub(super) fn adopt(pid: u32) -> Result<Adopted> {
    let watched_process = Watched::Process(to_pid(pid)?);
    watched().push(watched_process);
    Ok(Adopted(watched_process))
}

#[must_use]
pub(super) struct Adopted(Watched);

impl Drop for Adopted {
    fn drop(&mut self) {
        forget(self.0);
    }
}

/// A process and all that it starts; dropping this value kills them.
pub(super) struct Running {
    child: Child,
    group: Watched,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;

        let program = command.get_program().to_owned();
        let mut watched = watched();
        let child = command.process_group(0).spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let group = Watched::Group(to_pid(child.id())?);
        watched.push(group);
        Ok(Self { child, group })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends SIGTERM and waits for the end. An error if the process fails or does not end in time.
    pub(super) fn finish(mut self) -> Result<()> {
        kill_process(to_pid(self.pid())?, Signal::TERM).context("cannot send SIGTERM to a process")?;
        let deadline = Instant::now() + END;
        loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("after SIGTERM, a process ended with {status}"),
                None if Instant::now() > deadline => bail!("a process did not end after SIGTERM"),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Returns the exit status if the process has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.kill();
        let _ = self.child.wait();
        forget(self.group);
    }
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let mut running = Running::start(command)?;
    let status = running.child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", program.display());
    }
    Ok(())
}

impl Watched {
    fn kill(&self) {
        // The process may have ended already.
        let _ = match *self {
            Self::Process(pid) => kill_process(pid, Signal::KILL),
            Self::Group(pid) => kill_process_group(pid, Signal::KILL),
        };
    }
}

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(gone: Watched) {
    watched().retain(|watched| *watched != gone);
}

fn to_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process without a pid")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_a_server_has_started_ends_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & echo $!; wait"]).stdout(Stdio::piped());
        let mut running = Running::start(&mut command).unwrap();
        let mut line = String::new();
        BufReader::new(running.stdout().unwrap()).read_line(&mut line).unwrap();
        let grandchild = to_pid(line.trim().parse().unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(grandchild).is_ok());
        drop(running);
        // The kernel ends the grandchild when it is next scheduled; it may stay a zombie until init reaps it.
        let stat = format!("/proc/{}/stat", line.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "it lives on");
            thread::yield_now();
        }
    }

    #[test]
    fn who_is_told_to_end_must_end_well() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            let mut running = Running::start(command.args(["-c", script]).stdout(Stdio::piped())).unwrap();
            // The script prints a line once its trap is set.
            let mut line = String::new();
            BufReader::new(running.stdout().unwrap()).read_line(&mut line).unwrap();
            running
        };
        shell("trap 'exit 0' TERM; echo; while :; do sleep 0.01; done").finish().unwrap();
        let failed = shell("trap 'exit 3' TERM; echo; while :; do sleep 0.01; done").finish().unwrap_err();
        assert!(failed.to_string().ends_with("exit status: 3"), "{failed}");
    }

    #[test]
    fn a_failure_is_told() {
        assert!(run(&mut Command::new("true")).is_ok());
        assert!(run(&mut Command::new("false")).unwrap_err().to_string().contains("`false` failed"));
        assert!(run(&mut Command::new("/nowhere/at-all")).is_err());
    }
}
