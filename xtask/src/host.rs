//! A host process on an empty data directory and free ports, which ends with this program.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

#[cfg(feature = "bench")]
use crate::http;

/// The longest wait for a start. A host opens its ports before any slow work.
const START: Duration = Duration::from_secs(30);
/// The longest wait until a thousand services are started.
#[cfg(feature = "bench")]
const READY: Duration = Duration::from_secs(120);
/// The longest wait for the end; the host's own grace period is 30 s.
const STOP: Duration = Duration::from_secs(40);

/// The destination of a host's log.
pub(crate) enum Log<'a> {
    File(&'a Path),
    #[cfg(feature = "bench")]
    /// For measurements: at full speed, a log file would fill the disk. Lines are still formatted and written.
    Nowhere,
}

pub(crate) struct Host {
    child: Child,
    pub(crate) binary: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) admin_token: String,
}

impl Host {
    /// Starts `binary` on an empty `directory`; existing contents are removed.
    pub(crate) fn start(binary: &Path, directory: &Path, log: &Log<'_>) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        Self::resume(binary, directory, log, &[])
    }

    /// Starts `binary` with further arguments on the data that an earlier host has left in `directory`.
    pub(crate) fn resume(binary: &Path, directory: &Path, log: &Log<'_>, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let log: Stdio = match log {
            Log::File(path) => File::create(path).with_context(|| format!("cannot write {}", path.display()))?.into(),
            #[cfg(feature = "bench")]
            Log::Nowhere => Stdio::null(),
        };
        let mut child = Command::new(binary)
            .arg("serve")
            .arg("--data")
            .arg(directory)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            // The measured connection must not be closed by this limit.
            .args(["--max-requests-per-connection", "1000000000"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let line = child.stdout.take().and_then(first_line);
        let (Some((data, admin)), Ok(token)) =
            (line.as_deref().and_then(addresses), fs::read_to_string(directory.join("admin.token")))
        else {
            let _ = child.kill();
            let status = child.wait()?;
            bail!("the host did not start ({status}); it printed {line:?}; see its log");
        };
        let admin_token = token.trim().to_owned();
        Ok(Self { child, binary: binary.to_owned(), directory: directory.to_owned(), data, admin, admin_token })
    }

    #[cfg(feature = "bench")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every service is started.
    #[cfg(feature = "bench")]
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            if http::call(self.admin, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")?.status == 200 {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("the host was not ready after {} s", READY.as_secs());
    }

    /// Sends SIGTERM and waits until the host has drained and ended. A host that does not end in time is killed, which
    /// is an error.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the host has no pid")?;
        kill_process(pid, Signal::TERM).context("cannot send SIGTERM to the host")?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("the host did not end within {} s of SIGTERM", STOP.as_secs());
    }

    /// Waits until the host ends, for example after Ctrl-C.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Has no effect on a child that has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the first line, unless it takes too long. The thread continues to read, so that the host never blocks on a
/// full pipe.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(START).ok()
}

/// Parses `listening data=ADDR admin=ADDR`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (data, admin) = line.strip_prefix("listening data=")?.split_once(" admin=")?;
    Some((data.parse().ok()?, admin.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_both_addresses() {
        let expected = ("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap());
        assert_eq!(addresses("listening data=127.0.0.1:1 admin=[::1]:2"), Some(expected));
        assert_eq!(addresses("listening on 127.0.0.1:1"), None);
    }
}
