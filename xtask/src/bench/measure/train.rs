//! The training load of a profile-guided build: operations that hosts do often, and operations that must be fast when
//! they happen. The compiler treats code that does not run here as cold.
//!
//! Nothing is measured. But every answer must be the expected one, and every process must end by itself, because only
//! then does it write its counts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use bulkhead_artifacts::root;
use serde_json::{Value, json};

use super::bare::Bare;
use super::door::{self, Doors};
use super::server::Server;
use super::{KIB, Plan, QUICK, busy, children, echo, fault, gateway, http2, late};
use crate::host::{Host, Log};
use crate::services::{self, Service};
use crate::{cargo, http, stage};

/// The sizes for measurements that are reused here as load.
const PLAN: Plan = Plan { rounds: 1, load: LOAD, refusals: 200, loops: 5, ..QUICK };
/// The duration of each kind of load.
const LOAD: Duration = Duration::from_secs(2);
/// A rate at which threads have time to sleep.
const STEADY: u32 = 2000;
const CONNECTIONS: usize = 1000;

/// Runs `binary` as host and as gateway, under load.
pub(crate) fn run(binary: &Path) -> Result<bool> {
    children::end_with_us()?;
    let directory = cargo::target_dir().join("profiled/data");
    let host = Host::start(binary, &directory.join("host"), &Log::Nowhere)?;
    let _adopted = children::adopt(host.pid())?;
    let work = Work { host: &host, directory: &directory };
    let echo = work.create("examples/echo/echo.json")?;
    work.answers(&echo)?;
    work.refusals(&echo)?;
    work.ends()?;
    work.behind_the_gateway(&echo)?;
    work.control(&echo)?;
    end(host)?;

    stage::announce("a start with what was deployed");
    let host = Host::resume(binary, &directory.join("host"), &Log::Nowhere, &["--http2"])?;
    let _adopted = children::adopt(host.pid())?;
    host.wait_until_ready()?;
    stage::announce("  HTTP/2");
    http2::load(host.data, &echo, &echo::json_of(KIB), LOAD)?;
    end(host)?;
    Ok(true)
}

/// Runs this program as bare server and as load generator.
pub(crate) fn bare() -> Result<bool> {
    children::end_with_us()?;
    let bare = Bare::start()?;
    let [small, large] = [KIB, 64 * KIB].map(|size| {
        let request = http::request("POST", "/", "token", &echo::json_of(size));
        Server::new("bare hyper", bare.address, bare.pid(), vec![request])
    });
    small.closed(2 * LOAD)?;
    large.closed(2 * LOAD)?;
    small.open(STEADY, LOAD)?;
    bare.finish()?;
    Ok(true)
}

fn end(host: Host) -> Result<()> {
    let status = host.stop()?;
    if !status.success() {
        bail!("the host ended with {status}");
    }
    Ok(())
}

struct Work<'a> {
    host: &'a Host,
    directory: &'a Path,
}

