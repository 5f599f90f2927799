//! Every hostile processor of `tests/guests` against a real host. Each is called with a reused guest and with a new
//! guest per request, and is abandoned half-way if it runs long. Each time its outcome, the next guest, and a good
//! service on the same host must be right.

mod bombs;
mod bounds;
mod canary;
mod files;
mod logs;
mod random;
mod replacement;
mod shared;
mod wire;

use std::time::{Duration, Instant};

use bulkhead_hostile::{Expect, Hostile};
use serde_json::{Value, json};

use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, SOON, TestHost};
use crate::http::{Client, Response, request};

/// The deadlines in milliseconds, for a guest that never ends and for one that does.
const SHORT: u64 = 300;
const AMPLE: u64 = 10_000;

/// A host with a good service, and the results of the hostile ones.
struct Ward {
    host: TestHost,
    echo: Deployed,
    neighbour: Client,
    said: u64,
    right: u64,
    wrong: Vec<String>,
    /// The longest time that an endless guest was allowed to run.
    latest: Duration,
}

impl Ward {
    fn open() -> Self {
        let host = TestHost::start();
        let echo = host.deploy("echo", "echo", json!({}));
        let neighbour = host.client();
        Self { host, echo, neighbour, said: 0, right: 0, wrong: Vec::new(), latest: Duration::ZERO }
    }

    fn note(&mut self, what: &str, expected: &str, found: Result<(), String>) {
        match found {
            Ok(()) => self.right += 1,
            Err(found) => self.wrong.push(format!("{what}: expected {expected}, found {found}")),
        }
    }

    /// Runs a guest through all checks.
    fn admit(&mut self, guest: &Hostile) {
        if let Expect::Refused(told) = guest.expect {
            let sandbox = serde_json::from_str(guest.sandbox).expect("JSON");
            let answer = try_deploy(&self.host, "refused", &guest.component, sandbox, AMPLE);
            let found = refused(&answer, told);
            return self.note(&guest.id, &format!("{:?}", guest.expect), found);
        }
        let keepalive = if guest.expect == Expect::Overdue { SHORT } else { AMPLE };
        for isolation in ["reuse", "fresh"] {
            let Some(service) = self.deploy(guest, json!({"isolation": isolation}), keepalive) else { continue };
            let mut answered = 0;
            for _ in 0..rounds(1, 50) {
                self.misbehave(guest, isolation, &service, &mut answered);
            }
            self.forget(guest, isolation);
            if guest.expect == Expect::Overdue {
                // Without fuel, a guest runs in the other engine, in which it yields by the clock.
                let fuel = if isolation == "fresh" { json!("unlimited") } else { json!(100_000_000_000_u64) };
                if let Some(service) = self.deploy(guest, json!({"isolation": isolation, "fuel": fuel}), 60_000) {
                    self.abandon(guest, isolation, &service);
                    self.forget(guest, isolation);
                }
            }
        }
    }

    /// Deploys a guest with its own settings and further ones.
    fn deploy(&mut self, guest: &Hostile, further: Value, keepalive: u64) -> Option<Deployed> {
        let name = name(guest, further["isolation"].as_str().expect("a word"));
        let mut sandbox: Value = serde_json::from_str(guest.sandbox).expect("JSON");
        for (key, value) in further.as_object().expect("an object") {
            sandbox[key] = value.clone();
        }
        match deploy_component(&self.host, &name, &guest.component, sandbox, keepalive) {
            Ok(service) => Some(service),
            Err(refused) => {
                self.note(&name, "to be deployed", Err(refused));
                None
            }
        }
    }

    fn forget(&self, guest: &Hostile, isolation: &str) {
        let path = format!("/api/v1/services/{}", name(guest, isolation));
        assert!(self.host.call_admin("DELETE", &path, b"").status < 300);
    }

