//! Requests that guests send: only to hosts that the service file names, and never further.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, Stream};

use crate::host::{Deployed, SOON, TestHost};

/// A server on loopback that gives one answer to every request, and counts its connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server that calls `serve` with each connection, one after the other.
    fn start(serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(SOON)).unwrap();
                serve(stream);
            }
        });
        Self { address, connections }
    }

    fn answering(answer: &'static str) -> Self {
        Self::start(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

fn deploy(host: &TestHost, allow_hosts: &[&str]) -> Deployed {
    let rpc = json!({"worker_threads": 1, "keepalive": 20_000});
    host.deploy("parts", "http-faults", json!({"metadata": {"rpc": rpc}, "sandbox": {"allow_hosts": allow_hosts}}))
}

/// Lets the guest send a GET, and returns what became of it.
fn fetch(host: &TestHost, service: &Deployed, uri: &str) -> String {
    let path = format!("{}/fetch?{uri}", service.path);
    let answer = host.client().send("GET", &path, &[("authorization", &service.token)], b"");
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    answer.text()
}

#[test]
fn a_guest_reaches_the_hosts_that_its_file_names() {
    let server = Server::start(|mut stream| {
        let head = read_head(&mut stream);
        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let (host, port) = (TestHost::start(), server.address.port());
    let service = deploy(&host, &[&server.address.to_string(), &format!("localhost:{port}")]);
    for name in ["127.0.0.1", "localhost"] {
        let seen = fetch(&host, &service, &format!("http://{name}:{port}/a?b=1"));
        let expected = format!("201 GET /a?b=1 HTTP/1.1\r\nhost: {name}:{port}\r\n");
        assert!(seen.starts_with(&expected), "{seen}");
    }
    assert_eq!(server.connections(), 2);
}

/// The ways in which a URI can mean a private address, most of them spelt to mislead a check (OWASP, "Server-Side
/// Request Forgery Prevention").
#[test]
fn no_spelling_leads_to_an_address_that_is_not_named() {
    let server = Server::answering(HELLO);
    let (host, port) = (TestHost::start(), server.address.port());
    let names = ["*.example.com", "*.internal", "*.localhost", "localhost", "example.com"];
    let wild = names.map(|name| format!("{name}:{port}"));
    let service = deploy(&host, &wild.each_ref().map(String::as_str));
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.1.",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "localhost.",
        "example.com@127.0.0.1",
        "127.0.0.1@example.com",
        "example.com:80@127.0.0.1",
        "evil-example.com",
        "example.com.evil.net",
        "metadata.google.internal.evil.net",
    ];
    let mut refused = 0;
    for name in hosts {
        let outcome = fetch(&host, &service, &format!("http://{name}:{port}/"));
        assert!(outcome.contains("HttpRequestDenied"), "{name}: {outcome}");
        refused += 1;
    }
    for uri in [
        format!("file://127.0.0.1:{port}/etc/passwd"),
        format!("gopher://127.0.0.1:{port}/"),
        format!("ftp://localhost:{port}/"),
        format!("http://{}/", host.admin),
        format!("http://{}/", host.data),
        "http://example.com:22/".to_owned(),
        "https://example.com:80/".to_owned(),
    ] {
        let outcome = fetch(&host, &service, &uri);
        // The engine itself refuses a scheme with an authority that is no address of the web.
        let is_refused = ["HttpRequestDenied", "HttpProtocolError"].iter().any(|error| outcome.contains(error));
        assert!(is_refused, "{uri}: {outcome}");
        refused += 1;
    }
    // These are named, and lead only to addresses that are not.
    for name in ["localhost", "LOCALHOST"] {
        let outcome = fetch(&host, &service, &format!("http://{name}:{port}/"));
        assert!(outcome.contains("DestinationIpProhibited"), "{outcome}");
        refused += 1;
    }
    assert_eq!(server.connections(), 0, "none of {refused} reached a listener");
    let told = ", a private or special address, which is not in sandbox.allow_hosts";
    host.wait_for("the reason to be logged", || host.log().contains(told));
}

#[test]
fn a_service_without_hosts_sends_nothing_and_is_told_why() {
    let server = Server::answering(HELLO);
    let host = TestHost::start();
    let service = deploy(&host, &[]);
    let outcome = fetch(&host, &service, &format!("http://{}/", server.address));
    assert!(outcome.contains("HttpRequestDenied"), "{outcome}");
    let told = format!("an outgoing request failed: {} is not in sandbox.allow_hosts", server.address);
    host.wait_for("the reason to be logged", || host.log().contains(&told));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_redirect_is_an_answer_like_any_other() {
    let inner = Server::answering(HELLO);
    let location = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", inner.address);
    let server = Server::answering(location.leak());
    let host = TestHost::start();
    let service = deploy(&host, &[&server.address.to_string()]);
    assert_eq!(fetch(&host, &service, &format!("http://{}/", server.address)), "302 ");
    assert_eq!(inner.connections(), 0);
}

#[test]
fn a_call_sends_a_bounded_number_of_requests() {
    let server = Server::answering(HELLO);
    let host = TestHost::start();
    let service = deploy(&host, &[&server.address.to_string()]);
    let uri = format!("http://{}/", server.address);
    assert_eq!(fetch(&host, &service, &format!("count=32&{uri}")), "200 hello");
    let outcome = fetch(&host, &service, &format!("count=33&{uri}"));
    assert!(outcome.contains("ConnectionLimitReached"), "{outcome}");
    assert_eq!(server.connections(), 64);
}

/// Servers that never answer, answer nonsense, or stop in the middle.
#[test]
fn a_bad_server_costs_no_more_than_its_call() {
    let host = TestHost::start();
    let (silent, nonsense) = (
        Server::start(|stream| {
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(30));
                drop(stream);
            });
        }),
        Server::answering("what?\r\n\r\n"),
    );
    let huge = Server::start(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let line = format!("x-large: {}\r\n", "v".repeat(1000));
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let gone = Server::start(drop);
    let names = [&silent, &nonsense, &huge, &gone].map(|server| server.address.to_string());
    let names = names.each_ref().map(String::as_str);
    let keys = json!({
        "metadata": {"rpc": {"worker_threads": 1, "keepalive": 1000}}, "sandbox": {"allow_hosts": names},
    });
    let service = host.deploy("parts", "http-faults", keys);
    for server in [&nonsense, &huge, &gone] {
        let outcome = fetch(&host, &service, &format!("http://{}/", server.address));
        assert!(outcome.contains("HttpProtocolError"), "{outcome}");
    }
    let path = format!("{}/fetch?http://{}/", service.path, silent.address);
    let late = host.client().send("GET", &path, &[("authorization", &service.token)], b"");
    late.assert_problem(408, "deadline_exceeded");
    assert!(fetch(&host, &service, &format!("http://{}/", nonsense.address)).contains("HttpProtocolError"));
}

#[test]
fn tls_is_verified() {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name);
    let certificate = CertificateDer::from_pem_file(file("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start(move |mut stream| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = Stream::new(&mut connection, &mut stream);
        if !read_head(&mut tls).is_empty() {
            let _ = tls.write_all(HELLO.as_bytes());
            let _ = tls.flush();
        }
    });
    let port = server.address.port();
    let allowed = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("other.localhost:{port}")];
    let allowed = allowed.each_ref().map(String::as_str);
    let trusting = TestHost::start_among(&[("SSL_CERT_FILE", file("ca.pem").as_os_str())]);
    let service = deploy(&trusting, &allowed);
    assert_eq!(fetch(&trusting, &service, &format!("https://localhost:{port}/")), "200 hello");
    assert_eq!(fetch(&trusting, &service, &format!("https://127.0.0.1:{port}/")), "200 hello");
    // A host that does not know the authority takes nothing from the server.
    let doubting = TestHost::start();
    let service = deploy(&doubting, &allowed);
    let outcome = fetch(&doubting, &service, &format!("https://localhost:{port}/"));
    assert!(outcome.contains("TlsProtocolError"), "{outcome}");
}

#[test]
fn an_entry_that_is_no_host_is_a_mistake() {
    let host = TestHost::start();
    let keys: Value = json!({"sandbox": {"allow_hosts": ["https://example.com", "127.1"]}});
    let refused = host.try_deploy("parts", "http-faults", keys);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("sandbox.allow_hosts[0]") && refused.text().contains("sandbox.allow_hosts[1]"));
}
