//! One process: assembles its parts, runs them, and shuts them down in order. A host is here; a gateway without a host
//! is in `gateway`.

mod data;
mod gateway;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::{Admin, MAX_FAILED_LOGINS, Scrapes, reachable};
use crate::admission::Executor;
use crate::auth::Attempts;
use crate::front::{ConnectionLimits, Descriptors, Each, Front, IoThreads, Services};
use crate::gateway::Gateway;
use crate::outbound::Pool;
use crate::pump::Pumps;
use crate::queue::{Clock, LocalQueues, Queues};
use crate::registry::Registry;
use crate::sandbox::{Capacity, Sandbox, own_program};
use crate::shutdown::Signals;
use crate::storage::{self, Storage};
use crate::telemetry::{LogWriter, install_log};

pub use self::gateway::{GatewayFile, GatewayOptions, run as run_gateway};
pub use crate::telemetry::{AccessLog, Format as LogFormat};

/// The time for threads to drop what has not ended within the grace period.
const CUT_OFF: Duration = Duration::from_millis(100);
/// Most connections that wait to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub data: PathBuf,
    /// Start with a new database if the one in `data` is missing.
    pub new_database: bool,
    /// Accept components of WASI 0.3.
    pub wasi_03: bool,
    pub listen: SocketAddr,
    /// The address at which clients reach `listen`, if not the local one of their connections.
    pub advertise: Option<SocketAddr>,
    pub admin: SocketAddr,
    /// The number of threads for callers' connections; `None` for as many as cores.
    pub io_threads: Option<usize>,
    /// The time for running requests to finish after the first signal.
    pub grace: Duration,
    pub connections: ConnectionLimits,
    /// The gateway for names that are not services here.
    pub gateway: Option<GatewayFile>,
    pub log_format: LogFormat,
    pub access_log: AccessLog,
}

/// Runs a host until it is told to end.
///
/// # Errors
/// The directory, address or thread that is not available.
pub fn run(options: ServeOptions) -> Result<()> {
    check_descriptors()?;
    let (log, _log_thread) = install_log(options.log_format, options.access_log).context("cannot start the log")?;
    tell_of_few_descriptors(&options.connections, Each::of(options.gateway.is_some()));
    let runtime = control_threads()?;
    // Any fault in what is on disk is found before a port is opened.
    let storage = open_storage(&options.data, options.new_database)
        .with_context(|| format!("cannot use data directory {} (--data)", options.data.display()))?;
    let executor = Arc::new(Executor::new(cores()).context("cannot start the background threads")?);
    let sandbox = Sandbox::new(own_program(), storage.compiled(), Capacity::default());
    let sandbox = if options.wasi_03 { sandbox.with_wasi_03() } else { sandbox };
    if let Some(shortage) = sandbox.pool().shortage() {
        tracing::warn!(shortage, "fewer guests fit into this host");
    }
    if let Some(shortage) = sandbox.async_pool().and_then(|pool| pool.shortage()) {
        tracing::warn!(shortage, "fewer guests of WASI 0.3 fit into this host");
    }
    let storage = Arc::new(storage);
    let queues = open_queues(&options.data.join("queues.redb"))?;
    let commits = Arc::clone(queues.commits());
    let queues = Queues::new(Arc::new(queues), commits);
    let outbound = Pool::new(executor.background().clone(), Descriptors::of_this_process().for_outgoing());
    let opened = Registry::open(Arc::clone(&storage), sandbox, Arc::clone(&executor), outbound, queues);
    let registry = runtime.block_on(opened);
    let registry = Arc::new(registry.context("cannot read the services")?);
    let outcome = runtime.block_on(serve(options, storage, Arc::clone(&registry), executor, log));
    runtime.shutdown_timeout(CUT_OFF);
    // The last line of the log is the account. It shows whether every request was answered.
    let forwarded = outcome?.map_or((0, 0), |gateway| gateway.account());
    let local = registry.account();
    let (accepted, settled) = (local.0 + forwarded.0, local.1 + forwarded.1);
    tracing::info!(accepted, settled, "the host has ended");
    Ok(())
}

/// Checks the number of descriptors, because the runtime panics if it gets none.
fn check_descriptors() -> Result<()> {
    Descriptors::of_this_process().check().map_err(|reason| anyhow!("cannot start: {reason}"))
}

fn tell_of_few_descriptors(connections: &ConnectionLimits, each: Each) {
    if let Some(shortage) = Descriptors::of_this_process().shortage(connections.total, each) {
        tracing::warn!(shortage, "there are few file descriptors");
    }
}

/// Opens the data directory; the error names the process that uses it, if one does.
fn open_storage(data: &Path, new_database: bool) -> Result<Storage> {
    data::check(data)?;
    let open = if new_database { Storage::begin_anew } else { Storage::open };
    let storage = open(data).map_err(|error| match error.is_in_use() {
        false => error.into(),
        true => {
            let pid = storage::holder(data).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            anyhow!(
                "another bulkhead uses this directory{pid}\nhint: end that one, or give this one a directory of its own"
            )
        }
    })?;
    if new_database {
        data::tell_of_new_database(data);
    }
    storage::note_holder(data);
    Ok(storage)
}