    /// Makes one failing call between two good ones. `answered` is the number of calls that the present guest has
    /// answered.
    fn misbehave(&mut self, guest: &Hostile, isolation: &str, service: &Deployed, answered: &mut u32) {
        let what = format!("{} {} ({isolation})", guest.id, guest.title);
        let before = next(*answered, isolation);
        let found = polite(&self.host, service, before);
        self.note(&what, &format!("call {before} before"), found);
        let began = Instant::now();
        let (found, survives) = outcome(&self.host, service, guest.expect);
        if guest.expect == Expect::Overdue {
            self.latest = self.latest.max(began.elapsed());
        }
        self.note(&what, &format!("{:?}", guest.expect), found);
        self.neighbour_is_well(&what);
        *answered = next(if survives { before + 1 } else { 0 }, isolation);
        let found = polite(&self.host, service, *answered);
        self.note(&what, &format!("call {answered} after"), found);
    }

    /// Disconnects the client while the guest runs.
    fn abandon(&mut self, guest: &Hostile, isolation: &str, service: &Deployed) {
        let what = format!("{} {} ({isolation}, abandoned)", guest.id, guest.title);
        let name = name(guest, isolation);
        let busy = format!("bulkhead_workers_busy{{service=\"{name}\",instance=\"0\"}}");
        let left = format!("bulkhead_requests_total{{service=\"{name}\",status=\"499\"}}");
        for round in 1..=rounds(1, 20) as u64 {
            let mut client = self.host.client();
            client.write(&request("POST", &service.path, &[("authorization", &service.token)], b""));
            self.host.wait_for(&format!("{what} to run"), || self.host.metric(&busy) == 1);
            drop(client);
            self.host.wait_for(&format!("{what} to be stopped"), || self.host.metric(&left) == round);
            self.neighbour_is_well(&what);
            let found = polite(&self.host, service, 1);
            self.note(&what, "a new guest after", found);
        }
    }

    /// Checks that a good service still answers its input byte by byte.
    fn neighbour_is_well(&mut self, what: &str) {
        self.said += 1;
        let body: Vec<u8> = (0..=255).chain(self.said.to_le_bytes()).collect();
        let answer = self.neighbour.post(&self.echo, &body);
        let found = if answer.body == body && answer.status == 200 { Ok(()) } else { Err(answer.text()) };
        self.note(&format!("echo beside {what}"), "its own bytes", found);
    }

    fn close(self, figure: &str) {
        let total = self.right + self.wrong.len() as u64;
        assert!(self.wrong.is_empty(), "{} of {total} are wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        if !self.latest.is_zero() {
            let late = self.latest.as_millis() as u64 - SHORT;
            let told = format!("{figure}.stopped_late_ms");
            tell(&told, "at most 20 ms after the deadline", late, late <= 20);
        }
        must(
            figure,
            "every outcome as expected, in both isolation modes",
            json!(format!("{} of {total}", self.right)),
            true,
        );
    }
}

/// Returns the call number that the next call must answer, after `answered` calls.
fn next(answered: u32, isolation: &str) -> u32 {
    if isolation == "fresh" { 1 } else { answered + 1 }
}

fn name(guest: &Hostile, isolation: &str) -> String {
    format!("{}-{isolation}", guest.id.to_ascii_lowercase())
}

fn try_deploy(host: &TestHost, name: &str, component: &[u8], sandbox: Value, keepalive: u64) -> Response {
    let spec = json!({
        "name": name,
        "processor_path": "hostile.wasm",
        "metadata": {"rpc": {"worker_threads": 1, "keepalive": keepalive}},
        "sandbox": sandbox,
    });
    let body = json!({"spec": spec, "processor": host.upload_bytes(component), "model": []});
    host.call_admin("POST", "/api/v1/services", body.to_string().as_bytes())
}

