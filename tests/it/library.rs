//! The sandbox as a library, for tests without a host process.

use std::time::Duration;

use bulkhead::call::RequestId;
use bulkhead::sandbox::{Fault, Level, LineSink, Settings};

/// A log that discards all lines.
pub(crate) struct Silent;

impl LineSink for Silent {
    fn line(&self, _: Option<RequestId>, _: Level, _: &str) {}
    fn dropped(&self, _: Option<RequestId>, _: u64) {}
    fn fault(&self, _: Option<RequestId>, _: &Fault, _: &str) {}
}

/// Makes the settings of a metered guest with this memory limit and no other tight limit.
pub(crate) fn settings(memory_limit: usize) -> Settings {
    Settings {
        fuel: Some(u64::MAX / 2),
        stream_fuel: Some(u64::MAX / 2),
        memory_limit,
        envs: Vec::new(),
        model_dir: None,
        model_entry: None,
        model_config: String::new(),
        initialize_timeout: Duration::from_secs(60),
        max_response_bytes: 1 << 20,
        stream: None,
        outbound: None,
        keyvalue: None,
        max_partial_bytes: 0,
        log_bytes: 0,
        max_requests: None,
        batching: false,
        image: None,
    }
}
