//! Redis Streams, which sync every write as the queues do (`appendfsync always`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Producer;
use crate::bench::measure::children::Running;
use crate::setup;

/// The longest wait for the server's start.
const START: Duration = Duration::from_secs(20);

/// A running server.
pub(super) struct Redis {
    _running: Running,
    address: SocketAddr,
}

/// A connection that adds to a stream.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    command: Vec<u8>,
}

impl Redis {
    /// Starts a server whose files are in `directory`.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let redis = setup::redis().map_err(anyhow::Error::msg)?;
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(&redis.program);
        command.env("LD_LIBRARY_PATH", &redis.libraries).arg("--dir").arg(directory);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        let running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                bail!("redis-server does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { _running: running, address })
    }

    /// Connects a producer of items of this size.
    pub(super) fn producer(&self, bytes: usize) -> Result<Producer> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let mut command = Vec::new();
        let data = vec![b'x'; bytes];
        let parts: [&[u8]; 5] = [b"XADD", b"items", b"*", b"data", &data];
        command.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
        for part in parts {
            command.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
            command.extend_from_slice(part);
            command.extend_from_slice(b"\r\n");
        }
        Ok(Producer::Redis(Connection { stream: BufReader::new(stream), command }))
    }
}

impl Connection {
    /// Adds an item, and waits for its id.
    pub(super) fn put(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&self.command)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with('$') {
            bail!("Redis answered {line:?}");
        }
        line.clear();
        self.stream.read_line(&mut line)?;
        Ok(())
    }
}