impl Work<'_> {
    /// Sends the most frequent requests, in several sizes, compressed or not.
    fn answers(&self, echo: &Service) -> Result<()> {
        self.load("echo of 1 KiB", of_sizes(echo, &[KIB]), &[200])?;
        self.load("small echoes", of_sizes(echo, &[16, 200, 4 * KIB]), &[200])?;
        self.load("large echoes", of_sizes(echo, &[16 * KIB, 64 * KIB, 200 * KIB]), &[200])?;
        self.load("compressed echoes", compressed(self.host, echo)?, &[200])?;
        let fresh = self.made("fresh", "echo", &json!({"worker_threads": 5}), &json!({"isolation": "fresh"}))?;
        self.load("fresh instances", vec![fresh.request(&echo::json_of(KIB))], &[200])?;
        let score = self.create("examples/json-score/json-score.json")?;
        let record = br#"{"age": 40, "income": 50000, "history": [0, 0, 2]}"#;
        self.load("scores", vec![score.request(record), score.request(br#"{"age": -3}"#)], &[200, 422])?;
        let batching = json!({"batching": true, "max_batch_size": 8, "max_batch_timeout": 2});
        let batches = self.made("batches", "faults", &batching, &json!({}))?;
        self.load("batches", vec![batches.request(br#"{"do": "batch"}"#)], &[200])?;

        let one = echo.request(&echo::json_of(KIB));
        self.server("a steady rate", vec![one.clone()]).open(STEADY, LOAD)?;
        stage::announce("  a connection for each request");
        for _ in 0..CONNECTIONS {
            let status = http::call(self.host.data, &one)?.status;
            if status != 200 {
                bail!("an echo on a connection of its own was answered with {status}");
            }
        }
        Ok(())
    }

    /// Sends requests that are refused.
    fn refusals(&self, echo: &Service) -> Result<()> {
        let unknown = Service { name: "nobody".to_owned(), ..echo.clone() };
        self.load("unknown services", vec![unknown.request(&echo::json_of(KIB))], &[404])?;
        let (limited, full) = (self.create("xtask/services/limited.json")?, self.create("xtask/services/full.json")?);
        let bare = Bare::start()?;
        door::lines(self.host, &bare, &Doors { echo, limited: &limited, full: &full }, &PLAN)?;
        bare.finish()?;
        stage::announce("  calls while guests spin");
        busy::lines(self.host, &self.create("xtask/services/spin.json")?, echo, &PLAN).map(drop)
    }

    /// Sends requests whose guests end before their answer.
    fn ends(&self) -> Result<()> {
        let faults = self.made("faults", "faults", &json!({}), &json!({}))?;
        let deeds = [r#"{"do": "trap"}"#, r#"{"do": "panic"}"#, r#"{"do": "alloc"}"#, r#"{"do": "recurse"}"#];
        self.load("faults", deeds.map(|deed| faults.request(deed.as_bytes())).into(), &[400])?;
        let burn = self.made("burn", "faults", &json!({}), &json!({"fuel": 1_000_000}))?;
        self.load("guests without fuel", vec![burn.request(br#"{"do": "burn"}"#)], &[400])?;
        stage::announce("  deadlines and replacements");
        let fault = self.create("xtask/services/fault.json")?;
        fault::line(&super::goals::FAULT, self.host, &fault, &fault::OF_FAULTS, PLAN.faults)?;
        late::alone(self.host, &self.create("xtask/services/late.json")?, &PLAN)?;
        late::all(self.host, &self.create("xtask/services/late-all.json")?, &PLAN).map(drop)
    }

    fn behind_the_gateway(&self, echo: &Service) -> Result<()> {
        let gateway = gateway::ours(&self.host.binary, &self.directory.join("gateway"), self.host.data)?;
        gateway.wait(&echo.request(&echo::json_of(KIB)))?;
        for (what, sizes) in [("a gateway", &[KIB][..]), ("a gateway, large bodies", &[16 * KIB, 64 * KIB])] {
            let server = Server::new(what, gateway.address, gateway.pid(), of_sizes(echo, sizes));
            stage::announce(&format!("  {what}"));
            server.closed(LOAD)?;
        }
        gateway.finish()
    }

    /// Sends requests of operators and their programs.
    fn control(&self, echo: &Service) -> Result<()> {
        stage::announce("  operators");
        services::stop(self.host, echo)?;
        services::start(self.host, echo)?;
        let head = |path: &str| {
            let token = &self.host.admin_token;
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
        };
        for path in ["/metrics", "/readyz", "/api/v1/services", "/api/v1/services/echo"] {
            for _ in 0..50 {
                let answer = http::call(self.host.admin, &head(path))?;
                if answer.status != 200 {
                    bail!("{path} was answered with {}: {}", answer.status, answer.text());
                }
            }
        }
        Ok(())
    }

    fn load(&self, what: &str, requests: Vec<Vec<u8>>, expected: &'static [u16]) -> Result<()> {
        stage::announce(&format!("  {what}"));
        self.server(what, requests).expecting(expected).closed(LOAD).map(drop)
    }

    fn server(&self, what: &str, requests: Vec<Vec<u8>>) -> Server {
        Server::new(what, self.host.data, self.host.pid(), requests)
    }

    fn create(&self, file: &str) -> Result<Service> {
        services::create(self.host, &root().join(file))
    }

    /// Deploys an example's processor with other settings.
    fn made(&self, name: &str, example: &str, rpc: &Value, sandbox: &Value) -> Result<Service> {
        let service = json!({
            "name": name,
            "processor_path": bulkhead_artifacts::path(example),
            "metadata": { "rpc": rpc },
            "sandbox": sandbox,
        });
        services::create(self.host, &services::write(&self.directory.join("services"), &service)?)
    }
}

fn of_sizes(echo: &Service, sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().map(|size| echo.request(&echo::json_of(*size))).collect()
}

/// Makes requests with compressed bodies, and requests for compressed answers. The compressed bodies come from the
/// host's own answers.
fn compressed(host: &Host, echo: &Service) -> Result<Vec<Vec<u8>>> {
    let plain = echo::json_of(8 * KIB);
    let request = |coding: &str, header: &str, body: &[u8]| {
        let (path, token, length) = (echo.path(), &echo.token, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n{header}: {coding}\r\n\
             content-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let mut requests = Vec::new();
    for coding in ["gzip", "zstd", "deflate", "lz4", "snappy"] {
        let asking = request(coding, "accept-encoding", &plain);
        let answer = http::call(host.data, &asking)?;
        let told = answer.header("content-encoding");
        if told != Some(coding) {
            bail!("an answer expected in {coding} is {}", told.unwrap_or("not compressed"));
        }
        requests.extend([request(coding, "content-encoding", &answer.body), asking]);
    }
    Ok(requests)
}
