//! A server under test: its address, its processes, and its requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::usage::{self, Cpu};
use super::{closed, open};

/// One server and its requests. Several values may stand for the same process.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pids: Vec<u32>,
    /// The requests, sent in turn.
    requests: Arc<[Vec<u8>]>,
    /// The statuses that are not a failure.
    expected: &'static [u16],
}

impl Server {
    /// Makes a server of one process.
    pub(super) fn new(name: &str, address: SocketAddr, pid: u32, requests: Vec<Vec<u8>>) -> Self {
        assert!(!requests.is_empty(), "a server needs a request");
        Self { name: name.to_owned(), address, pids: vec![pid], requests: requests.into(), expected: &[200] }
    }

    /// Adds the processes that the server has started so far.
    pub(super) fn with_family(self) -> Result<Self> {
        let pids = self.pids.iter().map(|pid| usage::family(*pid)).collect::<Result<Vec<_>>>()?.concat();
        Ok(Self { pids, ..self })
    }

    /// Sets the expected statuses.
    pub(super) fn expecting(self, expected: &'static [u16]) -> Self {
        Self { expected, ..self }
    }

    pub(super) fn expected(&self) -> &'static [u16] {
        self.expected
    }

    pub(super) fn closed(&self, time: Duration) -> Result<closed::Outcome> {
        closed::run(self, time).with_context(|| self.name.clone())
    }

    pub(super) fn open(&self, rate: u32, time: Duration) -> Result<Vec<Duration>> {
        open::run(self.address, &self.requests[0], rate, time).with_context(|| self.name.clone())
    }

    pub(super) fn requests(&self) -> &Arc<[Vec<u8>]> {
        &self.requests
    }

    pub(super) fn cpu(&self) -> Result<Cpu> {
        Cpu::of(&self.pids)
    }
}
