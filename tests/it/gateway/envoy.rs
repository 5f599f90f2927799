//! The gateway compared with Envoy, case by case: the same upstreams, the same requests, and the same status and text.
//!
//! Envoy comes from PyPI (`cargo xtask setup` installs it into the venv). If it is missing, the test says so and
//! compares nothing. Compared are the status and the completeness of the answer. For answers that the proxy makes
//! itself, our `detail` must contain all of Envoy's text. Envoy's headers are not compared, nor the reason phrase of
//! 450, which Envoy rewrites.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use super::fake::{Fake, Peer};
use crate::figures::must;
use crate::host::{SOON, TestHost};
use crate::http::request;

/// One upstream, and the special keys of its cluster.
struct Case {
    name: &'static str,
    upstream: Option<SocketAddr>,
    envoy: Value,
    ours: Value,
    /// True if the answer is the upstream's own.
    is_passed_on: bool,
    _held: Vec<Box<dyn std::any::Any>>,
}

/// The answer that a caller got.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    status: u16,
    is_whole: bool,
    text: String,
}

fn case(name: &'static str, upstream: Option<SocketAddr>) -> Case {
    Case { name, upstream, envoy: json!({}), ours: json!({}), is_passed_on: false, _held: Vec::new() }
}

fn doing(name: &'static str, serve: impl Fn(Peer) + Send + Sync + 'static) -> Case {
    let fake = Fake::start(serve);
    Case { _held: vec![Box::new(fake.address)], ..case(name, Some(fake.address)) }
}

fn saying(name: &'static str, bytes: &'static str) -> Case {
    doing(name, move |mut peer| {
        peer.request();
        peer.say(bytes);
    })
}

