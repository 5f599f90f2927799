//! Passes events of the `tracing` crate on to the host. Spans are not recorded: the host knows the call of each line.

use std::fmt::{Debug, Write};

use tracing_core::{
    Dispatch, Event, LevelFilter, Metadata, Subscriber, dispatcher,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::level::{self, Level, verbosity};

struct Events {
    most: LevelFilter,
}

/// Installs the subscriber. A second call changes nothing.
pub(crate) fn install() {
    let most = verbosity::chosen().map_or(LevelFilter::OFF, LevelFilter::from);
    let _already_there = dispatcher::set_global_default(Dispatch::new(Events { most }));
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line::default();
        event.record(&mut line);
        level::log((*metadata.level()).into(), line.finish(metadata.target()));
    }

    /// Spans are not enabled, so none is entered and one id is enough.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// A log line of the form `target: message key=value …`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(self, target: &str) -> String {
        format!("{target}: {}{}", self.message, self.fields)
    }
}

/// Ignores errors: writing to a string cannot fail.
impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl From<tracing_core::Level> for Level {
    fn from(level: tracing_core::Level) -> Self {
        match level {
            tracing_core::Level::ERROR => Self::Error,
            tracing_core::Level::WARN => Self::Warn,
            tracing_core::Level::INFO => Self::Info,
            tracing_core::Level::DEBUG => Self::Debug,
            tracing_core::Level::TRACE => Self::Trace,
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subscriber that keeps the lines made of events.
    struct Kept(std::sync::Mutex<Vec<String>>);

    impl Subscriber for Kept {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push(line.finish(event.metadata().target()));
        }
        fn new_span(&self, _span: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _span: &Id, _values: &Record<'_>) {}
        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
        fn enter(&self, _span: &Id) {}
        fn exit(&self, _span: &Id) {}
    }

    #[test]
    fn an_event_becomes_one_line() {
        let kept = Dispatch::new(Kept(std::sync::Mutex::default()));
        tracing::dispatcher::with_default(&kept, || {
            tracing::warn!(target: "digits", rows = 3, name = "a b", "slow {}", "model");
        });
        let lines = kept.downcast_ref::<Kept>().unwrap().0.lock().unwrap();
        assert_eq!(*lines, ["digits: slow model rows=3 name=\"a b\""]);
    }

    #[test]
    fn it_can_be_installed_again() {
        install();
        install();
        assert_eq!(LevelFilter::current(), LevelFilter::INFO);
    }
}
