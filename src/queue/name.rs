//! The name of a queue.

use std::fmt;
use std::sync::Arc;

/// The name of a queue: `resize` for the input queue of the service `resize`, `resize/sink` for its output queue. No
/// service has a slash in its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// The last part of an output queue's name.
    pub const SINK: &str = "sink";

    /// The queue that items for the service are put into.
    pub fn input(service: &str) -> Self {
        Self(service.into())
    }

    /// The queue that the results of the service are put into.
    pub fn sink(service: &str) -> Self {
        Self(format!("{service}/{}", Self::SINK).into())
    }

    /// The name as it was stored.
    pub(super) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    pub fn is_sink(&self) -> bool {
        self.0.contains('/')
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
