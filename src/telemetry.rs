//! Metrics and the log: counters, histograms, log lines, and their output formats.
//!
//! Every request is counted, so counting is a few atomic additions; formatting happens when the numbers are read. The
//! log is one stream of lines to standard error, written by one thread.

mod access;
mod exposition;
mod fields;
mod filter;
mod histogram;
mod library;
mod log;
mod metrics;
mod plain;
mod sampling;
mod sizes;
mod text;
mod upstreams;

pub use self::access::{Entry, Format};
pub use self::exposition::{HostNumbers, InstanceNumbers, MetricsFormat, Seen, exposition};
pub use self::log::{LogThread, LogWriter, install as install_log};
pub use self::metrics::ServiceMetrics;
pub use self::sampling::AccessLog;
pub(crate) use self::text::push_ms;
pub use self::upstreams::UpstreamSeen;
