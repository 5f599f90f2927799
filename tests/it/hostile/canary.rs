//! No data of one guest is ever visible to another guest that uses the same memory.

use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bulkhead::call::{Call, Deadline, RequestId, Spent, Streaming};
use bulkhead::sandbox::{Capacity, Guest, Program, Sandbox, Settings};
use bulkhead_hostile::{End, STAIN, canary, stain};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{deploy_component, polite_answer};
use crate::figures::{must, rounds};
use crate::host::{Deployed, TestHost, binary};
use crate::http::request;
use crate::library::{Silent, settings};

/// Two services in a pool with room for one guest: each new guest takes the place of the other service's last guest.
#[tokio::test]
async fn a_guest_sees_nothing_of_the_one_whose_place_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let capacity = Capacity { guests: 1, memory: 16 << 20 };
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), capacity);
    let (mut reuses, mut hits) = (0, 0);
    for fuel in [Some(u64::MAX / 2), None] {
        for end in End::ALL {
            let leaving = prepare(&sandbox, dir.path(), &canary(end), fuel).await;
            let looking = prepare(&sandbox, dir.path(), &canary(End::Answers), fuel).await;
            for round in 0..rounds(300, 2000) {
                leave(leaving.instantiate().await.expect("there is room"), end, round).await;
                let mut guest = looking.instantiate().await.expect("the other one is gone");
                hits += found(&mut guest).await;
                reuses += 2;
            }
        }
    }
    must("hostile.canary.slot_reuses", "thousands, with fuel and without", reuses, reuses >= 3600);
    must("hostile.canary.hits", "0 bytes of another guest seen", hits, hits == 0);
}

/// A guest cannot read its stack, nor another's data in it, unless the compiler has a flaw. Still, no word of one guest
/// may remain where another runs. Here the test is the host, so it can search all of its memory.
#[tokio::test]
async fn nothing_of_a_guest_stays_in_the_hosts_memory() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(binary(), dir.path().join("compiled"), Capacity { guests: 1, memory: 16 << 20 });
    let mut left = Vec::new();
    for fuel in [Some(u64::MAX / 2), None] {
        for end in End::ALL {
            let program = prepare(&sandbox, dir.path(), &stain(end), fuel).await;
            let guest = program.instantiate().await.expect("there is room");
            leave(guest, end, 0).await;
            left.push(stains());
        }
        let program = prepare(&sandbox, dir.path(), &stain(End::Answers), fuel).await;
        let mut guest = program.instantiate().await.expect("there is room");
        assert!(guest.run(call(http::Method::POST), Instant::now()).await.result.is_ok());
        let alive = stains();
        assert!(alive > 300_000, "what it left is found as long as it lives: {alive}");
    }
    // The guest's last words were in registers when the host continued, so some of them are on the host's own stack.
    let most = left.iter().max().copied();
    must("hostile.canary.residue", "fewer than 200 words of 300,000 after each", most, most < Some(200));
}

/// Counts the occurrences of `STAIN` in the writable memory of this process.
fn stains() -> usize {
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = 0;
    let mut piece = vec![0; 1 << 20];
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = map.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (address(start), address(end));
        while at < end {
            let room = piece.len().min((end - at) as usize);
            // Other tests in this process may free memory in between.
            let Ok(count @ 1..) = memory.read_at(&mut piece[..room], at) else { break };
            found += piece[..count].chunks_exact(8).filter(|word| *word == STAIN.to_le_bytes()).count();
            // The buffer is part of the searched memory.
            piece[..count].fill(0);
            at += count as u64;
        }
    }
    found
}

async fn prepare(sandbox: &Sandbox, dir: &Path, component: &[u8], fuel: Option<u64>) -> Arc<Program> {
    let sha256 = bulkhead::hex::hex(&Sha256::digest(component));
    let file = dir.join(&sha256);
    std::fs::write(&file, component).unwrap();
    let settings = Settings { fuel, ..settings(16 << 20) };
    sandbox.prepare(&file, &sha256, settings, Arc::new(Silent)).await.expect("it is a processor").program().clone()
}

