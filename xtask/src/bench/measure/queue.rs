//! Durable queues: puts beside Redis Streams on the same disk, the way from a put to its result, and the size of a
//! queue against its speed and memory.

mod depth;
mod disk;
mod redis;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use bulkhead_artifacts::path;
use serde_json::json;

use self::redis::Redis;
use super::open::{self, Caller};
use super::report::Line;
use super::stats::{Spread, Times, millis};
use super::{Bench, KIB, goals};
use crate::host::{Host, Log};
use crate::services::{self, Service};
use crate::{http, stage};

/// The producers of the contest.
const PRODUCERS: usize = 32;
/// Items that go through a guest one after the other.
const WAYS: usize = 300;

/// The puts of one run: their rate, and the time that each took.
struct Puts {
    per_second: f64,
    times: Times,
}

impl Bench {
    /// Measures with a host of its own, whose queues are on the disk of the target directory.
    pub(super) fn queues(&mut self) -> Result<()> {
        let directory = self.directory.join("queues");
        let host = Host::start(&self.binary, &directory.join("data"), &Log::Nowhere)?;
        let _adopted = super::children::adopt(host.pid())?;
        let idle = self.service(&host, "queue-idle")?;
        services::stop(&host, &idle)?;
        let echo = self.service(&host, "queue-echo")?;
        let sync = disk::syncs(&directory, self.plan.load)?;
        self.add([Line::told("fdatasync of 4 KiB on this disk", sync.text(), sync.values())])?;
        self.puts_beside_redis(&host, &idle)?;
        self.puts_at_a_steady_rate(&host, &idle, &sync)?;
        self.way_to_the_result(&host, &echo, &sync)?;
        self.beside_a_busy_queue(&host, &echo)?;
        host.stop()?;
        depth::measure(self, &directory)
    }

    fn service(&self, host: &Host, name: &str) -> Result<Service> {
        let file = json!({
            "name": name,
            "processor_path": path("echo"),
            "metadata": { "type": "Async", "rpc": { "worker_threads": 2 } },
            "queue": { "length": 10_000_000 },
        });
        services::create(host, &services::write(&self.services_directory(), &file)?)
    }

    fn services_directory(&self) -> PathBuf {
        self.directory.join("services")
    }

