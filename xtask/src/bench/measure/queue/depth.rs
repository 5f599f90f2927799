//! The same operations on a short and on a long queue, and the memory and the start of a host with each.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::{Producer, with_query};
use crate::bench::measure::open::Caller;
use crate::bench::measure::report::Line;
use crate::bench::measure::stats::{Spread, Times, micros};
use crate::bench::measure::{Bench, KIB, children, goals, usage};
use crate::host::{Host, Log};
use crate::services::{self, Service};
use crate::stage;

const SHORT: usize = 1000;
/// Repetitions of each operation.
const LOOKS: usize = 200;

/// The times of a host with one queue.
struct Depth {
    resident_mib: f64,
    search: Times,
    get: Times,
    by_request: Times,
}

pub(super) fn measure(bench: &mut Bench, directory: &Path) -> Result<()> {
    let long = if bench.plan.is_quick { 100_000 } else { 1_000_000 };
    let data = directory.join("depth");
    let host = Host::start(&bench.binary, &data, &Log::Nowhere)?;
    let _adopted = children::adopt(host.pid())?;
    let service = bench.service(&host, "queue-deep")?;
    services::stop(&host, &service)?;
    if Caller::connect(host.data)?.call(&with_query(&service, "POST", "?requestId=known", b"x"))? != 200 {
        bail!("an item was refused");
    }
    fill(&host, &service, 0, SHORT)?;
    let short = look(&host, &service, SHORT)?;
    stage::announce(&format!("  putting {long} items"));
    fill(&host, &service, SHORT, long)?;
    let deep = look(&host, &service, long)?;
    let grown = deep.resident_mib - short.resident_mib;
    let text = format!("{grown:.1} MiB more with {long} items than with {SHORT}");
    bench.add([goals::DEPTH_MEMORY.bounded(grown, text, json!({"mib": grown, "items": long}))])?;
    for (goal, own, other) in [
        (&goals::DEPTH_SEARCH, &deep.search, &short.search),
        (&goals::DEPTH_GET, &deep.get, &short.get),
        (&goals::DEPTH_BY_REQUEST, &deep.by_request, &short.by_request),
    ] {
        let ratio = own.p50.as_secs_f64() / other.p50.as_secs_f64();
        let text = format!("{:.0} µs to {:.0} µs, medians", micros(own.p50), micros(other.p50));
        bench.add([goal.ratio(Spread::of([ratio]), text)])?;
    }
    let mut starts = Vec::new();
    host.stop()?;
    for kill in [false, true] {
        let began = Instant::now();
        let mut host = Host::resume(&bench.binary, &data, &Log::Nowhere, &[])?;
        let _adopted = children::adopt(host.pid())?;
        host.wait_until_ready()?;
        starts.push(began.elapsed());
        if kill {
            host.stop()?;
        } else {
            kill_now(&host)?;
            host.wait()?;
        }
    }
    let text = format!("{:.2} s; after kill -9 {:.2} s", starts[0].as_secs_f64(), starts[1].as_secs_f64());
    let worst = starts.iter().max().copied().unwrap_or(Duration::ZERO).as_secs_f64();
    bench.add([goals::DEPTH_START.bounded(worst, text, json!({"s": worst, "items": long}))])?;
    bench.add([Line::told("file of the queues, for each item of 1 KiB", bytes_each(&data, long)?, json!({}))])
}

fn kill_now(host: &Host) -> Result<()> {
    let pid = i32::try_from(host.pid()).ok().and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { bail!("the host has no pid") };
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

fn bytes_each(data: &Path, items: usize) -> Result<String> {
    let bytes = std::fs::metadata(data.join("queues.redb"))?.len();
    Ok(format!("{} B", bytes / items as u64))
}

/// Puts items until there are `to`.
fn fill(host: &Host, service: &Service, from: usize, to: usize) -> Result<()> {
    let request = service.request(&vec![b'x'; KIB]);
    let next = std::sync::atomic::AtomicUsize::new(from);
    std::thread::scope(|scope| {
        let work = || {
            let mut producer = Producer::to_host(host.data, &request)?;
            while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < to {
                producer.put()?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let producers: Vec<_> = (0..64).map(|_| scope.spawn(work)).collect();
        for producer in producers {
            producer.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??;
        }
        Ok(())
    })
}

fn look(host: &Host, service: &Service, length: usize) -> Result<Depth> {
    // The pages of the fill that nobody needs any more.
    std::thread::sleep(Duration::from_secs(1));
    let resident_mib = usage::resident_mib(host.pid())?;
    let mut caller = Caller::connect(host.data)?;
    let mut timed = |query: &dyn Fn(usize) -> String| {
        let mut times = Vec::new();
        for number in 0..LOOKS {
            let request = with_query(service, "GET", &query(number), b"");
            let began = Instant::now();
            let status = caller.call(&request)?;
            times.push(began.elapsed());
            if status != 200 {
                bail!("{} was answered with {status}", query(number));
            }
        }
        Ok(Times::of(times))
    };
    let step = length / LOOKS;
    let search = timed(&|number| format!("?_search_=true&_index_={}", 1 + number * step))?;
    let get = timed(&|number| format!("?_index_={}&_auto_delete_=false", 1 + number * step))?;
    let by_request = timed(&|_| "?requestId=known&_auto_delete_=false".to_owned())?;
    Ok(Depth { resident_mib, search, get, by_request })
}
