//! Runs a gateway without a host, and starts the gateway of a host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{
    AccessLog, CUT_OFF, LogFormat, announce, check_descriptors, control_threads, io_threads, listen,
    tell_of_few_descriptors, until_told,
};
use crate::admin::{GatewayAdmin, Scrapes};
use crate::admission::Executor;
use crate::config::GatewaySpec;
use crate::front::{ConnectionLimits, Each, Front, Services};
use crate::gateway::Gateway;
use crate::shutdown::Signals;
use crate::telemetry::{LogWriter, install_log};

/// A gateway's file, parsed and valid.
#[derive(Clone, Debug)]
pub struct GatewayFile {
    pub path: PathBuf,
    pub spec: GatewaySpec,
}

#[derive(Clone, Debug)]
pub struct GatewayOptions {
    pub file: GatewayFile,
    pub listen: SocketAddr,
    /// The address at which clients reach `listen`, if not the local one of their connections.
    pub advertise: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub io_threads: Option<usize>,
    pub grace: Duration,
    pub connections: ConnectionLimits,
    pub log_format: LogFormat,
    pub access_log: AccessLog,
}

/// Runs a gateway until it is told to end.
///
/// # Errors
/// The address or thread that is not available.
pub fn run(options: GatewayOptions) -> Result<()> {
    check_descriptors()?;
    let (log, _log_thread) = install_log(options.log_format, options.access_log).context("cannot start the log")?;
    tell_of_few_descriptors(&options.connections, Each::OwnAndForwarded);
    let runtime = control_threads()?;
    let outcome = runtime.block_on(serve(options, log));
    runtime.shutdown_timeout(CUT_OFF);
    let (accepted, settled) = outcome?.account();
    tracing::info!(accepted, settled, "the gateway has ended");
    Ok(())
}

async fn serve(options: GatewayOptions, log: LogWriter) -> Result<Arc<Gateway>> {
    let signals = Signals::install().context("cannot install signal handlers")?;
    let (data, control) = (listen(options.listen, "--listen")?, listen(options.admin, "--admin")?);
    let (data_addr, admin_addr) = (data.local_addr()?, control.local_addr()?);
    let threads = io_threads(options.io_threads)?;

    let (drain, draining) = watch::channel(false);
    let (end, ending) = watch::channel(false);
    let gateway = start(&options.file)?;
    let services = Services { local: None, elsewhere: Some(Arc::clone(&gateway)) };
    // Nothing is computed here. The front needs an executor, so it gets the smallest.
    let executor = Arc::new(Executor::new(1).context("cannot start the background thread")?);
    let front = Front::new(services, executor, log.clone(), options.connections, options.advertise);
    let admin = GatewayAdmin {
        gateway: Arc::clone(&gateway),
        front: front.clone(),
        log,
        scrapes: Scrapes::default(),
        draining: draining.clone(),
    };
    tokio::spawn(Arc::new(admin).serve(control, ending));
    let serving = tokio::spawn({
        let (front, threads) = (front.clone(), Arc::clone(&threads));
        async move { front.serve(data, threads, draining).await }
    });
    announce(data_addr, admin_addr);
    until_told(signals, &drain, serving, options.grace).await;
    front.cut_off();
    threads.end(CUT_OFF).await;
    let _ = end.send(true);
    Ok(gateway)
}

/// Starts to forward, and reads the file again at each SIGHUP.
pub(super) fn start(file: &GatewayFile) -> Result<Arc<Gateway>> {
    let mut hang_ups = signal(SignalKind::hangup()).context("cannot install the handler of SIGHUP")?;
    let gateway = Gateway::start(&file.spec);
    let (weak, path) = (Arc::downgrade(&gateway), file.path.clone());
    tokio::spawn(async move { while hang_ups.recv().await.is_some() && reload(&weak, &path).await {} });
    Ok(gateway)
}

/// Reads the file again; false if the gateway is gone. If the file has mistakes, the routes stay as they were.
async fn reload(gateway: &Weak<Gateway>, path: &Path) -> bool {
    let Some(gateway) = gateway.upgrade() else { return false };
    let text = tokio::fs::read_to_string(path).await;
    let file = path.display();
    match text.as_deref().map(GatewaySpec::parse) {
        Ok(Ok(spec)) => {
            gateway.change(&spec);
            tracing::info!(%file, "the gateway's file has been read again");
        }
        Ok(Err(mistakes)) => {
            for mistake in &mistakes {
                tracing::error!(%file, %mistake, "mistake in the gateway's file: the routes stay as they were");
            }
        }
        Err(error) => tracing::error!(%file, %error, "the gateway's file cannot be read: the routes stay as they were"),
    }
    true
}
