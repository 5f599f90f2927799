//! Telemetry: counters and histograms, the log, and the formats of both.
//!
//! Counting is on the path of every request, so it is a handful of atomic additions. Formatting happens at a scrape.
//! The log is one stream of lines to standard error, written by one thread.

mod access;
mod exposition;
mod families;
mod fields;
mod filter;
mod histogram;
mod library;
mod log;
mod metrics;
mod plain;
mod queues;
#[cfg(test)]
pub(crate) mod reference;
mod sampling;
mod sizes;
mod text;
mod upstreams;

pub use self::access::{Entry, Format, StreamFacts};
#[cfg(test)]
pub(crate) use self::exposition::ANSWERS;
pub use self::exposition::{HostNumbers, InstanceNumbers, MetricsFormat, Seen, exposition};
pub use self::log::{LogThread, LogWriter, install as install_log};
pub use self::metrics::ServiceMetrics;
pub use self::queues::{QueueSeen, Times};
pub use self::sampling::AccessLog;
pub(crate) use self::text::push_ms;
pub use self::upstreams::UpstreamSeen;
