//! Common HTTP clients against a host and against a gateway in front of it.
//!
//! A refusal must reach its caller even while the caller is still sending (RFC 9112 §9.6). Every client gets the status
//! of each refused body, small and large, with a known length and in chunks, while both cores are busy. Also tested:
//! connections kept after refusals, HEAD, and slow answers. `tests/clients/README.md` describes the programs and their
//! plan.

mod plan;
mod programs;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use self::plan::{Framing, Plan, Want};
pub(crate) use self::programs::python;
use self::programs::{Outcome, Program};
use crate::figures::{rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, request};

/// The sizes of refused bodies, in bytes. Among them are sizes above the number that a host discards before it answers,
/// and above the buffers of sockets.
const REFUSED: [usize; 4] = [300 << 10, 16 << 20, 2 << 20, 12 << 20];
/// A size above a service's default limit.
const TOO_LARGE: usize = 20_000_000;

/// The services with one busy worker.
const BUSY: [&str; 2] = ["full", "limited"];

fn busy_workers(host: &TestHost, service: &str) -> u64 {
    host.metric(&format!("bulkhead_workers_busy{{service=\"{service}\",instance=\"0\"}}"))
}

/// A host with a service for every kind of refusal.
struct Stage {
    host: TestHost,
    echo: Deployed,
    faults: Deployed,
    get_only: Deployed,
    full: Deployed,
    limited: Deployed,
    /// Requests that occupy the only worker of `full` and the only place of `limited`.
    busy: [Client; 2],
}

