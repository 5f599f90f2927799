//! Passes lines of the `log` crate on to the host.

use log::{LevelFilter, Log, Metadata, Record};

use crate::level::{self, Level, verbosity};

struct Lines;

/// Installs the logger. A second call changes nothing.
pub(crate) fn install() {
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(verbosity::chosen().map_or(LevelFilter::Off, LevelFilter::from));
    }
}

impl Log for Lines {
    /// Returns true, because the macros of `log` compare the level before they call the logger.
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        level::log(record.level().into(), line(record));
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>) -> String {
    format!("{}: {}", record.target(), record.args())
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warn,
            log::Level::Info => Self::Info,
            log::Level::Debug => Self::Debug,
            log::Level::Trace => Self::Trace,
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_who_speaks() {
        let record = Record::builder().target("digits::model").args(format_args!("loaded")).build();
        assert_eq!(line(&record), "digits::model: loaded");
    }

    #[test]
    fn it_can_be_installed_again() {
        install();
        install();
        assert_eq!(log::max_level(), LevelFilter::Info);
    }
}
