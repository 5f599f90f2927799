//! Every key of a service file. This table is the single source: reading, defaults, ranges, the schema and the README's
//! limits come from it.

use super::{
    keys::Key,
    kind::Kind::{
        self, Any, Entry, Flag, Fuel, HeaderNames, Hosts, Integer, Location, Name, Origins, Token, Variables, Word,
        Words,
    },
    methods::METHODS,
};

pub(super) const REUSE: &str = "reuse";
pub(super) const FRESH: &str = "fresh";
pub(super) const LEAVE: &str = "leave";
pub(super) const ANSWER: &str = "answer";
pub(super) const TIMING: &str = "timing";
pub(super) const FUEL: &str = "fuel";
pub(super) const STACK: &str = "stack";

/// 1 GiB. A body is held in memory, and a guest's whole memory ends at four times that.
const MOST_BODY: u64 = 1 << 30;
/// What a fault may be reported as. Anything below 400 would tell a caller that a crash was a success.
const FAULT_STATUS: Kind = whole(400, 599, "");

const fn whole(least: u64, most: u64, unit: &'static str) -> Kind {
    Integer { least, most, unit }
}

pub(super) static KEYS: &[Key] = &[
    Key::used("name", Name).required().means("The name of the service, part of its URL `/api/predict/{name}`."),
    Key::used("metadata.name", Name).same_as("name").means("The name of the service, where EAS's newer files have it."),
    Key::used("processor_path", Location)
        .required()
        .means("The processor: a file, a directory, an archive or an http(s) URL; relative to the service file."),
    Key::used("processor_entry", Entry).means(
        "Which file is the processor where `processor_path` is a directory or an archive. The command line picks it; the \
         host gets that file alone.",
    ),
    Key::used("processor_envs", Variables)
        .default("[]", "a guest sees nothing of the host's environment")
        .means("Environment variables of the processor: a list of `{\"name\": …, \"value\": …}`."),
    Key::used("model_path", Location)
        .means("The model, as for `processor_path`; the processor sees it as a read-only directory."),
    Key::used("model_entry", Entry).means("A path inside the model, handed to `initialize`."),
    Key::used("model_config", Any).means("Handed to `initialize` as text: strings as they are, other JSON serialised."),
    Key::used("token", Token)
        .means("What callers show in `Authorization`; without it one is generated, unless `generate_token` is false."),
    Key::used("generate_token", Flag)
        .default("true", "a service is private unless somebody says otherwise")
        .means("False without a `token`: the service is public."),
    Key::used("warm_up_data_path", Location)
        .means("Requests that a version answers before it goes live, five times over: `.bin` holds one, `.txt` one per line."),
    // metadata: what EAS knows as well.
    Key::used("metadata.group", Name)
        .means("The group of the service: `/api/predict/{group}` shares its requests among the group's members by weight."),
    Key::used("metadata.instance", whole(1, 64, ""))
        .default("1", "one instance already has several workers")
        .means("How many independent instances there are, each with a queue and workers; of two, the less loaded takes a request."),
    Key::used("metadata.memory", whole(1, 16_777_216, "MiB"))
        .means("The memory of one guest in MiB, cut to 4096, where `sandbox.memory_mb` is not given."),
    Key::used("metadata.rpc.keepalive", whole(1, 3_600_000, "ms"))
        .default("5000", "what EAS waits in processor mode")
        .means("The longest a request may take in milliseconds: receiving, waiting and computing together.")
        .at_limit("408 `deadline_exceeded`; the guest is stopped and the connection closed"),
    Key::used("metadata.rpc.worker_threads", whole(1, 1024, "requests"))
        .default("5", "as in EAS")
        .means("How many requests an instance works on at once.")
        .at_limit("per instance: further requests wait in its queue"),
    Key::used("metadata.rpc.max_queue_size", whole(0, 100_000, "requests"))
        .default("64", "as in EAS; at 5 workers and 400 ms a call, what waits longer is late anyway")
        .means("How many requests of an instance may wait while all workers are busy; 0 refuses instead of waiting.")
        .at_limit("per instance: 450 `queue_full`, at once"),
    Key::used("metadata.rpc.rate_limit", whole(0, 1_000_000_000, "requests/s"))
        .default("0", "as in EAS: the queue is the protection")
        .means("How many requests a second an instance accepts, counted over all instances together; 0 is no limit.")
        .at_limit("per instance: over this × `metadata.instance`, 429 `rate_limited` with `Retry-After`"),
    Key::used("metadata.rpc.batching", Flag)
        .default("false", "as in EAS")
        .means("Whether several requests are handed to the processor at once; it must export `process-batch`."),
    Key::used("metadata.rpc.max_batch_size", whole(1, 4096, "requests"))
        .default("16", "as in EAS")
        .means("How many requests make a batch at most."),
    Key::used("metadata.rpc.max_batch_timeout", whole(0, 60_000, "ms"))
        .default("50", "as in EAS")
        .means("How many milliseconds the oldest request of a batch waits for it to fill; 0 is no longer than for a worker."),
    Key::used("metadata.rpc.decompressor", Word(&["zlib", "gzip", "snappy", "zstd", "lz4"]))
        .means("How request bodies without `Content-Encoding` are compressed; EAS clients do not say so in a header."),
    Key::used("metadata.rpc.mirror.target", Name)
        .means("The service that copies of requests are sent to; its answers are dropped."),
    Key::used("metadata.rpc.mirror.ratio", whole(0, 100, "%"))
        .default("100", "who names a target and no ratio wants to see everything there")
        .means("How many of a hundred requests are copied."),
    Key::used("metadata.eas.termination_grace_period", whole(0, 3600, "s"))
        .default("30", "as in EAS; six times the default deadline of a request")
        .means("How many seconds an old version may go on with what it has begun, after the new one took over.")
        .at_limit("what is still running is stopped"),
    // sandbox: Bulkhead's own.
    Key::used("sandbox.fuel", Fuel)
        .default("100000000000", "more than 5 s of integer code: the deadline comes first unless this is lowered")
        .means("The work one request may do, about a unit per instruction; \"unlimited\" compiles without metering.")
        .at_limit("`sandbox.fuel_status` (400) `fuel_exhausted`"),
    Key::used("sandbox.memory_mb", whole(1, 4096, "MiB"))
        .default("256", "room for a model of ordinary size; 5 workers stay near 1 GiB")
        .means("The memory of one guest in MiB; each worker has a guest.")
        .at_limit("the guest's allocation fails; giving up over it is 400 `processor_exception`"),
    Key::used("sandbox.isolation", Word(&[REUSE, FRESH]))
        .default("\"reuse\"", "what `initialize` loaded is kept, as in EAS")
        .means("`reuse`: a guest answers one request after the other; `fresh`: every request gets a guest of its own."),
    Key::used("sandbox.snapshot", Flag)
        .default("true", "a new guest then costs microseconds, whatever `initialize` costs")
        .means("Whether `initialize` runs once and its result is kept for all guests, where that can be done; false runs it for each."),
    Key::used("sandbox.max_requests_per_instance", whole(0, 1_000_000_000, "requests"))
        .default("0", "a guest that does not leak need not be replaced")
        .means("After how many requests a guest is replaced; 0 is never.")
        .at_limit("the guest is replaced between two requests; nobody notices"),
    Key::used("sandbox.trap_status", FAULT_STATUS)
        .default("400", "as in EAS")
        .means("The status of a request whose processor trapped or panicked."),
    Key::used("sandbox.fuel_status", FAULT_STATUS)
        .default("400", "as in EAS, where it is an exception like any other")
        .means("The status of a request that used up its fuel."),
    Key::used("sandbox.initialize_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("30000", "reading a large model takes seconds; a minute of silence is a mistake")
        .means("How many milliseconds `initialize` may take.")
        .at_limit("the deploy is refused; the old version keeps serving"),
    Key::used("sandbox.max_request_bytes", whole(1, MOST_BODY, "bytes"))
        .default("16777216", "16 MiB: a large picture; 69 of them, queue and workers full, are about 1 GiB")
        .means("The largest request body in bytes.")
        .at_limit("413 `body_too_large`"),
    Key::used("sandbox.max_response_bytes", whole(1, MOST_BODY, "bytes"))
        .default("16777216", "16 MiB, as for requests")
        .means("The largest response body in bytes.")
        .at_limit("`sandbox.trap_status` (400) `processor_exception`"),
    Key::used("sandbox.compress_responses", Flag)
        .default("true", "only clients that ask for it in `Accept-Encoding` are given it")
        .means("Whether long answers of text are compressed for clients that ask for it."),
    Key::used("sandbox.half_close", Word(&[LEAVE, ANSWER]))
        .default("\"leave\"", "a client that closes its sending side looks the same as one that has gone, whose work is to stop at once")
        .means("A client that closes its sending side after its request: `leave` takes it for gone, stops its work and counts 499; `answer` answers it, and then only a reset or a failed write is leaving."),
    Key::used("sandbox.methods", Words { of: METHODS, least: 1 })
        .default("[\"GET\", \"POST\"]", "what EAS clients send")
        .means(
            "The HTTP methods that the service answers; others are 405. GET brings HEAD along, for which the processor is \
             called with GET; only where HEAD is listed too does it see HEAD.",
        ),
    Key::later("sandbox.allow_hosts", Hosts)
        .default("[]", "a guest reaches nothing it was not given")
        .means("The hosts that the processor may call over HTTP."),
    Key::used("sandbox.log_bytes_per_request", whole(0, 16_777_216, "bytes"))
        .default("65536", "64 KiB: a stack trace and some hundred lines, each of which counts 64 bytes more than its text")
        .means("How much of what a request writes to stdout, stderr and the log is kept, in bytes.")
        .at_limit("the rest is dropped, and the log says so"),
    Key::used("sandbox.expose", Words { of: &[TIMING, FUEL, STACK], least: 0 })
        .default("[\"timing\"]", "timing explains a slow answer; fuel and stack tell strangers about the code")
        .means("What answers may show to callers: `timing`, `fuel`, `stack`."),
    Key::used("sandbox.cors.origins", Origins)
        .means("The origins of web pages that browsers let call the service, such as `https://app.example.com`, or `[\"*\"]` for all; without it none is."),
    Key::used("sandbox.cors.methods", Words { of: METHODS, least: 1 })
        .means("The methods that such pages may use; those of `sandbox.methods` unless given."),
    Key::used("sandbox.cors.headers", HeaderNames)
        .default("[\"*\"]", "the origins decide who may ask; SDKs in pages send headers of their own")
        .means("The request headers that such pages may set, or `[\"*\"]` for all, `Authorization` among them."),
    Key::used("sandbox.cors.credentials", Flag)
        .default("false", "a page sends its token itself, in `Authorization`")
        .means("Whether such pages may have the browser send its cookies along; then the origins must be listed."),
    Key::used("sandbox.cors.max_age_s", whole(0, 86_400, "s"))
        .default("600", "a page asks every ten minutes, and a change of these keys is seen as soon")
        .means("For how many seconds a browser may remember the answer to its preflight request."),
    // Known to EAS, outside `metadata`.
    Key::used("runtime.enable_crash_block", Flag)
        .default("false", "as in EAS")
        .means("Whether the place of a guest that crashed stays empty, with its error and stack to be looked at, until the service is restarted; not where requests are batched."),
    Key::used("networking.traffic_state", Word(&["grouping", "standalone", "Grouping", "Standalone"]))
        .default("\"grouping\"", "who puts a service into a group wants it to share the group's requests")
        .means("Whether the service shares its group's requests at first (`grouping`) or is called by its own name alone (`standalone`)."),
    Key::used("networking.gateway_policy.rate_limit.enable", Flag)
        .default("false", "as in EAS")
        .means("Whether the rate of the service as a whole is limited."),
    Key::used("networking.gateway_policy.rate_limit.limit", whole(1, 1_000_000_000, "requests/s"))
        .means("Requests a second of all instances together.")
        .at_limit("429 `rate_limited` with `Retry-After`"),
    Key::used("networking.gateway_policy.concurrency_limit.enable", Flag)
        .default("false", "as in EAS")
        .means("Whether the number of requests under way is limited."),
    Key::used("networking.gateway_policy.concurrency_limit.limit", whole(1, 1_000_000_000, "requests"))
        .means("Requests of all instances under way at once, waiting ones included.")
        .at_limit("429 `rate_limited`"),
    // Known to EAS, without meaning here.
    Key::ignored("processor", "The code of a pre-built processor."),
    Key::ignored("processor_type", "The language of the processor; here its exports tell."),
    Key::ignored("processor_mainclass", "The class of a Java processor."),
    Key::ignored("oss_endpoint", "Where object storage is."),
    Key::ignored("labels", "Labels of the service."),
    Key::ignored("autoscaler", "Rules for adding and removing instances."),
    Key::ignored("sinker", "Where requests and responses are recorded."),
    Key::ignored("containers", "Containers of the service."),
    Key::ignored("dockerAuth", "The login of an image registry."),
    Key::ignored("storage", "Mounted storage."),
    Key::ignored("data_image", "An image that carries data."),
    Key::ignored("cloud", "Machine types and networks."),
    Key::ignored("aimaster", "Fault tolerance of distributed jobs."),
    Key::ignored("unit", "Machines per instance."),
    Key::ignored("confidential", "Confidential computing."),
    Key::ignored("features", "Switches of the platform."),
    Key::ignored("queue.cpu", "Cores of the queue service."),
    Key::ignored("queue.memory", "Memory of the queue service in MB."),
    Key::ignored("queue.max_delivery", "How often a queued item is delivered."),
    Key::ignored("queue.resource", "Resource group of the queue service."),
    Key::ignored("queue.source", "Settings of the input queue."),
    Key::ignored("queue.sink", "Settings of the output queue."),
    Key::ignored("networking.gateway", "The gateway in front."),
    Key::ignored("metadata.type", "The type of the service, such as Async."),
    Key::ignored("metadata.cpu", "Cores of an instance; here workers share the machine."),
    Key::ignored("metadata.gpu", "GPUs of an instance."),
    Key::ignored("metadata.gpu_memory", "GPU memory of an instance."),
    Key::ignored("metadata.gpu_core_percentage", "Share of a GPU."),
    Key::ignored("metadata.cuda", "The CUDA version."),
    Key::ignored("metadata.rdma", "RDMA network cards."),
    Key::ignored("metadata.qos", "Class of resource guarantees."),
    Key::ignored("metadata.shm_size", "Shared memory in GB."),
    Key::ignored("metadata.disk", "Scratch space."),
    Key::ignored("metadata.rolling_strategy.max_surge", "Extra instances during an update; here a version is swapped whole."),
    Key::ignored("metadata.rolling_strategy.max_unavailable", "Missing instances during an update; here there are none."),
    Key::ignored("metadata.workspace_id", "The workspace."),
    Key::ignored("metadata.resource", "The resource group."),
    Key::ignored("metadata.quota_id", "The quota."),
    Key::ignored("metadata.region", "The region."),
    Key::ignored("metadata.scheduling", "Rules for choosing machines."),
    Key::ignored("metadata.resource_rebalancing", "Whether instances are moved between machines."),
    Key::ignored("metadata.resource_burstable", "Whether instances may use more than they asked for."),
    Key::ignored("metadata.workload_type", "The type of workload."),
    Key::ignored("metadata.unit", "Machines per instance."),
    Key::ignored("metadata.aimaster", "Fault tolerance of distributed jobs."),
    Key::ignored("metadata.cloud", "Machine types and networks."),
    Key::ignored("metadata.confidential", "Confidential computing."),
    Key::ignored("metadata.dockerAuth", "The login of an image registry."),
    Key::ignored("metadata.containers", "Containers of the service."),
    Key::ignored("metadata.data_image", "An image that carries data."),
    Key::ignored("metadata.storage", "Mounted storage."),
    Key::ignored("metadata.enable_grpc", "Whether the gateway speaks gRPC."),
    Key::ignored("metadata.enable_webservice", "Whether the service is a web application."),
    Key::ignored("metadata.rpc.io_threads", "Network threads; here they belong to the host."),
    Key::ignored("metadata.rpc.enable_sigterm", "Whether a terminating process gets SIGTERM; a guest has no signals."),
    Key::ignored("metadata.rpc.proxy_path", "The path that a container is called at."),
    Key::ignored("metadata.rpc.enable_jemalloc", "Whether the engine uses jemalloc."),
    Key::ignored("metadata.rpc.http", "Properties of the engine's HTTP server."),
];
