//! The checked settings of a service: types for the meaning of the keys, and the one constructor that makes them.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    allowed_hosts::AllowedHosts,
    cors::Cors,
    fuel::Fuel,
    limits,
    methods::Methods,
    mistakes::Mistakes,
    name::ServiceName,
    queue::Queue,
    reader::Given,
    settings::Settings,
    table::{ANSWER, FRESH, FUEL, LEAVE, REUSE, STACK, TIMING},
    token::{Token, TokenPolicy},
};

/// The complete, checked settings of a service. They can be read but not changed, so they are always consistent.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    name: ServiceName,
    processor_path: Option<String>,
    processor_entry: Option<String>,
    model: Model,
    token: TokenPolicy,
    envs: Envs,
    warm_up_data_path: Option<String>,
    group: Option<ServiceName>,
    traffic_state: TrafficState,
    instances: usize,
    termination_grace: Duration,
    rpc: Rpc,
    queue: Option<Queue>,
    sandbox: Sandbox,
    enable_crash_block: bool,
    gateway_policy: GatewayPolicy,
}

/// The environment variables. `Debug` shows only the names, because values may be secrets.
#[derive(Clone)]
struct Envs(Vec<(String, String)>);

/// The model, as it is passed to `initialize`.
#[derive(Clone, Debug)]
pub struct Model {
    pub path: Option<String>,
    /// A relative path inside `path`.
    pub entry: Option<String>,
    /// A string unchanged, other JSON serialised; empty if nothing was given.
    pub config: String,
}

/// `metadata.rpc`: the settings for the requests of an instance.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// The deadline of a request, from its first byte to its answer.
    pub keepalive: Duration,
    pub worker_threads: usize,
    pub max_queue_size: usize,
    /// Most requests a second.
    pub rate_limit: Option<NonZeroU32>,
    pub batching: Option<Batching>,
    /// The service that gets copies of the requests.
    pub mirror: Option<MirrorRule>,
    pub decompressor: Option<Decompressor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    pub max_size: usize,
    pub max_wait: Duration,
}

/// A mirror: a share of the requests is copied to another service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRule {
    pub target: ServiceName,
    /// The percentage of the requests that are copied.
    pub ratio: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decompressor {
    Zlib,
    Gzip,
    Snappy,
    Zstd,
    Lz4,
}

/// The state of a service in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrafficState {
    /// The service gets a share of the group's requests.
    Grouping,
    /// The service is called by its own name alone.
    Standalone,
}

impl AsRef<str> for TrafficState {
    fn as_ref(&self) -> &str {
        match self {
            Self::Grouping => "grouping",
            Self::Standalone => "standalone",
        }
    }
}

/// `sandbox`: the limits of a guest, and the answers for its faults.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub fuel: Fuel,
    /// The fuel of a request whose processor can stream its answer.
    pub stream_fuel: Fuel,
    /// The memory of one guest.
    pub memory_bytes: u64,
    /// `None` if the contract of the processor decides.
    pub isolation: Option<Isolation>,
    /// True if guests may start from a snapshot of an initialised guest.
    pub snapshot: bool,
    /// `None` if guests are not replaced after a number of requests.
    pub max_requests_per_instance: Option<NonZeroU32>,
    pub trap_status: u16,
    pub fuel_status: u16,
    pub initialize_timeout: Duration,
    pub max_request_bytes: usize,
    pub max_response_bytes: usize,
    /// Longest time from one piece of a streamed answer to the next.
    pub stream_idle: Duration,
    /// Longest time from the head of a streamed answer to its end.
    pub stream_total: Duration,
    /// True if answers are compressed for clients that ask for it.
    pub compress_responses: bool,
    /// The meaning of a client that closes its sending side after its request.
    pub half_close: HalfClose,
    pub methods: Methods,
    pub allow_hosts: AllowedHosts,
    pub log_bytes_per_request: usize,
    pub expose: Expose,
    /// Shared with the answers that carry the headers.
    pub cors: Option<Arc<Cors>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Reuse,
    Fresh,
}

/// The meaning of a client's closing its sending side after a whole request. On the wire, such a client looks the same
/// as one that has closed its connection (RFC 9112 §9.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// The client has disconnected: its request is stopped.
    #[default]
    Leave,
    /// The client waits for its answer: only a reset or a failed write shows that it has disconnected.
    Answer,
}

