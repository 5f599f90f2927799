//! Compares the gateway in front of a host with Envoy in front of the same host and with the host alone. Same client,
//! in turns, one network thread for each proxy.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::children::Running;
use super::open::Caller;
use super::report::Line;
use super::server::Server;
use super::{Bench, KIB, contest, goals};
use crate::host::Host;
use crate::services::Service;
use crate::setup::{self, Python};

const HOST: &str = "Bulkhead, asked directly";
const OURS: &str = "Bulkhead behind its gateway";
const ENVOY: &str = "Bulkhead behind Envoy";
/// The longest wait for a proxy's first answer.
const START: Duration = Duration::from_secs(20);

/// A running proxy.
pub(super) struct Proxy {
    running: Running,
    pub(super) address: SocketAddr,
}

impl Bench {
    pub(super) fn gateway(&mut self, host: &Host, echo: &Service) -> Result<()> {
        let directory = self.directory.join("gateway");
        let request = echo.request(&vec![b'x'; KIB]);
        let ours = ours(&self.binary, &directory, host.data)?;
        ours.wait(&request)?;
        let mut servers = vec![
            Server::new(HOST, host.data, host.pid(), vec![request.clone()]),
            Server::new(OURS, ours.address, ours.pid(), vec![request.clone()]),
        ];
        let envoy = match envoy(&directory, host.data) {
            Ok(envoy) => {
                envoy.wait(&request)?;
                servers.push(Server::new(ENVOY, envoy.address, envoy.pid(), vec![request]));
                Ok(envoy)
            }
            Err(error) => Err(error),
        };
        let runs = contest::hold(&servers, self.plan);
        let (direct, text) = contest::throughput(&runs[1], &runs[0])?;
        let told = Line::ratio("gateway, echo 1 KiB: throughput to the host alone", direct, text);
        let beside_envoy = match envoy {
            Ok(_) => {
                let (ratio, text) = contest::throughput(&runs[1], &runs[2])?;
                let (cost, cost_text) = contest::cost(&runs[1], &runs[2])?;
                let cost = Line::ratio("gateway, echo 1 KiB: its CPU to Envoy's", cost, cost_text);
                vec![goals::GATEWAY.ratio(ratio, text), cost]
            }
            Err(error) => vec![goals::GATEWAY.absent(&format!("{error:#}"))],
        };
        self.add([told].into_iter().chain(beside_envoy))
    }
}

impl Proxy {
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Ends the process with SIGTERM; an exit code other than 0 is an error.
    pub(super) fn finish(self) -> Result<()> {
        self.running.finish()
    }

    /// Waits until the proxy forwards a request.
    pub(super) fn wait(&self, request: &[u8]) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match Caller::connect(self.address).and_then(|mut caller| caller.call(request)) {
                Ok(200) => return Ok(()),
                _ if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Ok(status) => bail!("a proxy answered {status}"),
                Err(error) => return Err(error.context("a proxy does not answer")),
            }
        }
    }
}

pub(super) fn ours(binary: &Path, directory: &Path, host: SocketAddr) -> Result<Proxy> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join("gateway.json");
    let config = json!({"clusters": {"host": {"upstreams": [host.to_string()]}}, "routes": {"*": "host"}});
    fs::write(&file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(binary);
    command.arg("gateway").arg("--config").arg(&file);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--io-threads", "1"]);
    // The measured connection must not be closed by this limit.
    command.args(["--max-requests-per-connection", "1000000000"]);
    // As for the host, log lines are formatted and written, but discarded.
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))?;
    let mut line = String::new();
    BufReader::new(running.stdout().context("the gateway has no output")?).read_line(&mut line)?;
    let address = line.strip_prefix("listening data=").and_then(|rest| rest.split(' ').next()?.parse().ok());
    Ok(Proxy { running, address: address.with_context(|| format!("the gateway said {line:?}"))? })
}

/// Starts Envoy with one worker, without an access log, and otherwise with its defaults. Our gateway does write a log
/// line per request.
fn envoy(directory: &Path, host: SocketAddr) -> Result<Proxy> {
    let python = match setup::python()? {
        Python::Ready(python) => python,
        Python::Missing(why) => bail!("{why}"),
    };
    let binary = setup::envoy(&python).map_err(anyhow::Error::msg)?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let file = directory.join("envoy.json");
    fs::write(&file, envoy_config(port, host).to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(binary);
    command.arg("--config-path").arg(&file);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
    let running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(Proxy { running, address: port })
}

fn envoy_config(listen: SocketAddr, host: SocketAddr) -> Value {
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let extension = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let connections = json!({
        "@type": extension("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "http",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "host"}}],
        }]},
        "http_filters": [{"name": "router", "typed_config": {"@type": extension("http.router.v3.Router")}}],
    });
    json!({"static_resources": {
        "listeners": [{
            "address": socket(listen),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
        }],
        "clusters": [{
            "name": "host",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "host",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(host)}}]}],
            },
        }],
    }})
}
