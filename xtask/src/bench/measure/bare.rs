//! The bare server of the comparison: hyper alone, with the host's runtime settings, as an echo.

use std::convert::Infallible;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::children::Running;

/// Serves until SIGTERM. Prints its address on the first line.
pub(crate) fn serve() -> Result<bool> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(available_parallelism()?.get())
        .enable_all()
        .build()?
        .block_on(accept())
}

async fn accept() -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminate.recv() => return Ok(true),
        };
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // The client may close its connection at any time; that is not an error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)).await;
        });
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A truncated body ends the connection anyway.
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(Response::new(Full::new(body)))
}

/// The bare server in its own process, so that its processor time can be told from the client's. Dropping this value
/// ends it.
pub(super) struct Bare {
    running: Running,
    pub(super) address: SocketAddr,
}

impl Bare {
    pub(super) fn start() -> Result<Self> {
        let own = env::current_exe().context("cannot find this program")?;
        let mut running = Running::start(Command::new(own).arg("bare-server").stdout(Stdio::piped()))?;
        let stdout = running.stdout().context("the bare server has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address =
            line.trim().parse().with_context(|| format!("the bare server did not start; it said {line:?}"))?;
        Ok(Self { running, address })
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Ends the process with SIGTERM; an exit code other than 0 is an error.
    pub(super) fn finish(self) -> Result<()> {
        self.running.finish()
    }
}
