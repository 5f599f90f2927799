//! Hosts whose services and files are kept outside their data directories: here in memory, and shared.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead::admin::{Admin, MAX_FAILED_LOGINS, Scrapes, reachable};
use bulkhead::admission::Executor;
use bulkhead::auth::Attempts;
use bulkhead::front::{ConnectionLimits, Front, IoThreads, Services};
use bulkhead::outbound::Pool;
use bulkhead::queue::memory::MemoryQueues;
use bulkhead::queue::{Clock, Queues};
use bulkhead::registry::Registry;
use bulkhead::sandbox::{Capacity, Sandbox};
use bulkhead::storage::memory::{MemoryArtifacts, MemoryCatalog};
use bulkhead::storage::{Artifacts, Catalog, Storage};
use bulkhead::telemetry::{AccessLog, Format, install_log};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::host::{Deployed, binary, hash};
use crate::http::{Client, Response};

/// The storage that hosts share.
struct Shared {
    catalog: Arc<dyn Catalog>,
    artifacts: Arc<dyn Artifacts>,
}

/// A host inside the test process.
struct Host {
    data: SocketAddr,
    admin: SocketAddr,
    token: String,
    /// Senders that make the host end when they are dropped.
    _ends: [watch::Sender<bool>; 2],
    runtime: Option<Runtime>,
}

impl Shared {
    fn new() -> Self {
        let artifacts = MemoryArtifacts::new().expect("a temporary directory");
        Self { catalog: Arc::<MemoryCatalog>::default(), artifacts: Arc::new(artifacts) }
    }

    /// Starts a host with its own data directory, and waits until its services are started.
    fn host(&self, dir: &Path) -> Host {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let storage = Storage::with(dir, Arc::clone(&self.catalog), Arc::clone(&self.artifacts)).expect("a directory");
        let storage = Arc::new(storage);
        let mut host = runtime.block_on(start(storage));
        host.runtime = Some(runtime);
        host
    }
}

async fn start(storage: Arc<Storage>) -> Host {
    let (log, _) = install_log(Format::Text, AccessLog::Off).expect("a log");
    let executor = Arc::new(Executor::new(1).expect("a thread"));
    let sandbox = Sandbox::new(binary(), storage.compiled(), Capacity { guests: 16, memory: 512 << 20 });
    let queues = Queues::new(Arc::new(MemoryQueues::new(Clock::system())), Arc::default());
    let outbound = Pool::new(executor.background().clone(), 8);
    let registry = Registry::open(Arc::clone(&storage), sandbox, Arc::clone(&executor), outbound, queues).await;
    let registry = registry.expect("services");
    let registry = Arc::new(registry);
    let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (data, admin) = (listen().await, listen().await);
    let (data_address, admin_address) = (data.local_addr().unwrap(), admin.local_addr().unwrap());
    let (drain, draining) = watch::channel(false);
    let (end, ending) = watch::channel(false);
    let services = Services { local: Some(Arc::clone(&registry)), elsewhere: None };
    let front = Front::new(services, executor, log.clone(), ConnectionLimits::default(), None);
    let token = storage.admin_token().expect("a token");
    let host = Host {
        data: data_address,
        admin: admin_address,
        token: token.reveal().to_owned(),
        _ends: [drain, end],
        runtime: None,
    };
    let operators = Arc::new(Admin {
        registry: Arc::clone(&registry),
        gateway: None,
        storage,
        front: front.clone(),
        log,
        scrapes: Scrapes::default(),
        token,
        attempts: Attempts::new(Some(MAX_FAILED_LOGINS)),
        data_url: reachable(data_address),
        draining: draining.clone(),
    });
    tokio::spawn(operators.serve(admin, ending));
    let threads = Arc::new(IoThreads::start(1).expect("a thread"));
    tokio::spawn(async move { front.serve(data, threads, draining).await });
    tokio::spawn(registry.start_all()).await.expect("the services are up");
    host
}

impl Host {
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Response {
        let authorization = format!("Bearer {}", self.token);
        Client::connect(self.admin).send(method, path, &[("authorization", &authorization)], body)
    }

