//! Turns records of libraries that use the `log` crate, such as the engine, into events with the target `library`.
//!
//! The usual bridge (`tracing-log`) is not used, because it adds paths of source files on the machine that built the
//! host.

use log::{Metadata, Record, set_boxed_logger, set_max_level};
use tracing::Level;

use super::filter::{Filter, LIBRARY};

struct Libraries(Filter);

/// Passes on the records of all libraries of this process that `filter` accepts.
pub(super) fn listen(filter: Filter) {
    let most = filter.of_libraries().into_level().map_or(log::LevelFilter::Off, |level| match level {
        Level::ERROR => log::LevelFilter::Error,
        Level::WARN => log::LevelFilter::Warn,
        Level::INFO => log::LevelFilter::Info,
        Level::DEBUG => log::LevelFilter::Debug,
        Level::TRACE => log::LevelFilter::Trace,
    });
    // A logger is set already if a second host runs in this process.
    if set_boxed_logger(Box::new(Libraries(filter))).is_ok() {
        set_max_level(most);
    }
}

impl log::Log for Libraries {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.wants(metadata.target(), level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (library, text) = (record.target(), record.args());
        // The level of an event must be a constant, hence one line for each.
        match record.level() {
            log::Level::Error => tracing::error!(target: LIBRARY, library, "{text}"),
            log::Level::Warn => tracing::warn!(target: LIBRARY, library, "{text}"),
            log::Level::Info => tracing::info!(target: LIBRARY, library, "{text}"),
            log::Level::Debug => tracing::debug!(target: LIBRARY, library, "{text}"),
            log::Level::Trace => tracing::trace!(target: LIBRARY, library, "{text}"),
        }
    }

    fn flush(&self) {}
}

const fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}
