//! A closed loop, to find a server's maximum: every connection sends its next request after the answer to the last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;

use super::response::Head;
use super::server::Server;

/// The number of connections of all earlier measurements. A service with five workers and the default queue accepts 69
/// calls.
pub(super) const CONNECTIONS: usize = 64;
/// The number of cores of the smallest machine that runs this. More client threads would take time from the server.
const THREADS: usize = 2;

/// The results of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) per_second: f64,
    /// The server's processor time per request.
    pub(super) cpu_micros: f64,
    /// The share of the processor time that was spent in the kernel.
    pub(super) kernel_share: f64,
}

/// Loads a server for `time`. Any unexpected status is an error.
pub(super) fn run(server: &Server, time: Duration) -> Result<Outcome> {
    let answered = AtomicU64::new(0);
    let stop = Arc::new(AtomicBool::new(false));
    let ready = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        let (stop, ready, answered) = (&stop, &ready, &answered);
        let clients: Vec<_> =
            (0..THREADS).map(|index| scope.spawn(move || client(server, index, stop, ready, answered))).collect();
        ready.wait();
        let (start, before) = (Instant::now(), server.cpu());
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let (took, after) = (start.elapsed(), server.cpu());
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        let cpu = after?.since(&before?);
        let answered = answered.load(Ordering::Relaxed) as f64;
        if answered == 0.0 {
            bail!("no request was answered");
        }
        Ok(Outcome {
            per_second: answered / took.as_secs_f64(),
            cpu_micros: cpu.total.as_secs_f64() * 1e6 / answered,
            kernel_share: cpu.kernel_share,
        })
    })
}

/// Runs one thread's share of the connections.
fn client(server: &Server, thread: usize, stop: &Arc<AtomicBool>, ready: &Barrier, answered: &AtomicU64) -> Result<()> {
    const SHARE: usize = CONNECTIONS / THREADS;
    let runtime = runtime::Builder::new_current_thread().enable_io().build();
    let streams = runtime.and_then(|runtime| {
        let streams = runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..SHARE {
                streams.push(connect(server.address).await?);
            }
            Ok::<_, io::Error>(streams)
        })?;
        Ok((runtime, streams))
    });
    // This thread waits here even after an error, so that the other threads do not wait forever.
    ready.wait();
    let (runtime, streams) = streams.with_context(|| format!("connecting to {}", server.address))?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for (index, stream) in streams.into_iter().enumerate() {
            let first = (thread * SHARE + index) * server.requests().len() / CONNECTIONS;
            let requests = Arc::clone(server.requests());
            connections.spawn(connection(stream, requests, first, server.expected(), Arc::clone(stop)));
        }
        while let Some(count) = connections.join_next().await {
            answered.fetch_add(count??, Ordering::Relaxed);
        }
        Ok(())
    })
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one request after the other, beginning with the `first`, until `stop`. The last request is not counted.
async fn connection(
    mut stream: TcpStream,
    requests: Arc<[Vec<u8>]>,
    first: usize,
    expected: &[u16],
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut answered = 0;
    for request in requests.iter().cycle().skip(first) {
        stream.write_all(request).await?;
        let (mut filled, mut head) = (0, None::<Head>);
        while head.is_none_or(|head| filled < head.length) {
            if filled == buffer.len() {
                bail!("an answer of more than {filled} bytes");
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                bail!("the server closed a connection");
            }
            filled += read;
            if head.is_none() {
                head = Head::find(&buffer[..filled])?;
            }
        }
        if head.is_some_and(|head| !expected.contains(&head.status)) {
            bail!("the server answered {}", String::from_utf8_lossy(&buffer[..filled.min(1000)]));
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(answered);
        }
        answered += 1;
    }
    Ok(answered)
}
