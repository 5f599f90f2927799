use std::fmt::Display;

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A failure that somebody must look at.
    Error,
    /// A condition that is likely to become a failure.
    Warn,
    /// An event of normal work.
    Info,
    /// A detail for the author of the processor.
    Debug,
    /// A detail of every step.
    Trace,
}

/// Writes a log line of the call that is being answered, or of the deploy while `initialize` runs.
///
/// The host keeps at most `sandbox.log_bytes_per_request` bytes per request. In native builds the line goes to standard
/// error.
pub fn log(level: Level, message: impl Display) {
    write(level, &message.to_string());
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    crate::bindings::bulkhead::processor::call::log(level.into(), message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// The least severe level that the `log` and `tracing` features pass on. Lines below it are not even formatted.
#[cfg(all(any(feature = "log", feature = "tracing"), any(target_family = "wasm", test)))]
pub(crate) mod verbosity {
    use super::Level;

    const VARIABLE: &str = "BULKHEAD_LOG";

    /// Returns the least severe level that is passed on; `None` if no line is. `info` if the variable is missing or has
    /// an unknown value.
    pub(crate) fn chosen() -> Option<Level> {
        parse(&std::env::var(VARIABLE).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Level> {
        match text.to_ascii_lowercase().as_str() {
            "off" => None,
            "error" => Some(Level::Error),
            "warn" => Some(Level::Warn),
            "debug" => Some(Level::Debug),
            "trace" => Some(Level::Trace),
            _ => Some(Level::Info),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_level_is_read_in_any_case() {
            assert_eq!(parse("off"), None);
            assert_eq!(parse("Warn"), Some(Level::Warn));
            assert_eq!(parse("TRACE"), Some(Level::Trace));
        }

        #[test]
        fn anything_else_means_info() {
            assert_eq!(parse(""), Some(Level::Info));
            assert_eq!(parse("loud"), Some(Level::Info));
        }
    }
}