/// The facts that answers may show to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expose {
    pub timing: bool,
    pub fuel: bool,
    pub stack: bool,
}

/// `networking.gateway_policy`: the limits of all instances together. A limit that is not enabled is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayPolicy {
    /// Most requests a second.
    pub rate_limit: Option<NonZeroU32>,
    /// Most requests at once, waiting ones included.
    pub concurrency_limit: Option<NonZeroU32>,
}

impl ServiceSpec {
    /// Makes a spec if there is no mistake so far and none between the keys. There is no other way to make one.
    pub(super) fn settle(given: &Given, mut mistakes: Mistakes) -> Result<Self, Mistakes> {
        let settings = Settings(given);
        limits::check(&settings, &mut mistakes);
        mistakes.settle(())?;
        Ok(Self::of(&settings))
    }

    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// `None` for a queue without a processor.
    pub fn processor_path(&self) -> Option<&str> {
        self.processor_path.as_deref()
    }

    pub fn processor_entry(&self) -> Option<&str> {
        self.processor_entry.as_deref()
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn token(&self) -> &TokenPolicy {
        &self.token
    }

    /// The environment variables. Their names are unique and contain neither `=` nor NUL.
    pub fn envs(&self) -> &[(String, String)] {
        &self.envs.0
    }

    pub fn warm_up_data_path(&self) -> Option<&str> {
        self.warm_up_data_path.as_deref()
    }

    pub fn group(&self) -> Option<&ServiceName> {
        self.group.as_ref()
    }

    /// The traffic state of a new service. It can be changed later.
    pub fn traffic_state(&self) -> TrafficState {
        self.traffic_state
    }

    /// The number of instances, at least 1.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// The longest time that an old version gets to finish its requests.
    pub fn termination_grace(&self) -> Duration {
        self.termination_grace
    }

    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// The queues of an asynchronous service; `None` for a service of type `Standard`.
    pub fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    pub fn enable_crash_block(&self) -> bool {
        self.enable_crash_block
    }

    pub fn gateway_policy(&self) -> GatewayPolicy {
        self.gateway_policy
    }

    /// Makes a spec from settings without mistakes.
    fn of(settings: &Settings<'_>) -> Self {
        Self {
            name: ServiceName::parse(&settings.text("name").expect("name is required")).expect("the name was checked"),
            processor_path: settings.text("processor_path"),
            processor_entry: settings.text("processor_entry"),
            model: Model {
                path: settings.text("model_path"),
                entry: settings.text("model_entry"),
                config: model_config(settings),
            },
            token: token(settings),
            envs: Envs(envs(settings)),
            warm_up_data_path: settings.text("warm_up_data_path"),
            group: settings.text("metadata.group").map(|name| ServiceName::parse(&name).expect("the name was checked")),
            traffic_state: traffic_state(settings),
            instances: settings.small("metadata.instance"),
            termination_grace: Duration::from_secs(settings.integer("metadata.eas.termination_grace_period")),
            rpc: rpc(settings),
            queue: Queue::of(settings),
            sandbox: sandbox(settings),
            enable_crash_block: settings.flag("runtime.enable_crash_block"),
            gateway_policy: GatewayPolicy {
                rate_limit: enabled_limit(settings, "networking.gateway_policy.rate_limit"),
                concurrency_limit: enabled_limit(settings, "networking.gateway_policy.concurrency_limit"),
            },
        }
    }
}

impl fmt::Debug for Envs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn model_config(settings: &Settings<'_>) -> String {
    match settings.value("model_config") {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(json) => json.to_string(),
    }
}

fn token(settings: &Settings<'_>) -> TokenPolicy {
    match settings.text("token") {
        Some(text) => TokenPolicy::Given(Token::parse(&text).expect("the token was checked")),
        None if settings.flag("generate_token") => TokenPolicy::Generate,
        None => TokenPolicy::Public,
    }
}

fn envs(settings: &Settings<'_>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("variables were checked").to_owned();
    settings.list("processor_envs").iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

fn rpc(settings: &Settings<'_>) -> Rpc {
    let batching = settings.flag("metadata.rpc.batching").then(|| Batching {
        max_size: settings.small("metadata.rpc.max_batch_size"),
        max_wait: settings.millis("metadata.rpc.max_batch_timeout"),
    });
    let decompressor = settings.text("metadata.rpc.decompressor").map(|name| match name.as_str() {
        "zlib" => Decompressor::Zlib,
        "gzip" => Decompressor::Gzip,
        "snappy" => Decompressor::Snappy,
        "zstd" => Decompressor::Zstd,
        "lz4" => Decompressor::Lz4,
        other => panic!("the table has a decompressor {other} that the code does not know"),
    });
    Rpc {
        keepalive: settings.millis("metadata.rpc.keepalive"),
        worker_threads: settings.small("metadata.rpc.worker_threads"),
        max_queue_size: settings.small("metadata.rpc.max_queue_size"),
        rate_limit: NonZeroU32::new(settings.small("metadata.rpc.rate_limit")),
        batching,
        mirror: settings.text("metadata.rpc.mirror.target").map(|target| MirrorRule {
            target: ServiceName::parse(&target).expect("the name was checked"),
            ratio: settings.small("metadata.rpc.mirror.ratio"),
        }),
        decompressor,
    }
}

fn sandbox(settings: &Settings<'_>) -> Sandbox {
    let words =
        |path| settings.list(path).into_iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>();
    let expose = words("sandbox.expose");
    let exposes = |what: &str| expose.iter().any(|word| word == what);
    Sandbox {
        fuel: Fuel::of_call(settings),
        stream_fuel: Fuel::of_stream(settings),
        memory_bytes: memory_mib(settings) << 20,
        isolation: match settings.text("sandbox.isolation").as_deref() {
            None => None,
            Some(REUSE) => Some(Isolation::Reuse),
            Some(FRESH) => Some(Isolation::Fresh),
            other => panic!("the table has an isolation {other:?} that the code does not know"),
        },
        snapshot: settings.flag("sandbox.snapshot"),
        max_requests_per_instance: NonZeroU32::new(settings.small("sandbox.max_requests_per_instance")),
        trap_status: settings.small("sandbox.trap_status"),
        fuel_status: settings.small("sandbox.fuel_status"),
        initialize_timeout: settings.millis("sandbox.initialize_timeout_ms"),
        max_request_bytes: settings.small("sandbox.max_request_bytes"),
        max_response_bytes: settings.small("sandbox.max_response_bytes"),
        stream_idle: settings.millis("sandbox.stream_idle_ms"),
        stream_total: settings.millis("sandbox.stream_total_ms"),
        compress_responses: settings.flag("sandbox.compress_responses"),
        half_close: match settings.text("sandbox.half_close").as_deref() {
            Some(LEAVE) => HalfClose::Leave,
            Some(ANSWER) => HalfClose::Answer,
            other => panic!("the table has a half_close {other:?} that the code does not know"),
        },
        methods: Methods::of(words("sandbox.methods").iter().map(String::as_str)),
        allow_hosts: AllowedHosts::parse(words("sandbox.allow_hosts").iter().map(String::as_str))
            .expect("the entries were checked"),
        log_bytes_per_request: settings.small("sandbox.log_bytes_per_request"),
        expose: Expose { timing: exposes(TIMING), fuel: exposes(FUEL), stack: exposes(STACK) },
        cors: Cors::of(settings),
    }
}

/// The memory of a guest: Bulkhead's own key, or else EAS's `memory`. Machines have more memory than a guest can
/// address, so the latter is cut.
fn memory_mib(settings: &Settings<'_>) -> u64 {
    const ADDRESSABLE: u64 = 4096;
    match (settings.given("sandbox.memory_mb"), settings.small_given::<u64>("metadata.memory")) {
        (None, Some(memory)) => memory.min(ADDRESSABLE),
        _ => settings.integer("sandbox.memory_mb"),
    }
}

/// The traffic state. EAS writes it with a capital or a small first letter.
fn traffic_state(settings: &Settings<'_>) -> TrafficState {
    let word = settings.text("networking.traffic_state").map(|word| word.to_ascii_lowercase());
    match word.as_deref() {
        Some("grouping") => TrafficState::Grouping,
        Some("standalone") => TrafficState::Standalone,
        other => panic!("the table has a traffic state {other:?} that the code does not know"),
    }
}

fn enabled_limit(settings: &Settings<'_>, policy: &str) -> Option<NonZeroU32> {
    let enabled = settings.flag(&format!("{policy}.enable"));
    settings.small_given(&format!("{policy}.limit")).filter(|_| enabled).and_then(NonZeroU32::new)
}
