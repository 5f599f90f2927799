//! Other servers that are asked the same: found or installed below `target/bench/peers`, started, and ended with us.
//!
//! Whoever cannot be had is left out and named, and the rest is measured.

mod known;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::children::{self, Running};
use super::goals;
use super::open::Caller;
use super::report::{Goal, Skipped};
use super::server::Server;
use crate::{http, stage};

/// Python takes its time.
const START: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// Peers whose throughput Bulkhead's should be a multiple of.
pub(super) const GOALS: [(&str, Goal); 2] =
    [(known::MOSEC_NAME, goals::MOSEC), (known::WORKERD_NAME, goals::WORKERD)];

/// Peers beside which Bulkhead's throughput is stated and not judged: in the tool's two modes it moves by a factor with
/// what the tool can do fast, which is not ours to decide.
pub(super) const STATED: [(&str, &str); 2] = [
    (known::WASMTIME_REUSE, "echo 1 KiB: to wasmtime serve, reuse and pooling"),
    (known::WASMTIME_DEFAULT, "echo 1 KiB: to wasmtime serve"),
];

/// A server that somebody else has written, and how it is had and run.
struct Peer {
    name: &'static str,
    /// Where what it needs is kept.
    home: PathBuf,
    version: &'static str,
    /// Commands that bring it there, in turn.
    install: Vec<Command>,
    /// What it reads, written each time.
    files: Vec<(PathBuf, String)>,
    command: Command,
    port: u16,
    path: &'static str,
}

/// One that runs.
pub(super) struct Started {
    pub(super) server: Server,
    pub(super) version: &'static str,
    _running: Running,
}

/// Starts everyone who is installed; `install` says whether to bring those who are not.
pub(super) fn start(directory: &Path, body: &[u8], install: bool) -> Result<(Vec<Started>, Vec<Skipped>)> {
    let (mut started, mut skipped) = (Vec::new(), Vec::new());
    for peer in known::peers(directory)? {
        let name = peer.name;
        match peer.start(body, install) {
            Ok(peer) => started.push(peer),
            Err(error) => {
                let why = format!("{error:#}");
                stage::announce(&format!("without {name}: {why}"));
                skipped.push(Skipped { name: name.to_owned(), why });
            }
        }
    }
    Ok((started, skipped))
}

impl Peer {
    fn start(mut self, body: &[u8], install: bool) -> Result<Started> {
        if !self.is_installed() {
            if !install {
                bail!("not installed; `cargo xtask bench` without --quick installs it");
            }
            self.install()?;
        }
        for (path, text) in &self.files {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let log = self.home.join("log.txt");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        self.command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut running = Running::start(&mut self.command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let request = http::request("POST", self.path, "none", body);
        wait(&mut running, address, &request).with_context(|| format!("see {}", log.display()))?;
        let server = Server::new(self.name, address, running.pid(), vec![request]).with_family()?;
        Ok(Started { server, version: self.version, _running: running })
    }

    fn install(&mut self) -> Result<()> {
        stage::announce(&format!("installing {} {} into {}", self.name, self.version, self.home.display()));
        fs::create_dir_all(&self.home).with_context(|| format!("cannot make {}", self.home.display()))?;
        for command in &mut self.install {
            // What it says goes where cargo speaks.
            children::run(command.current_dir(&self.home).stdin(Stdio::null()).stdout(std::io::stderr()))?;
        }
        // Last, so that one that broke off half-way is brought anew.
        fs::write(self.stamp(), self.version).with_context(|| format!("cannot write {}", self.stamp().display()))
    }

    fn is_installed(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|version| version == self.version)
    }

    fn stamp(&self) -> PathBuf {
        self.home.join("installed.txt")
    }
}

/// Until it gives a good answer.
fn wait(running: &mut Running, address: SocketAddr, request: &[u8]) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = running.ended()? {
            bail!("it ended ({status}) instead of serving");
        }
        let answer = Caller::connect(address).and_then(|mut caller| caller.call(request));
        match answer {
            Ok(200) => return Ok(()),
            // It may not listen yet, or not be ready behind its front.
            Ok(_) | Err(_) if Instant::now() < deadline => thread::sleep(GLANCE),
            Ok(status) => bail!("it answered {status}"),
            Err(error) => return Err(error.context("it does not answer")),
        }
    }
}

/// One that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
