//! Kills of the host while items are put, worked on and taken. Every acknowledged item must have one result.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::watch::parse;
use super::{Queue, deploy};
use crate::dice::Dice;
use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost};

/// The facts that the clients have been told.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeSet<String>>,
    /// The indexes in the sink under which each result came.
    results: Mutex<BTreeMap<String, BTreeSet<u64>>>,
}

fn agent() -> ureq::Agent {
    let settings = ureq::Agent::config_builder().http_status_as_error(false);
    settings.timeout_connect(Some(Duration::from_secs(2))).build().into()
}

/// Puts items until the host is gone.
fn produce(data: SocketAddr, service: &Deployed, ledger: &Ledger, name: &str) {
    let agent = agent();
    for number in 0.. {
        let body = format!("{name}-{number}");
        let put = agent.post(format!("http://{data}{}", service.path)).header("authorization", &service.token);
        match put.send(body.as_bytes()) {
            Ok(answer) if answer.status() == 200 => drop(ledger.acknowledged.lock().unwrap().insert(body)),
            // A full queue; the consumer makes room.
            Ok(answer) if answer.status() == 450 => std::thread::yield_now(),
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => return,
        }
    }
}

/// Takes results and commits them, until the host is gone or nothing has come for a while.
fn consume(data: SocketAddr, service: &Deployed, ledger: &Ledger, uid: &str, patience: Option<Duration>) {
    let agent = agent();
    let sink = format!("http://{data}{}/sink", service.path);
    let watch = agent
        .get(format!("{sink}?_watch_=true&_window_=50"))
        .header("authorization", &service.token)
        .header("X-EAS-QueueService-Redis-Uid", uid)
        .config()
        .timeout_recv_body(patience)
        .build();
    let Ok(answer) = watch.call() else { return };
    let mut stream = answer.into_body().into_reader();
    loop {
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let (index, data) = parse(&frame);
        let data = String::from_utf8(data).expect("the text that was put");
        ledger.results.lock().unwrap().entry(data).or_default().insert(index);
        let commit = agent.put(format!("{sink}?_indexes_={index}")).header("authorization", &service.token);
        match commit.header("X-EAS-QueueService-Redis-Uid", uid).send_empty() {
            // 409: the lease ended with the host before, and the item has come again.
            Ok(answer) if matches!(answer.status().as_u16(), 200 | 409) => {}
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => return,
        }
    }
}

/// The time without a further result after which the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn kills_lose_nothing_and_give_each_item_one_result() {
    let kills = rounds(20, 200);
    let mut host = TestHost::start();
    let keys = json!({"metadata": {"type": "Async", "rpc": {"worker_threads": 3}}, "queue": {"max_delivery": 1000}});
    let service = deploy(&host, "crash", "echo", keys);
    let ledger = Ledger::default();
    let seed = 17;
    let mut dice = Dice::new(seed);
    for round in 0..kills {
        let data = host.data;
        std::thread::scope(|scope| {
            for producer in 0..4 {
                let (service, ledger) = (&service, &ledger);
                scope.spawn(move || produce(data, service, ledger, &format!("{round}-{producer}")));
            }
            for consumer in 0..2 {
                let (service, ledger) = (&service, &ledger);
                scope.spawn(move || consume(data, service, ledger, &format!("c{consumer}"), None));
            }
            // A kill comes after a time, not after an event: any event could be the one that is safe.
            let moment = Duration::from_millis(100 + dice.roll(rounds(400, 3000)) as u64);
            let end = Instant::now() + moment;
            while Instant::now() < end {
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
            }
            host.kill();
        });
        host = host.kill_and_restart();
    }
    // A host closes a connection that rests.
    let left = |queue: fn(&TestHost, &Deployed) -> Queue| queue(&host, &service).attribute("stream.length");
    // Items whose deliveries a kill has ended wait for their pause. After many kills there are many results left.
    let found = || ledger.results.lock().unwrap().len();
    let (mut before, mut end) = (found(), Instant::now() + PATIENCE);
    while left(Queue::input) != "0" || left(Queue::sink) != "0" {
        std::thread::scope(|scope| {
            for consumer in 0..4 {
                let (data, service, ledger) = (host.data, &service, &ledger);
                scope.spawn(move || {
                    consume(data, service, ledger, &format!("last-{consumer}"), Some(Duration::from_secs(2)));
                });
            }
        });
        let now = found();
        if std::mem::replace(&mut before, now) < now {
            end = Instant::now() + PATIENCE;
        }
        assert!(Instant::now() < end, "items are left: {}", left(Queue::sink));
    }
    let (acknowledged, results) = (ledger.acknowledged.lock().unwrap(), ledger.results.lock().unwrap());
    let lost: Vec<&String> = acknowledged.iter().filter(|item| !results.contains_key(*item)).collect();
    let twice = results.values().filter(|indexes| indexes.len() > 1).count();
    println!("seed {seed}: {kills} kills, {} acknowledged puts, {} results", acknowledged.len(), results.len());
    must("queue.kills.acknowledged", "≥ 1 for each kill", acknowledged.len(), acknowledged.len() >= kills);
    must("queue.kills.lost", "0", lost.len(), lost.is_empty());
    must("queue.kills.results_beyond_one", "0", twice, twice == 0);
    assert_eq!(Queue::input(&host, &service).attribute("bulkhead.dead"), "0");
}