    fn puts_beside_redis(&mut self, host: &Host, idle: &Service) -> Result<()> {
        let request = idle.request(&vec![b'x'; KIB]);
        let redis = Redis::start(&self.directory.join("queues/redis"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..self.plan.rounds {
            stage::announce(&format!("  round {} of {}", round + 1, self.plan.rounds));
            let ours_first = round % 2 == 0;
            for is_ours in [ours_first, !ours_first] {
                match (is_ours, &redis) {
                    (true, _) => ours.push(puts(self.plan.load, || Producer::to_host(host.data, &request))?),
                    (false, Ok(redis)) => theirs.push(puts(self.plan.load, || redis.producer(KIB))?),
                    (false, Err(_)) => {}
                }
            }
        }
        let median = |runs: &[Puts]| Spread::of(runs.iter().map(|run| run.per_second)).median;
        // With as many producers as possible, a put waits for the others most of the time.
        let times = &ours[0].times;
        self.add([Line::told("durable puts of 1 KiB, 32 producers: the time of one", times.text(), times.values())])?;
        match redis {
            Ok(_) => {
                let ratio = Spread::of(ours.iter().zip(&theirs).map(|(own, other)| own.per_second / other.per_second));
                let text = format!("{:.0} to {:.0} puts/s", median(&ours), median(&theirs));
                self.add([goals::PUTS.ratio(ratio, text)])
            }
            Err(error) => self.add([goals::PUTS.absent(&format!("{error:#}"))]),
        }
    }

    fn puts_at_a_steady_rate(&mut self, host: &Host, idle: &Service, sync: &Times) -> Result<()> {
        const RATE: u32 = 2000;
        let request = idle.request(&vec![b'x'; KIB]);
        let mut runs = Vec::new();
        for _ in 0..self.plan.open_rounds {
            runs.push(Times::of_sorted(&open::run(host.data, &request, RATE, self.plan.open_load)?));
        }
        let late = Spread::of(runs.iter().map(|times| times.p99.as_secs_f64() / sync.p99.as_secs_f64()));
        let text = format!("{}; the sync {:.3} ms", runs[0].text(), millis(sync.p99));
        self.add([goals::PUT_LATE.ratio(late, text)])
    }

    /// Measures the time from the first byte of a put until its result is there, one item after the other.
    fn way_to_the_result(&mut self, host: &Host, echo: &Service, sync: &Times) -> Result<()> {
        let (mut putter, mut getter) = (Caller::connect(host.data)?, Caller::connect(host.data)?);
        let mut times = Vec::new();
        for number in 0..WAYS {
            let put = with_query(echo, "POST", &format!("?requestId=way-{number}"), &[b'x'; 64]);
            let get = with_query(echo, "GET", &format!("/sink?requestId=way-{number}&_timeout_=10s"), b"");
            let began = Instant::now();
            if putter.call(&put)? != 200 || getter.call(&get)? != 200 {
                bail!("an item has no result");
            }
            times.push(began.elapsed());
        }
        let times = Times::of(times);
        let bound = 2.0 * millis(sync.p50) + 1.0;
        let ratio = millis(times.p50) / bound;
        let text = format!("{}; the bound is {bound:.3} ms", times.text());
        self.add([goals::TO_RESULT.ratio(Spread::of([ratio]), text)])
    }

    /// Measures a synchronous echo at a steady rate, alone and while items go through the same host.
    fn beside_a_busy_queue(&mut self, host: &Host, queued: &Service) -> Result<()> {
        const RATE: u32 = 2000;
        let file = json!({"name": "queue-beside", "processor_path": path("echo")});
        let called = services::create(host, &services::write(&self.services_directory(), &file)?)?;
        let request = called.request(&vec![b'x'; KIB]);
        let steady = || open::run(host.data, &request, RATE, self.plan.open_load).map(|times| Times::of_sorted(&times));
        let mut ratios = Vec::new();
        let (mut alone, mut beside) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..self.plan.open_rounds {
            alone = steady()?.p99;
            let stop = AtomicBool::new(false);
            beside = thread::scope(|scope| {
                let put = queued.request(&vec![b'x'; KIB]);
                let take = with_query(queued, "GET", "/sink?_length_=100&_raw_=false&_timeout_=1s", b"");
                let stop = &stop;
                let load = move |request: Vec<u8>| {
                    move || -> Result<()> {
                        let mut caller = Caller::connect(host.data)?;
                        while !stop.load(Ordering::Relaxed) {
                            caller.call(&request)?;
                        }
                        Ok(())
                    }
                };
                let loads: Vec<_> =
                    (0..2).map(|_| scope.spawn(load(put.clone()))).chain([scope.spawn(load(take))]).collect();
                let measured = steady();
                stop.store(true, Ordering::Relaxed);
                for load in loads {
                    load.join().map_err(|_| anyhow!("a client panicked"))??;
                }
                measured
            })?
            .p99;
            ratios.push(beside.as_secs_f64() / alone.as_secs_f64());
        }
        let text = format!("p99 {:.3} ms, alone {:.3} ms, at {RATE}/s", millis(beside), millis(alone));
        self.add([goals::BESIDE_QUEUE.ratio(Spread::of(ratios), text)])
    }
}

fn with_query(service: &Service, method: &str, query: &str, body: &[u8]) -> Vec<u8> {
    http::request(method, &format!("{}{query}", service.path()), &service.token, body)
}

/// A client that puts one item after the other.
enum Producer {
    Host(Caller, Vec<u8>),
    Redis(redis::Connection),
}

impl Producer {
    fn to_host(address: SocketAddr, request: &[u8]) -> Result<Self> {
        Ok(Self::Host(Caller::connect(address)?, request.to_owned()))
    }

    fn put(&mut self) -> Result<()> {
        match self {
            Self::Host(caller, request) => match caller.call(request)? {
                200 => Ok(()),
                status => bail!("a put was answered with {status}"),
            },
            Self::Redis(connection) => connection.put(),
        }
    }
}

/// Puts with all producers for a time.
fn puts(time: Duration, producer: impl Fn() -> Result<Producer> + Sync) -> Result<Puts> {
    let stop = AtomicBool::new(false);
    let (times, took) = thread::scope(|scope| {
        let work = || {
            let mut producer = producer()?;
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                producer.put()?;
                times.push(began.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        };
        let began = Instant::now();
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(work)).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for producer in producers {
            times.extend(producer.join().map_err(|_| anyhow!("a producer panicked"))??);
        }
        Ok::<_, anyhow::Error>((times, began.elapsed()))
    })?;
    if times.is_empty() {
        bail!("nothing was put");
    }
    Ok(Puts { per_second: times.len() as f64 / took.as_secs_f64(), times: Times::of(times) })
}