/// Opens the queues of asynchronous services.
fn open_queues(path: &Path) -> Result<LocalQueues> {
    LocalQueues::open(path, Clock::system()).map_err(|error| {
        let what = format!("cannot open the queues {}: {error}", path.display());
        // A file without redb's first bytes is damaged; other failures of the disk are not mended by another file.
        let is_damaged = match &error {
            redb::Error::Io(io) => io.kind() == std::io::ErrorKind::InvalidData,
            error => !matches!(error, redb::Error::DatabaseAlreadyOpen),
        };
        if !is_damaged {
            return anyhow!(what);
        }
        anyhow!(
            "{what}\nhint: restore queues.redb and queues.log from a backup; or move the \
             damaged file away: without queues.log the host has the queues as they were some time before it was \
             killed, without both they are empty"
        )
    })
}

/// Starts the runtime for everything but callers' connections. Work that may block runs on a few threads of its own.
fn control_threads() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores())
        .max_blocking_threads(16)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control threads")?;
    runtime.block_on(async { Signals::outlive_file_limit() }).context("cannot install signal handlers")?;
    Ok(runtime)
}

fn io_threads(count: Option<usize>) -> Result<Arc<IoThreads>> {
    let threads = IoThreads::start(count.unwrap_or_else(cores)).context("cannot start the network threads")?;
    Ok(Arc::new(threads))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn serve(
    options: ServeOptions,
    storage: Arc<Storage>,
    registry: Arc<Registry>,
    executor: Arc<Executor>,
    log: LogWriter,
) -> Result<Option<Arc<Gateway>>> {
    let signals = Signals::install().context("cannot install signal handlers")?;
    let (data, control) = (listen(options.listen, "--listen")?, listen(options.admin, "--admin")?);
    let (data_addr, admin_addr) = (data.local_addr()?, control.local_addr()?);
    let threads = io_threads(options.io_threads)?;

    let (drain, draining) = watch::channel(false);
    let (end, ending) = watch::channel(false);
    let gateway = options.gateway.as_ref().map(gateway::start).transpose()?;
    let services = Services { local: Some(Arc::clone(&registry)), elsewhere: gateway.clone() };
    let front = Front::new(services, executor, log.clone(), options.connections, options.advertise);
    let admin = Arc::new(Admin {
        registry: Arc::clone(&registry),
        gateway: gateway.clone(),
        token: storage.admin_token()?,
        attempts: Attempts::new(Some(MAX_FAILED_LOGINS)),
        storage,
        front: front.clone(),
        log,
        scrapes: Scrapes::default(),
        data_url: reachable(data_addr),
        draining: draining.clone(),
    });
    tokio::spawn(admin.serve(control, ending));
    let serving = tokio::spawn({
        let (front, threads) = (front.clone(), Arc::clone(&threads));
        async move { front.serve(data, threads, draining).await }
    });
    let mut pumps = Pumps::start(Arc::clone(&registry), front.ledger());
    announce(data_addr, admin_addr);
    // The start of services goes on during a drain, and ends with the runtime.
    let starting = Arc::clone(&registry);
    drop(tokio::spawn(async move { starting.start_all().await }));

    let finished = async {
        registry.queues().end_waits();
        tokio::join!(serving, pumps.drain())
    };
    until_told(signals, &drain, finished, options.grace).await;
    front.cut_off();
    // After the cut-off, so that an item that is given back counts as 503 and not as left by its client.
    pumps.end().await;
    threads.end(CUT_OFF).await;
    let _ = end.send(true);
    Ok(gateway)
}

/// Waits until the process is told to end. Then waits for the first of: `finished`, which ends with the last request; the
/// end of the grace period; or a second signal.
async fn until_told(mut signals: Signals, drain: &watch::Sender<bool>, finished: impl Future, grace: Duration) {
    let signal = signals.next().await;
    let grace_ms = grace.as_millis() as u64;
    tracing::info!(signal, grace_ms, "draining: no new connections, running requests are finished");
    let _ = drain.send(true);
    tokio::select! {
        _ = finished => tracing::info!("every request is finished"),
        () = tokio::time::sleep(grace) => tracing::warn!("the grace period is over; what still runs is cut off"),
        again = signals.next() => tracing::warn!(signal = again, "ending at once"),
    }
}

/// Listens on the address that `option` names.
fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    try_listen(address).map_err(|cause| {
        let hint = match cause.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("\nhint: another process listens there; end it, or name another address with {option}")
            }
            _ => String::new(),
        };
        anyhow!("cannot listen on {address} ({option}): {cause}{hint}")
    })
}

fn try_listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted host must not wait until the kernel forgets its predecessor's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Writes the line that scripts wait for.
fn announce(data: SocketAddr, admin: SocketAddr) {
    let mut out = std::io::stdout().lock();
    // The reader may have closed its end. The host serves all the same.
    let _ = writeln!(out, "listening data={data} admin={admin}").and_then(|()| out.flush());
}
