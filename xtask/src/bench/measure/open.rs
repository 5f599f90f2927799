//! An open loop: requests at a steady rate that do not wait for each other.
//!
//! Times count from the moment a request is due. If they counted from the moment of sending, a stalled server would
//! delay the very requests that show the stall.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::response::Head;

/// The number of connections. There are never as many concurrent requests.
const CONNECTIONS: u32 = 32;
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `rate` requests per second for `time`. Returns the times in rising order. Any status but 200 is an error.
pub(super) fn run(address: SocketAddr, request: &[u8], rate: u32, time: Duration) -> Result<Vec<Duration>> {
    let start = Instant::now() + Duration::from_millis(50);
    let interval = Duration::from_secs(1) / rate;
    let mut times = thread::scope(|scope| {
        let work = |index| {
            let first = start + interval * index;
            move || connection(address, request, first, interval * CONNECTIONS, start + time)
        };
        let connections: Vec<_> = (0..CONNECTIONS).map(|index| scope.spawn(work(index))).collect();
        let mut times = Vec::new();
        for connection in connections {
            times.extend(connection.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok::<_, anyhow::Error>(times)
    })?;
    times.sort_unstable();
    Ok(times)
}

fn connection(
    address: SocketAddr,
    request: &[u8],
    first: Instant,
    interval: Duration,
    end: Instant,
) -> Result<Vec<Duration>> {
    // By default the kernel may wake a thread up to 50 µs late to save power, which would count as the server's time.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut caller = Caller::connect(address)?;
    let mut times = Vec::new();
    let mut due = first;
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = caller.call(request)?;
        times.push(due.elapsed());
        if status != 200 {
            bail!("the server answered {status}");
        }
        due += interval;
    }
    Ok(times)
}

/// A connection that is used for one call after the other.
pub(super) struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 256 << 10] })
    }

    /// Sends a request, reads the whole answer, and returns the status.
    pub(super) fn call(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                bail!("the server closed a connection, or an answer of more than {filled} bytes came");
            }
            filled += read;
            if let Some(head) = Head::find(&self.buffer[..filled])?
                && filled >= head.length
            {
                return Ok(head.status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::{Mutex, PoisonError};

    use super::super::stats::Times;
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Answers every request at once, except while `gate` is locked.
    fn serve(listener: &TcpListener, gate: &'static Mutex<()>) {
        for stream in listener.incoming().take(CONNECTIONS as usize) {
            let mut stream = BufReader::new(stream.unwrap());
            thread::spawn(move || {
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if line.trim().is_empty() {
                        drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
                        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    }
                    line.clear();
                }
            });
        }
    }

    fn server(gate: &'static Mutex<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, gate));
        address
    }

    #[test]
    fn a_server_that_stalls_shows_in_every_request_that_was_due_meanwhile() {
        static GATE: Mutex<()> = Mutex::new(());
        const STALL: Duration = Duration::from_millis(300);
        let address = server(&GATE);
        let stalling = thread::spawn(|| {
            thread::sleep(Duration::from_millis(350));
            let _held = GATE.lock();
            thread::sleep(STALL);
        });
        let times = run(address, REQUEST, 500, Duration::from_secs(1)).unwrap();
        stalling.join().unwrap();
        // A third of the requests were due during the stall, although each connection sent only one.
        let late = times.iter().filter(|time| **time > STALL / 10).count();
        assert!(late > 100, "{late} late");
        assert!(Times::of_sorted(&times).p99 > STALL / 2);
    }

    #[test]
    fn what_is_due_is_sent_and_counted_once() {
        static GATE: Mutex<()> = Mutex::new(());
        let times = run(server(&GATE), REQUEST, 400, Duration::from_millis(500)).unwrap();
        assert_eq!(times.len(), 200);
        assert!(times.is_sorted());
    }
}
