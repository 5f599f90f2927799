//! The settings of a service that its guests run under.

use std::path::PathBuf;
use std::time::Duration;

use crate::call::StreamLimits;
use crate::keyvalue::Store;
use crate::outbound::Client;

/// The settings of one service's guests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Fuel that a request may use; `None` if the guest is not metered.
    pub fuel: Option<u64>,
    /// The same for a program that can stream its answers.
    pub stream_fuel: Option<u64>,
    /// Most bytes of memory that a guest may use.
    pub memory_limit: usize,
    pub envs: Vec<(String, String)>,
    pub model_dir: Option<PathBuf>,
    pub model_entry: Option<String>,
    pub model_config: String,
    pub initialize_timeout: Duration,
    pub max_response_bytes: usize,
    /// The limits of streamed answers; `None` if guests cannot stream, because they answer batches.
    pub stream: Option<StreamLimits>,
    /// Sends the requests of guests; `None` if they may send none.
    pub outbound: Option<Client>,
    /// The key-value store of the service; `None` if guests have none.
    pub keyvalue: Option<Store>,
    /// Most bytes of a partial result; 0 if calls are no items of a queue.
    pub max_partial_bytes: usize,
    /// Most bytes of log lines of a request.
    pub log_bytes: usize,
    /// Requests after which a guest is replaced; `None` for never.
    pub max_requests: Option<u64>,
    /// True if guests answer batches.
    pub batching: bool,
    /// The name of the image of an initialised guest, which depends on all that `initialize` can see; `None` for no
    /// image.
    pub image: Option<String>,
}
