//! Deploys under traffic: no request fails because of a deploy, and each is answered by exactly one version.

mod crashes;
mod disk;
mod model;
mod refused;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::crowd::Over;
use crate::figures::{must, rounds, tell};
use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response};

/// Sets an environment variable by which the guest reports its version.
fn marked(version: u64) -> Value {
    json!([{"name": "VERSION", "value": version.to_string()}])
}

/// Returns the version that the service reports on this connection.
fn version_on(client: &mut Client, service: &Deployed) -> u64 {
    let response = client.post(service, br#"{"do":"inspect"}"#);
    assert_eq!(response.status, 200, "{}", response.text());
    told_version(&response)
}

fn told_version(response: &Response) -> u64 {
    response.json()["env"]["VERSION"].as_str().expect("a marker").parse().expect("a number")
}

/// Makes the same program with another hash, by a custom section without meaning at its end.
fn variant(guest: &str, mark: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(bulkhead_artifacts::guest(guest)).expect("a component");
    let name = b"variant";
    let size = u8::try_from(1 + name.len() + mark.len()).ok().filter(|size| *size < 0x80).expect("a short mark");
    bytes.extend([0, size, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(mark.as_bytes());
    bytes
}

/// The files that the kept versions of all services need, according to the control API.
#[derive(Default)]
struct Needed {
    processors: HashSet<String>,
    /// The models, each as its list of files.
    models: HashSet<String>,
    versions: usize,
}

fn needed(host: &TestHost) -> Needed {
    let mut needed = Needed::default();
    let services = host.call_admin("GET", "/api/v1/services", b"").json();
    for service in services["services"].as_array().expect("a list") {
        let name = service["name"].as_str().expect("a name");
        let kept = host.call_admin("GET", &format!("/api/v1/services/{name}/versions"), b"").json();
        for version in kept["versions"].as_array().expect("a list") {
            needed.versions += 1;
            needed.processors.insert(version["processor"]["sha256"].as_str().expect("a digest").to_owned());
            if !version["model"].as_array().expect("a list").is_empty() {
                needed.models.insert(version["model"].to_string());
            }
        }
    }
    needed
}

/// Lists files in the data directory that no version needs: half-written files, and compiled code, images and models
/// without an owner. The guests of each version start from at most one image.
fn rubbish(host: &TestHost) -> Vec<String> {
    let needed = needed(host);
    let data = host.dir().join("data");
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
    };
    let half_made = |name: &String| name.starts_with('.');
    let mut found: Vec<String> = names(&data.join("artifacts")).into_iter().filter(half_made).collect();
    let present = names(&data.join("models"));
    found.extend(present.iter().filter(|name| half_made(name)).cloned());
    if present.len() > needed.models.len() {
        found.push(format!("{} model directories", present.len()));
    }
    for engine in names(&data.join("compiled")) {
        let of_nobody = |name: &String| !needed.processors.contains(name.split('.').next().unwrap_or_default());
        let others = names(&data.join("compiled").join(engine)).into_iter().filter(of_nobody);
        let (half, others): (Vec<_>, Vec<_>) = others.partition(half_made);
        found.extend(half);
        let images: HashSet<&str> = others.iter().filter_map(|name| name.split('.').next()).collect();
        if images.len() > needed.versions {
            found.extend(others);
        }
    }
    found
}

/// The observations of one connection during the deploys.
#[derive(Default)]
struct Seen {
    answered: u64,
    failed: Vec<String>,
    went_back: Vec<String>,
    /// The versions by request id.
    versions: HashMap<String, u64>,
    longest_ms: f64,
}

#[test]
fn no_request_fails_by_a_deploy_and_each_is_answered_by_exactly_one_version() {
    let deploys = rounds(20, 1000) as u64;
    // A client keeps its connection as long as the deploys go on.
    let host = TestHost::start_with(&["--max-requests-per-connection", "1000000"], "");
    let service = host.deploy(
        "svc",
        "faults",
        json!({"processor_envs": marked(1), "metadata": {"rpc": {"worker_threads": 2, "keepalive": 20_000}}}),
    );
    // The newest version whose deploy has been confirmed, and the newest version that may serve.
    let (confirmed, begun, over) = (AtomicU64::new(1), AtomicU64::new(1), AtomicBool::new(false));
    let watch = |thread: usize| {
        let (mut seen, mut client, mut last) = (Seen::default(), host.client(), 1);
        while !over.load(Ordering::SeqCst) {
            let (floor, sent) = (confirmed.load(Ordering::SeqCst), Instant::now());
            let id = format!("{thread}-{}", seen.answered + seen.failed.len() as u64);
            let headers = [("authorization", service.token.as_str()), ("x-request-id", id.as_str())];
            let response = client.send("POST", &service.path, &headers, br#"{"do":"inspect"}"#);
            seen.longest_ms = seen.longest_ms.max(sent.elapsed().as_secs_f64() * 1e3);
            if response.status != 200 {
                seen.failed.push(format!("{}: {}", response.status, response.text()));
                continue;
            }
            let version = told_version(&response);
            if version < floor.max(last) || version > begun.load(Ordering::SeqCst) {
                seen.went_back.push(format!("{id} saw {version} after {last}, when {floor} was confirmed"));
            }
            last = version;
            seen.answered += 1;
            seen.versions.insert(id, version);
        }
        seen
    };
    let (watch, service, confirmed, begun, over) = (&watch, &service, &confirmed, &begun, &over);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..4).map(|thread| scope.spawn(move || watch(thread))).collect();
        let watching = Over(over);
        for version in 2..=deploys + 1 {
            begun.store(version, Ordering::SeqCst);
            let body = json!({"spec": {"processor_envs": marked(version)}}).to_string();
            let answer = host.call_admin("PUT", "/api/v1/services/svc", body.as_bytes());
            assert_eq!((answer.status, &answer.json()["version"]), (200, &json!(version)), "{}", answer.text());
            confirmed.store(version, Ordering::SeqCst);
            // A deploy whose version served no request would prove nothing, so each version is seen before the next
            // deploy.
            assert_eq!(version_on(&mut host.client(), service), version);
        }
        drop(watching);
        watchers.into_iter().map(|watcher| watcher.join().expect("it ends")).collect()
    });
    let failed: Vec<&String> = seen.iter().flat_map(|seen| &seen.failed).collect();
    let went_back: Vec<&String> = seen.iter().flat_map(|seen| &seen.went_back).collect();
    let answered: u64 = seen.iter().map(|seen| seen.answered).sum();
    must("deploys.load.failed", &format!("0 of {answered} requests during {deploys} deploys"), failed.len(), {
        assert!(failed.is_empty(), "{failed:?}");
        answered > deploys
    });
    must("deploys.load.out_of_order", "0 answers by a version older than one confirmed before", went_back.len(), {
        assert!(went_back.is_empty(), "{went_back:?}");
        true
    });
    // The host's log must name the same version as the guest.
    let accounts = host_account(&host, answered);
    let differing =
        seen.iter().flat_map(|seen| &seen.versions).filter(|(id, version)| accounts.get(*id) != Some(version));
    must("deploys.load.two_versions", "0 answers whose guest and log name different versions", differing.count(), true);
    let longest = seen.iter().map(|seen| seen.longest_ms).fold(0.0, f64::max);
    tell("deploys.load.longest_ms", "under 1000 ms", (longest * 10.0).round() / 10.0, longest < 1000.0);
}

/// Returns the version of each request id from the log, once the log has all of them.
fn host_account(host: &TestHost, answered: u64) -> HashMap<String, u64> {
    let mut accounts = HashMap::new();
    host.wait_for("the log to tell of every request", || {
        accounts = host.log().lines().filter_map(account_of).collect();
        accounts.len() as u64 >= answered
    });
    accounts
}

fn account_of(line: &str) -> Option<(String, u64)> {
    let field = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
    Some((field("request_id=")?.to_owned(), field("version=")?.parse().ok()?))
}