    fn described(&self) -> Value {
        self.ask("GET", "/api/v1/services/svc", b"").json()
    }

    fn call(&self, body: &[u8]) -> Response {
        let service = Deployed { path: "/api/predict/svc".into(), token: "t".into() };
        Client::connect(self.data).post(&service, body)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// Creates a service with a model and warm-up requests, so that all kinds of files are used.
fn deploy(host: &Host) {
    let guest = std::fs::read(bulkhead_artifacts::guest("echo")).unwrap();
    let files = [&guest[..], b"the weights", b"warm\n"].map(|bytes| {
        let sha256 = hash(bytes);
        let put = host.ask("PUT", &format!("/api/v1/artifacts/{sha256}"), bytes);
        assert_eq!(put.status, 201, "{}", put.text());
        sha256
    });
    let [processor, model, warm_up] = files;
    let spec = json!({"name": "svc", "token": "t", "processor_path": "echo.wasm", "model_path": "m",
        "model_entry": "deep/weights", "warm_up_data_path": "warm.txt"});
    let model = json!([{"path": "deep/weights", "sha256": model, "size": 11}]);
    let body = json!({"spec": spec, "processor": processor, "model": model, "warm_up": warm_up});
    let created = host.ask("POST", "/api/v1/services", body.to_string().as_bytes());
    assert_eq!(created.status, 201, "{}", created.text());
}

fn workers(count: u64) -> Vec<u8> {
    json!({"spec": {"metadata": {"rpc": {"worker_threads": count}}}}).to_string().into_bytes()
}

#[test]
fn a_host_finds_its_services_where_they_are_kept_and_nothing_of_them_in_its_data_directory() {
    let (shared, dir) = (Shared::new(), tempfile::tempdir().unwrap());
    let host = shared.host(dir.path());
    deploy(&host);
    assert_eq!(host.call(b"hello").text(), "hello");
    assert_eq!(host.ask("PUT", "/api/v1/services/svc", &workers(2)).status, 200);
    for kept in ["bulkhead.redb", "artifacts"] {
        assert!(!dir.path().join(kept).exists(), "{kept}");
    }
    drop(host);
    // Another machine has only the shared storage.
    let other = tempfile::tempdir().unwrap();
    let host = shared.host(other.path());
    assert_eq!(host.call(b"again").text(), "again");
    assert_eq!((host.described()["version"].as_u64(), host.described()["revision"].as_u64()), (Some(2), Some(2)));
    let back = host.ask("POST", "/api/v1/services/svc/version", br#"{"version":1}"#);
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(host.call(b"back").text(), "back");
    let audit = host.ask("GET", "/api/v1/audit", b"").json();
    assert_eq!(audit["entries"].as_array().unwrap().len(), 3, "{audit}");
    assert_eq!(host.ask("DELETE", "/api/v1/services/svc", b"").status, 200);
    assert_eq!(host.call(b"gone").status, 404);
}

#[test]
fn a_change_of_what_another_host_has_changed_is_refused_and_changes_nothing() {
    let (shared, dirs) = (Shared::new(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let first = shared.host(dirs[0].path());
    deploy(&first);
    let second = shared.host(dirs[1].path());
    assert_eq!(second.ask("PUT", "/api/v1/services/svc", &workers(2)).status, 200);
    for (method, path, body) in [
        ("PUT", "/api/v1/services/svc", workers(3)),
        ("POST", "/api/v1/services/svc/stop", Vec::new()),
        ("DELETE", "/api/v1/services/svc", Vec::new()),
    ] {
        let refused = first.ask(method, path, &body);
        let problem = refused.assert_problem(409, "change_conflict");
        assert!(problem["detail"].as_str().unwrap().contains("at revision 1, and is at revision 2"), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("again"), "{problem}");
        assert_eq!(first.call(b"still").text(), "still");
    }
    let made = second.ask("PUT", "/api/v1/services/svc", &workers(4));
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(second.described()["version"], 3, "no refused change has left a version");
}
