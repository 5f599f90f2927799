//! The listener options that `serve` and `gateway` share.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::front::{ConnectionLimits, Descriptors, Each, Patience};
use crate::serve::{AccessLog, LogFormat};

#[derive(Args, Debug)]
pub(super) struct ListenerArgs {
    /// The address on which services are called: an IP address or a host name, and a port; port 0 picks a free port
    #[arg(long, value_name = "ADDR", env = "BULKHEAD_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(super) listen: SocketAddr,
    /// The address at which clients reach --listen, sent to SDKs in direct mode; needed behind address translation. A
    /// host name is looked up once, at the start [default: the address that the client connected to]
    #[arg(long, value_name = "ADDR", env = "BULKHEAD_ADVERTISE", value_parser = advertised)]
    pub(super) advertise: Option<SocketAddr>,
    /// The address of health, metrics, and the admin API of a server or the list of upstreams of a gateway
    // Not BULKHEAD_ADMIN: that is the URL that the other commands connect to.
    #[arg(long, value_name = "ADDR", env = "BULKHEAD_ADMIN_LISTEN", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = address)]
    pub(super) admin: SocketAddr,
    /// Threads for callers' connections; a connection stays on one thread [default: by the number of cores]
    #[arg(long, value_name = "N", env = "BULKHEAD_IO_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) io_threads: Option<u16>,
    /// Longest time that running requests get after SIGTERM; connections that wait to be accepted are answered first
    #[arg(long, value_name = "TIME", env = "BULKHEAD_GRACE", default_value = "30", value_parser = time)]
    pub(super) grace: Duration,
    /// Most connections of callers at once; further ones wait to be accepted [default: 10000, or fewer if the limit on
    /// file descriptors is low: at most half of them]
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_CONNECTIONS")]
    max_connections: Option<NonZeroUsize>,
    /// Most connections from one address (IPv6: one /64); further ones get 503 and are closed [default: no limit, since
    /// all callers behind a gateway have one address]
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_CONNECTIONS_PER_ADDRESS")]
    max_connections_per_address: Option<NonZeroUsize>,
    /// Most requests on one connection; the answer to the last one closes it, so that clients also connect to hosts
    /// that were added later
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_REQUESTS_PER_CONNECTION")]
    #[arg(default_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests_per_connection: u64,
    /// Longest time from the first byte of a request's head to its last; after that the client gets 408
    #[arg(long, value_name = "TIME", env = "BULKHEAD_HEAD_TIMEOUT", default_value = "5", value_parser = time)]
    head_timeout: Duration,
    /// Longest idle time of a connection between two requests; after that it is closed. A new connection must send its
    /// first byte within 10 s. The `Keep-Alive` header of answers gives one second less
    #[arg(long, value_name = "TIME", env = "BULKHEAD_IDLE_TIMEOUT", default_value = "75", value_parser = time)]
    idle_timeout: Duration,
    /// Longest time in which a client reads nothing of its answer; after that the connection is closed, or in HTTP/2
    /// only the stream
    #[arg(long, value_name = "TIME", env = "BULKHEAD_WRITE_TIMEOUT", default_value = "10", value_parser = time)]
    write_timeout: Duration,
    /// Speak HTTP/2 as well, with prior knowledge only (no TLS, no upgrade)
    #[arg(long, env = "BULKHEAD_HTTP2")]
    http2: bool,
    /// The format of log lines
    #[arg(long, value_name = "FORMAT", env = "BULKHEAD_LOG_FORMAT", default_value = "text")]
    #[arg(value_parser = log_format())]
    pub(super) log_format: LogFormat,
    /// The requests that get a log line: all, failures (status 400 and above), off, or a share such as 1%, which means
    /// every failure and one in a hundred of the others
    #[arg(long, value_name = "WHICH", env = "BULKHEAD_ACCESS_LOG", default_value = "all")]
    pub(super) access_log: AccessLog,
}

impl ListenerArgs {
    /// The limits of the data listener. `each` determines the default of `--max-connections`.
    pub(super) fn connections(&self, each: Each) -> ConnectionLimits {
        let defaults = ConnectionLimits::default();
        ConnectionLimits {
            total: self
                .max_connections
                .map_or_else(|| Descriptors::of_this_process().for_callers(each), NonZeroUsize::get),
            per_address: self.max_connections_per_address.map(NonZeroUsize::get),
            failed_logins: None,
            requests: self.max_requests_per_connection,
            patience: Patience {
                head: self.head_timeout,
                idle: self.idle_timeout,
                write: self.write_timeout,
                ..defaults.patience
            },
            http2: self.http2,
        }
    }
}

/// Parses an address and a port; a host name is looked up.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let expected = "expected an address or a host name, and a port, as 127.0.0.1:8080, [::1]:8080 or localhost:8080";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("there is no port in it; {expected}"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("{port:?} is not a port, which is a number from 0 to 65535; {expected}"));
    };
    if host.is_empty() {
        return Err(format!(
            "there is no host in it; {expected}; 0.0.0.0:{port} is every IPv4 address of this machine"
        ));
    }
    if host.contains([':', '[', ']']) {
        return Err(format!("{host:?} is not an IPv6 address in brackets; {expected}"));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("{host:?} cannot be looked up: {error}"))?;
    // IPv4 is preferred, so that clients which look up only IPv4 addresses find it too.
    let least = found.min_by_key(SocketAddr::is_ipv6);
    least.ok_or_else(|| format!("{host:?} has no address"))
}

/// An address that a client can connect to.
fn advertised(text: &str) -> Result<SocketAddr, String> {
    match address(text)? {
        address if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => Err("clients cannot connect to it; expected the address and port that clients use".into()),
    }
}

/// The longest time that these options accept. An `Instant` plus this time does not overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Parses seconds, or a number with a unit. Zero is refused, because no deadline of zero could be met.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    match seconds.or_else(|| humantime::parse_duration(text).ok()) {
        Some(time) if !time.is_zero() && time <= LONGEST => Ok(time),
        Some(_) => Err("expected more than 0 and at most a day".into()),
        None => Err("expected seconds, or a number with a unit, as 30, 1500ms or 2m".into()),
    }
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"]).map(|format| match format.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}