fn call(method: http::Method) -> Arc<Call> {
    Arc::new(Call {
        method,
        uri: "/".parse().unwrap(),
        path_start: 0,
        headers: http::HeaderMap::new().into(),
        body: bytes::Bytes::new(),
        upload: None,
        request_id: RequestId::generate(),
        deadline: Deadline::new(Instant::now() + Duration::from_secs(60)),
        spent: Spent::default(),
        streaming: Streaming::default(),
        job: None,
    })
}

/// Lets a guest leave its canary everywhere. A looping guest is dropped when it yields after some slices.
async fn leave(mut guest: Guest, end: End, round: usize) {
    let mut slices = 4 + round % 8;
    let mut run = pin!(guest.run(call(http::Method::POST), Instant::now()));
    let run = poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready(run) => Poll::Ready(Some(run)),
        Poll::Pending if end == End::Loops && slices == 0 => Poll::Ready(None),
        Poll::Pending => {
            slices = slices.saturating_sub(1);
            Poll::Pending
        }
    })
    .await;
    let ended = run.map(|run| run.result.is_ok());
    let expected = match end {
        End::Answers => Some(true),
        End::Traps => Some(false),
        End::Loops => None,
    };
    assert_eq!(ended, expected, "{end:?}");
}

/// Returns the number of places in a new guest that differ from the expected value.
async fn found(guest: &mut Guest) -> u32 {
    let run = guest.run(call(http::Method::GET), Instant::now()).await;
    let answer = run.result.expect("it answers");
    u32::from_le_bytes(answer.body.whole().expect("it is no stream").as_ref().try_into().expect("four bytes"))
}

/// Tests isolation through the whole host, with a new guest for every request, and every way in which a guest can end.
#[test]
fn a_request_sees_nothing_of_the_one_before() {
    let host = TestHost::start();
    let deploy = |name: &str, end: End, keepalive: u64| {
        let sandbox = json!({"isolation": "fresh"});
        deploy_component(&host, name, &canary(end), sandbox, keepalive).expect("it is deployed")
    };
    let looking = deploy("looking", End::Answers, 5000);
    let leaving = [
        deploy("answers", End::Answers, 5000),
        deploy("traps", End::Traps, 5000),
        deploy("overdue", End::Loops, 30),
        deploy("abandoned", End::Loops, 60_000),
    ];
    let mut hits = 0;
    let rounds = rounds(20, 1000);
    for round in 0..rounds {
        for service in &leaving {
            spoil(&host, service, round as u64 + 1);
            // The next guest of the same service, and one of another service.
            hits += look(&host, service) + look(&host, &looking);
        }
    }
    must("hostile.canary.requests", "every way to end, each many times", rounds * leaving.len(), true);
    must("hostile.canary.request_hits", "0 bytes of another request seen", hits, hits == 0);
}

fn spoil(host: &TestHost, service: &Deployed, round: u64) {
    let mut client = host.client();
    let expected = match service.path.as_str() {
        "/api/predict/answers" => 200,
        "/api/predict/traps" => 400,
        "/api/predict/overdue" => 408,
        _ => {
            client.write(&request("POST", &service.path, &[("authorization", &service.token)], b""));
            let busy = "bulkhead_workers_busy{service=\"abandoned\",instance=\"0\"}";
            host.wait_for("it to run", || host.metric(busy) == 1);
            drop(client);
            let left = "bulkhead_requests_total{service=\"abandoned\",status=\"499\"}";
            return host.wait_for("it to be stopped", || host.metric(left) == round);
        }
    };
    assert_eq!(client.post(service, b"").status, expected, "{}", service.path);
}

fn look(host: &TestHost, service: &Deployed) -> u32 {
    let answer = polite_answer(host, service);
    assert_eq!(answer.status, 200, "{}", answer.text());
    u32::from_le_bytes(answer.body.as_slice().try_into().expect("four bytes"))
}
