//! The command `serve`: the options of a host.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::gateway;
use super::listener::ListenerArgs;
use crate::front::Each;
use crate::serve::ServeOptions;

#[derive(Args, Debug)]
#[command(after_help = "\
When both listeners are open, one line gives their addresses: listening data=ADDR admin=ADDR.
The admin token is in DIR/admin.token.
TIME is a number of seconds, or has a unit: 30, 1500ms, 2m.

Examples:
  bulkhead serve
  bulkhead serve --data /var/lib/bulkhead --listen 0.0.0.0:8080 --log-format json")]
pub(super) struct ServeArgs {
    /// The directory for services, their files and the admin token
    #[arg(long, value_name = "DIR", env = "BULKHEAD_DATA", default_value = "./bulkhead-data")]
    data: PathBuf,
    /// Start with a new, empty database if the one in DIR is gone but files of services are still there. The new
    /// database has no services, so their files are removed: compiled code and unpacked models at once, uploads after a
    /// while
    #[arg(long)]
    new_database: bool,
    /// Forward requests for names that are not services of this host, as FILE says (see `bulkhead gateway --help`)
    #[arg(long, value_name = "FILE", env = "BULKHEAD_GATEWAY")]
    gateway: Option<PathBuf>,
    /// Most wrong tokens a second from one address; further ones get 429. A service's right token also gets 429 then,
    /// if it is weak enough to be guessed [default: no limit, since all callers behind a gateway have one address; the
    /// admin listener always allows 10]
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_FAILED_LOGINS_PER_ADDRESS")]
    max_failed_logins_per_address: Option<NonZeroU32>,
    /// Accept components of WASI 0.3, too. The engine's support for them is experimental: faults in it get no security
    /// updates of their own, so use this for processors of authors whom you trust
    #[arg(long = "wasi-0.3", env = "BULKHEAD_WASI_0_3")]
    wasi_03: bool,
    #[command(flatten)]
    listener: ListenerArgs,
}

impl ServeArgs {
    pub(super) fn options(self) -> Result<ServeOptions, Failure> {
        let mut connections = self.listener.connections(Each::of(self.gateway.is_some()));
        connections.failed_logins = self.max_failed_logins_per_address;
        Ok(ServeOptions {
            data: self.data,
            new_database: self.new_database,
            wasi_03: self.wasi_03,
            listen: self.listener.listen,
            advertise: self.listener.advertise,
            admin: self.listener.admin,
            io_threads: self.listener.io_threads.map(usize::from),
            grace: self.listener.grace,
            connections,
            gateway: self.gateway.as_deref().map(gateway::read).transpose()?,
            log_format: self.listener.log_format,
            access_log: self.listener.access_log,
        })
    }
}