fn cases() -> Vec<Case> {
    let passed_on = |case: Case| Case { is_passed_on: true, ..case };
    let mut cases = vec![
        case("no-endpoints", None),
        case("refused", Some(Fake::nobody())),
        doing("closed-before-headers", |mut peer| {
            peer.request();
        }),
        doing("reset-before-headers", |mut peer| {
            peer.request();
            peer.reset();
        }),
        saying("garbage", "this is no answer at all\r\n\r\n"),
        saying("bad-status", "HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n"),
        saying("bad-length", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"),
        saying("two-framings", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        doing("never-answers", |mut peer| {
            peer.request();
            peer.wait_until_gone();
        }),
        passed_on(saying("half-a-body", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")),
        passed_on(saying("half-the-chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")),
        passed_on(doing("reset-in-body", |mut peer| {
            peer.request();
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            // The bytes must have been forwarded before the reset discards them.
            std::thread::sleep(Duration::from_millis(100));
            peer.reset();
        })),
        passed_on(saying("queue-full", "HTTP/1.1 450 Queue Full\r\ncontent-length: 4\r\n\r\nfull")),
        passed_on(saying("own-503", "HTTP/1.1 503 Mine\r\ncontent-length: 4\r\n\r\nmine")),
        passed_on(saying("own-500", "HTTP/1.1 500 Mine\r\ncontent-length: 4\r\n\r\nmine")),
    ];
    cases.extend(connection_timeout());
    cases
}

/// Makes a listener with a full backlog; `None` if the system has no such limit.
fn connection_timeout() -> Option<Case> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(200);
    let waiting: Vec<TcpStream> = (0..32).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    let held: Vec<Box<dyn std::any::Any>> = vec![Box::new(listener), Box::new(waiting)];
    Some(Case { _held: held, ..case("connection-timeout", Some(address)) })
}

/// Returns the path of Envoy, if it is installed.
fn binary() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("BULKHEAD_ENVOY") {
        return Some(given.into());
    }
    let lib = bulkhead_artifacts::root().join("target/venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|path| path.is_file())
}

struct Envoy {
    process: Child,
    address: SocketAddr,
}

impl Envoy {
    fn start(binary: &Path, dir: &Path, cases: &[Case]) -> Self {
        // Envoy does not report its port, so it gets one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let file = dir.join("envoy.json");
        std::fs::write(&file, envoy_config(address, cases).to_string()).unwrap();
        let log = File::create(dir.join("envoy.log")).unwrap();
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(&file)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("envoy can be run");
        let mut envoy = Self { process, address };
        let end = Instant::now() + SOON;
        while TcpStream::connect(address).is_err() {
            let ended = envoy.process.try_wait().unwrap();
            let log = || std::fs::read_to_string(dir.join("envoy.log")).unwrap();
            assert!(ended.is_none() && Instant::now() < end, "envoy does not listen: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        envoy
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn envoy_config(listen: SocketAddr, cases: &[Case]) -> Value {
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let extension = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let routes: Vec<Value> = cases
        .iter()
        .map(|case| {
            let path = format!("/api/predict/{}", case.name);
            json!({"match": {"path": path}, "route": {"cluster": case.name, "timeout": "0.5s"}})
        })
        .collect();
    let clusters: Vec<Value> = cases
        .iter()
        .map(|case| {
            let endpoints: Vec<Value> =
                case.upstream.iter().map(|upstream| json!({"endpoint": {"address": socket(*upstream)}})).collect();
            let mut cluster = json!({
                "name": case.name,
                "type": "STATIC",
                "connect_timeout": "0.3s",
                "load_assignment": {"cluster_name": case.name, "endpoints": [{"lb_endpoints": endpoints}]},
            });
            for (key, value) in case.envoy.as_object().unwrap() {
                cluster[key] = value.clone();
            }
            cluster
        })
        .collect();
    json!({"static_resources": {
        "listeners": [{
            "address": socket(listen),
            "filter_chains": [{"filters": [{
                "name": "http",
                "typed_config": {
                    "@type": extension("network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "http",
                    "codec_type": "HTTP1",
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
                    "http_filters": [{
                        "name": "router",
                        "typed_config": {"@type": extension("http.router.v3.Router")},
                    }],
                },
            }]}],
        }],
        "clusters": clusters,
    }})
}

fn our_config(cases: &[Case]) -> Value {
    let (mut clusters, mut routes) = (json!({}), json!({}));
    for case in cases {
        let mut cluster = json!({
            // A cluster without upstreams is not allowed. A cluster whose only upstream is known to be down is
            // equivalent.
            "upstreams": [case.upstream.unwrap_or_else(Fake::nobody).to_string()],
            "connect_timeout_ms": 300,
            "request_timeout_ms": 500,
            "health_check": {"interval_ms": if case.upstream.is_some() { 0 } else { 1000 }},
            "ejection": {"consecutive_failures": 0},
        });
        for (key, value) in case.ours.as_object().unwrap() {
            cluster[key] = value.clone();
        }
        clusters[case.name] = cluster;
        routes[case.name] = json!(case.name);
    }
    json!({"clusters": clusters, "routes": routes})
}

/// Sends a request for a case's service, and reads the answer to its end.
fn ask(proxy: SocketAddr, case: &Case) -> Got {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let path = format!("/api/predict/{}", case.name);
    stream.write_all(&request("POST", &path, &[("connection", "close")], b"hello")).unwrap();
    let mut all = Vec::new();
    // A reset also ends the answer, and the bytes before it count.
    let _ = stream.read_to_end(&mut all);
    let all = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let length: Option<usize> = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let is_whole = match length {
        Some(length) => body.len() == length,
        None => body.ends_with("0\r\n\r\n"),
    };
    Got { status, is_whole, text: body.to_owned() }
}

/// Returns our text, the problem's `detail`.
fn detail(got: &Got) -> String {
    serde_json::from_str::<Value>(&got.text)
        .ok()
        .and_then(|problem| Some(problem["detail"].as_str()?.to_owned()))
        .unwrap_or_default()
}

#[test]
fn the_gateway_answers_where_envoy_does_and_as_it_does() {
    let Some(binary) = binary() else {
        println!("skipped: there is no Envoy; `cargo xtask setup` brings it, or BULKHEAD_ENVOY says where it is");
        return;
    };
    let cases = cases();
    let dir = tempfile::tempdir().unwrap();
    let envoy = Envoy::start(&binary, dir.path(), &cases);
    let gateway = TestHost::start_gateway(&our_config(&cases), &[]);
    let mut differ = Vec::new();
    println!("{:22}  {:>5}  {:>7}  {:5}  text of Envoy, which ours contains", "case", "envoy", "gateway", "end");
    for case in &cases {
        let (theirs, ours) = (ask(envoy.address, case), ask(gateway.data, case));
        let same_words = if case.is_passed_on {
            // Each proxy frames the pieces of a body in its own way.
            theirs.text.contains("half") == ours.text.contains("half") && (!ours.is_whole || ours.text == theirs.text)
        } else {
            !theirs.text.is_empty() && detail(&ours).contains(&theirs.text)
        };
        let is_same = theirs.status == ours.status && theirs.is_whole == ours.is_whole && same_words;
        let end = if ours.is_whole { "whole" } else { "cut" };
        let (name, text) = (case.name, theirs.text.replace("\r\n", "\\r\\n"));
        println!(
            "{name:22}  {:>5}  {:>7}  {end:5}  {text}{}",
            theirs.status,
            ours.status,
            if is_same { "" } else { "  DIFFERS" }
        );
        if !is_same {
            differ.push(format!("{name}: {theirs:?} and {ours:?}"));
        }
    }
    let alike = cases.len() - differ.len();
    must("gateway.envoy.alike", &format!("{0} of {0} cases", cases.len()), alike, differ.is_empty());
}