/// Deploys a component with one worker, or returns the reason of the refusal.
fn deploy_component(
    host: &TestHost,
    name: &str,
    component: &[u8],
    sandbox: Value,
    keepalive: u64,
) -> Result<Deployed, String> {
    let answer = try_deploy(host, name, component, sandbox, keepalive);
    if answer.status != 201 {
        return Err(answer.text());
    }
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    Ok(Deployed { path: format!("/api/predict/{name}"), token })
}

fn refused(answer: &Response, told: &str) -> Result<(), String> {
    let problem = answer.json();
    let is_told = problem["detail"].as_str().is_some_and(|detail| detail.contains(told));
    let is_right = answer.status == 400 && problem["code"] == "processor_refused" && is_told;
    if is_right { Ok(()) } else { Err(answer.text()) }
}

/// Sends a GET. A short deadline may pass while the guest is being replaced. Then the GET is repeated, because the test
/// is about the guest that answers.
fn polite_answer(host: &TestHost, service: &Deployed) -> Response {
    let end = Instant::now() + SOON;
    loop {
        let answer = host.client().send("GET", &service.path, &[("authorization", &service.token)], b"");
        if answer.status != 408 || Instant::now() > end {
            return answer;
        }
    }
}

/// Checks that a GET is answered by a guest for which it is call number `count`.
fn polite(host: &TestHost, service: &Deployed, count: u32) -> Result<(), String> {
    let answer = polite_answer(host, service);
    if answer.status == 200 && answer.body == count.to_le_bytes() {
        return Ok(());
    }
    Err(format!("{} {:?}", answer.status, answer.text()))
}

/// Checks the outcome of a POST. Also returns true if its guest should survive it.
fn outcome(host: &TestHost, service: &Deployed, expect: Expect) -> (Result<(), String>, bool) {
    let answer = host.client().post(service, b"");
    let text = answer.text();
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (status, code, told, survives) = match expect {
        Expect::Answer => (200, None, "", true),
        Expect::Declines(status) => (status, None, "", true),
        Expect::Fault(told) => (400, Some("processor_exception"), told, false),
        Expect::Fuel => (400, Some("fuel_exhausted"), "", false),
        Expect::Overdue => (408, Some("deadline_exceeded"), "", false),
        Expect::Refused(_) => unreachable!("it was never deployed"),
    };
    let is_right = answer.status == status
        && code.is_none_or(|code| problem["code"] == code)
        && (told.is_empty() || problem["detail"].as_str().is_some_and(|detail| detail.contains(told)));
    (if is_right { Ok(()) } else { Err(format!("{} {text}", answer.status)) }, survives)
}

/// Returns the guest with that id.
fn named(id: &str) -> Hostile {
    bulkhead_hostile::all().into_iter().find(|guest| guest.id == id).unwrap_or_else(|| panic!("no guest {id}"))
}

fn run(figure: &str, belongs: impl Fn(&str) -> bool) {
    let mut ward = Ward::open();
    let guests: Vec<Hostile> = bulkhead_hostile::all().into_iter().filter(|guest| belongs(&guest.id)).collect();
    assert!(guests.len() > 3, "{figure} has guests");
    for guest in &guests {
        ward.admit(guest);
    }
    ward.close(figure);
}

#[test]
fn a_computing_for_ever_too_deeply_or_what_cannot_be_computed() {
    run("hostile.cpu", |id| id.starts_with('A'));
}

#[test]
fn b_taking_more_memory_than_there_is_or_giving_out_the_wrong() {
    run("hostile.memory", |id| id.starts_with('B'));
}

#[test]
fn d_not_starting_or_asking_for_what_is_not_offered() {
    run("hostile.initialize", |id| id.starts_with('D'));
}

#[test]
fn e_asking_the_host_for_too_much() {
    run("hostile.host_calls", |id| id.starts_with('E'));
}

#[test]
fn h_answering_what_no_caller_may_be_sent() {
    run("hostile.answers", |id| id.starts_with('H'));
}

#[test]
fn s_leaving_something_for_whoever_comes_next() {
    run("hostile.tenants", |id| id.starts_with('S'));
}
