//! A small load generator. In the closed loop, each caller waits for its answer; in the open loop, requests are sent at
//! a fixed rate, whether or not earlier ones are answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

pub(super) struct Generator {
    runtime: Runtime,
    load: Arc<Load>,
}

struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    idle: Mutex<Vec<TcpStream>>,
}

/// The results of an open loop.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) sent: usize,
    /// The times of requests answered with 200 (`served`), and of those answered with 450 (`full`).
    pub(super) served: Vec<Duration>,
    pub(super) full: Vec<Duration>,
    pub(super) other: Vec<String>,
    pub(super) took: Duration,
}

impl Outcomes {
    pub(super) fn served_p(&self, percent: usize) -> Duration {
        percentile(&self.served, percent)
    }

    pub(super) fn full_p(&self, percent: usize) -> Duration {
        percentile(&self.full, percent)
    }
}

/// Returns the time that `percent` of all requests did not exceed.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

impl Generator {
    pub(super) fn new(address: SocketAddr, request: &[u8]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let load = Load { address, request: request.to_vec(), idle: Mutex::default() };
        Self { runtime: runtime.expect("a runtime"), load: Arc::new(load) }
    }

    /// Runs `callers` callers with one request at a time each. Returns the number of 200s per second.
    pub(super) fn closed_loop(&self, callers: usize, time: Duration) -> f64 {
        let start = Instant::now();
        let served: usize = self.runtime.block_on(async {
            let caller = |load: Arc<Load>| async move {
                let mut served = 0;
                while start.elapsed() < time {
                    served += usize::from(matches!(load.call().await, Ok((200, _))));
                }
                served
            };
            let callers: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(Arc::clone(&self.load)))).collect();
            let mut served = 0;
            for caller in callers {
                served += caller.await.expect("it ends");
            }
            served
        });
        served as f64 / start.elapsed().as_secs_f64()
    }

    /// Sends `rate` requests per second.
    pub(super) fn open_loop(&self, rate: f64, time: Duration) -> Outcomes {
        self.runtime.block_on(async {
            let (start, mut calls) = (Instant::now(), Vec::new());
            // A timer has a resolution of a millisecond: requests that have become due since the last tick are sent
            // together.
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            while start.elapsed() < time {
                ticks.tick().await;
                let due = (start.elapsed().as_secs_f64() * rate) as usize;
                while calls.len() < due {
                    let load = Arc::clone(&self.load);
                    calls.push(tokio::spawn(async move { load.call().await }));
                }
            }
            let mut outcomes = Outcomes { sent: calls.len(), took: start.elapsed(), ..Outcomes::default() };
            for call in calls {
                match call.await.expect("it ends") {
                    Ok((200, time)) => outcomes.served.push(time),
                    Ok((450, time)) => outcomes.full.push(time),
                    Ok((status, _)) => outcomes.other.push(format!("answered {status}")),
                    Err(error) => outcomes.other.push(error.to_string()),
                }
            }
            outcomes
        })
    }
}

impl Load {
    /// Sends one request on an idle connection or a new one. Returns the status, and the time from its first byte.
    async fn call(&self) -> std::io::Result<(u16, Duration)> {
        let rested = self.idle.lock().expect("nobody panics here").pop();
        let mut stream = match rested {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.set_nodelay(true)?;
        let sent = Instant::now();
        stream.write_all(&self.request).await?;
        let status = answer(&mut stream).await?;
        let time = sent.elapsed();
        self.idle.lock().expect("nobody panics here").push(stream);
        Ok((status, time))
    }
}

/// Reads one answer to its end.
async fn answer(stream: &mut TcpStream) -> std::io::Result<u16> {
    let broken = |what: &str| std::io::Error::other(format!("the answer {what}"));
    let mut read = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(broken("broke off"));
        }
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = str::from_utf8(&read[..end]).map_err(|_| broken("is no text"))?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if read.len() - end - 4 < length.ok_or_else(|| broken("has no length"))? {
            continue;
        }
        return head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| broken("has no status"));
    }
}

#[test]
fn a_percentile_is_the_time_within_which_so_many_are_done() {
    let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
    assert_eq!(percentile(&times, 50), Duration::from_millis(100));
    assert_eq!(percentile(&times, 99), Duration::from_millis(198));
    assert_eq!(percentile(&times[..1], 99), Duration::from_millis(200));
    assert_eq!(percentile(&[], 99), Duration::ZERO);
}