impl Stage {
    fn start() -> Self {
        let host = TestHost::start_with(&["--http2"], "");
        let echo = host.deploy("echo", "echo", json!({"sandbox": {"methods": ["GET", "HEAD", "POST"]}}));
        let faults = host.deploy("faults", "faults", json!({"metadata": {"rpc": {"keepalive": 2000}}}));
        let get_only = host.deploy("get-only", "echo", json!({"sandbox": {"methods": ["GET"]}}));
        let rpc = json!({"worker_threads": 1, "max_queue_size": 0, "keepalive": 3_600_000});
        let full = host.deploy("full", "faults", json!({"metadata": {"rpc": rpc}}));
        let policy = json!({"concurrency_limit": {"enable": true, "limit": 1}});
        let limited = host.deploy(
            "limited",
            "faults",
            json!({"metadata": {"rpc": {"keepalive": 3_600_000}}, "networking": {"gateway_policy": policy}}),
        );
        let busy = [&full, &limited].map(|service| {
            let mut client = host.client();
            client.write(&request("POST", &service.path, &[("authorization", &service.token)], br#"{"do":"loop"}"#));
            client
        });
        BUSY.iter().for_each(|name| host.wait_for("its worker to run", || busy_workers(&host, name) == 1));
        Self { host, echo, faults, get_only, full, limited, busy }
    }

    /// Closes the connections that keep services busy, so that the host's account is complete.
    fn end(self) {
        let Self { host, busy, .. } = self;
        drop(busy);
        BUSY.iter().for_each(|name| host.wait_for("its worker to be free", || busy_workers(&host, name) == 0));
    }

    /// Adds every refusal that leaves a body unread, in every size and framing.
    fn refusals(&self, plan: &mut Plan) {
        let nobody = Deployed { path: "/api/predict/nobody".into(), token: "any".into() };
        let stranger = Deployed { token: "wrong".into(), ..self.echo.clone() };
        let cases = [
            ("wrong token", &stranger, None, Want(401, "unauthorized")),
            ("no service", &nobody, None, Want(404, "service_not_found")),
            ("method", &self.get_only, None, Want(405, "method_not_allowed")),
            ("queue full", &self.full, None, Want(450, "queue_full")),
            ("limit", &self.limited, None, Want(429, "rate_limited")),
            ("coding", &self.echo, Some(("content-encoding", "x-unknown")), Want(415, "unsupported_coding")),
        ];
        for framing in [Framing::Length, Framing::Chunked] {
            for (name, service, header, want) in cases {
                let headers: Vec<_> = header.into_iter().chain([("authorization", service.token.as_str())]).collect();
                for size in &REFUSED[..rounds(2, REFUSED.len())] {
                    let name = format!("{name}, {} KiB, {}", size >> 10, framing.name());
                    plan.session(&name).send("POST", &service.path, &headers, framing, *size, want);
                }
            }
            let name = format!("too large, {}", framing.name());
            let token = [("authorization", self.echo.token.as_str())];
            plan.session(&name).send("POST", &self.echo.path, &token, framing, TOO_LARGE, Want(413, "body_too_large"));
        }
    }

    /// Adds sequences of requests on a client that keeps its connection if allowed.
    fn manners(&self, plan: &mut Plan) {
        let (wrong, echo) = ([("authorization", "wrong")], [("authorization", self.echo.token.as_str())]);
        let faults = [("authorization", self.faults.token.as_str())];
        let kept = plan.session("keep-alive over refusals");
        kept.send("POST", &self.echo.path, &echo, Framing::Length, 1000, Want(200, "-"));
        kept.send("POST", &self.echo.path, &wrong, Framing::Length, 1000, Want(401, "unauthorized"));
        kept.send("POST", &self.echo.path, &echo, Framing::Length, 1000, Want(200, "-"));
        kept.send("GET", "/api/predict/nobody", &[], Framing::None, 0, Want(404, "service_not_found"));
        kept.send("POST", &self.echo.path, &wrong, Framing::Length, 300 << 10, Want(401, "unauthorized"));
        kept.send("POST", &self.echo.path, &echo, Framing::Chunked, 300 << 10, Want(200, "-"));

        let head = plan.session("HEAD");
        head.send("HEAD", &self.echo.path, &echo, Framing::None, 0, Want(200, "-"));
        head.send("HEAD", &self.echo.path, &wrong, Framing::None, 0, Want(401, "-"));
        head.send("HEAD", "/api/predict/nobody", &[], Framing::None, 0, Want(404, "-"));
        head.send("GET", &self.echo.path, &echo, Framing::None, 0, Want(200, "-"));

        let slow = plan.session("slow answers");
        slow.say("POST", &self.faults.path, &faults, r#"{"do":"sleep","ms":300}"#, Want(200, "-"));
        slow.say("POST", &self.faults.path, &faults, r#"{"do":"sleep","ms":60000}"#, Want(408, "deadline_exceeded"));
        slow.say("POST", &self.faults.path, &faults, r#"{"do":"sleep","ms":1}"#, Want(200, "-"));
    }
}

/// Threads that keep all cores busy until this value is dropped.
struct Spinners(std::sync::Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Spinners {
    fn start() -> Self {
        let goes_on = std::sync::Arc::new(AtomicBool::new(true));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let spin = || {
            let goes_on = std::sync::Arc::clone(&goes_on);
            thread::spawn(move || while goes_on.load(Ordering::Relaxed) {})
        };
        let threads = (0..cores).map(|_| spin()).collect();
        Self(goes_on, threads)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs every program with the plan, and prints the number of right answers of each client.
fn run(figure: &str, address: SocketAddr, plan: &Plan, speaks_http2: bool) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = plan.write(dir.path(), address);
    let mut told: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for program in Program::all(speaks_http2) {
        if let Some(why) = program.is_missing() {
            println!("skipped: {}: {why}", program.name());
            continue;
        }
        for outcome in program.run(&file, plan, address) {
            told.entry(outcome.client.clone()).or_default().push(outcome);
        }
    }
    let asked = plan.requests();
    let mut wrong = Vec::new();
    for (client, outcomes) in &told {
        assert_eq!(outcomes.len(), asked, "{client} told of every request");
        let differ = outcomes.iter().filter_map(|got| got.differs(&plan.want(&got.session, got.index)));
        let before = wrong.len();
        wrong.extend(differ.map(|line| format!("{client}: {line}")));
        let seen = asked - (wrong.len() - before);
        let name = format!("{figure}.{}", client.replace([' ', '.', ','], "_"));
        tell(&name, &format!("{asked} of {asked}"), format!("{seen} of {asked}"), seen == asked);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_client_sees_every_refusal_of_a_host() {
    let stage = Stage::start();
    let mut plan = Plan::default();
    stage.refusals(&mut plan);
    stage.manners(&mut plan);
    let _busy = Spinners::start();
    for _ in 0..rounds(1, 10) {
        run("clients.host", stage.host.data, &plan, true);
    }
    stage.end();
}

#[test]
fn every_client_sees_every_refusal_through_a_gateway() {
    let stage = Stage::start();
    let clusters = json!({"c": {"upstreams": [stage.host.data.to_string()], "request_timeout_ms": 60_000}});
    let gateway = TestHost::start_gateway(&json!({"clusters": clusters, "routes": {"*": "c"}}), &[]);
    let mut plan = Plan::default();
    stage.refusals(&mut plan);
    stage.manners(&mut plan);
    let _busy = Spinners::start();
    for _ in 0..rounds(1, 10) {
        run("clients.gateway", gateway.data, &plan, false);
    }
    let ejected = format!("bulkhead_upstream_healthy{{cluster=\"c\",upstream=\"{}\"}}", stage.host.data);
    assert_eq!(gateway.metric(&ejected), 1, "refusals are not charged to the host that gave them");
    stage.end();
}
