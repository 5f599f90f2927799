//! Other servers that answer the same requests. They are installed below `target/bench/peers`, started, and ended with
//! the bench.
//!
//! A server that cannot be installed or started is left out and reported; the others are measured.

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

/// The longest wait for a start; Python servers are slow to start.
const START: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// Peers with a target: Bulkhead's throughput as a multiple of theirs.
pub(super) const GOALS: [(&str, Goal); 2] = [(known::MOSEC_NAME, goals::MOSEC), (known::WORKERD_NAME, goals::WORKERD)];

/// Peers without a target: the ratio is only reported. wasmtime is measured in two modes, and we cannot influence how
/// fast each of them is.
pub(super) const STATED: [(&str, &str); 2] = [
    (known::WASMTIME_REUSE, "echo 1 KiB: to wasmtime serve, reuse and pooling"),
    (known::WASMTIME_DEFAULT, "echo 1 KiB: to wasmtime serve"),
];

/// The peer that runs the same component of `wasi:http` as Bulkhead, with instances that are used again.
pub(super) const WASI_HTTP: &str = known::WASMTIME_REUSE;

/// A server by another project, and how to install and run it.
struct Peer {
    name: &'static str,
    /// The directory of its installation.
    home: PathBuf,
    version: &'static str,
    /// The commands that install it, in order.
    install: Vec<Command>,
    /// The files that it reads, written before each start.
    files: Vec<(PathBuf, String)>,
    command: Command,
    port: u16,
    path: &'static str,
}

/// A running peer.
pub(super) struct Started {
    pub(super) server: Server,
    pub(super) version: &'static str,
    _running: Running,
}

/// Starts every installed peer; with `install`, installs the missing ones first.
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
            // Installers print to standard error, like cargo.
            children::run(command.current_dir(&self.home).stdin(Stdio::null()).stdout(std::io::stderr()))?;
        }
        // Written last, so that an interrupted installation is repeated.
        fs::write(self.stamp(), self.version).with_context(|| format!("cannot write {}", self.stamp().display()))
    }

    fn is_installed(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|version| version == self.version)
    }

    fn stamp(&self) -> PathBuf {
        self.home.join("installed.txt")
    }
}

/// Waits for a 200.
fn wait(running: &mut Running, address: SocketAddr, request: &[u8]) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = running.ended()? {
            bail!("it ended ({status}) instead of serving");
        }
        let answer = Caller::connect(address).and_then(|mut caller| caller.call(request));
        match answer {
            Ok(200) => return Ok(()),
            // The server may not listen yet, or its workers may not be ready.
            Ok(_) | Err(_) if Instant::now() < deadline => thread::sleep(GLANCE),
            Ok(status) => bail!("it answered {status}"),
            Err(error) => return Err(error.context("it does not answer")),
        }
    }
}

/// Returns a port that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
