//! The settings of a service that its guests run under.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of one service's guests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Fuel a request may use; `None` runs unmetered.
    pub fuel: Option<u64>,
    /// Bytes of memory a guest may use.
    pub memory_limit: usize,
    pub envs: Vec<(String, String)>,
    pub model_dir: Option<PathBuf>,
    pub model_entry: Option<String>,
    pub model_config: String,
    pub initialize_timeout: Duration,
    pub max_response_bytes: usize,
    /// Bytes of log lines a request may say.
    pub log_bytes: usize,
    /// Requests after which a guest is replaced; `None` for never.
    pub max_requests: Option<u64>,
    /// Whether it is to answer batches.
    pub batching: bool,
    /// Names the image of a guest after `initialize` by all that `initialize` can see; `None` where none is wanted.
    pub image: Option<String>,
}
