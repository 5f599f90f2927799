//! The command `gateway`: forwards requests to hosts, and runs no services itself.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Exit, Failure};
use super::kind::read_text;
use super::listener::ListenerArgs;
use super::screen::Screen;
use crate::config::GatewaySpec;
use crate::front::Each;
use crate::serve::{GatewayFile, GatewayOptions, run_gateway};

#[derive(Args, Debug)]
#[command(after_help = "\
The smallest FILE:
  {
    \"clusters\": {\"ml\": {\"upstreams\": [\"10.0.0.7:8080\", \"10.0.0.8:8080\"]}},
    \"routes\": {\"*\": \"ml\"}
  }
docs/reference/gateway-file.md has one with every key, and `bulkhead schema --gateway` describes them. SIGHUP reloads
FILE; if it then has mistakes, the settings stay as they were.

When both listeners are open, one line gives their addresses: listening data=ADDR admin=ADDR.
The admin listener has /healthz, /readyz, /metrics and /api/v1/upstreams.
TIME is a number of seconds, or has a unit: 30, 1500ms, 2m.

Examples:
  bulkhead gateway --config gateway.json --check
  bulkhead gateway --config gateway.json --listen 0.0.0.0:8080")]
pub(super) struct GatewayArgs {
    /// The file with the hosts, and with the routes from services to hosts
    #[arg(long, value_name = "FILE", env = "BULKHEAD_GATEWAY")]
    config: PathBuf,
    /// Only check FILE and list its mistakes
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    listener: ListenerArgs,
}

pub(super) fn gateway(args: &GatewayArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let file = read(&args.config)?;
    if args.check {
        for remark in file.spec.remarks() {
            screen.note(format_args!("note: {remark}"));
        }
        let (routes, clusters) = (file.spec.routes().len(), file.spec.clusters().len());
        screen.line(format_args!("{}: no mistakes; routes: {routes}, clusters: {clusters}", file.path.display()))?;
        return Ok(Exit::Ok);
    }
    let connections = args.listener.connections(Each::OwnAndForwarded);
    let ListenerArgs { listen, advertise, admin, io_threads, grace, log_format, access_log, .. } = args.listener;
    let io_threads = io_threads.map(usize::from);
    run_gateway(GatewayOptions {
        file,
        listen,
        advertise,
        admin,
        io_threads,
        grace,
        connections,
        log_format,
        access_log,
    })?;
    Ok(Exit::Ok)
}

/// Reads and checks a gateway's file.
pub(super) fn read(path: &Path) -> Result<GatewayFile, Failure> {
    let text = read_text(path, "the gateway's file")?;
    let spec = GatewaySpec::parse(&text).map_err(|mistakes| Failure::in_file(path, mistakes))?;
    Ok(GatewayFile { path: path.to_owned(), spec })
}
