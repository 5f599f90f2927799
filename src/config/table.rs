//! Every key of a service file. This table is the single source: reading, defaults, ranges, the schema and the
//! reference page come from it.

use super::{
    keys::Key,
    kind::Kind::{
        self, Any, AnyCase, Entry, Flag, Fuel, HeaderNames, Hosts, Integer, Location, Name, Origins, Token, Url,
        Variables, Word, Words,
    },
    methods::METHODS,
};

pub(super) const ASYNC: &str = "Async";
pub(super) const REUSE: &str = "reuse";
pub(super) const FRESH: &str = "fresh";
pub(super) const LEAVE: &str = "leave";
pub(super) const ANSWER: &str = "answer";
pub(super) const TIMING: &str = "timing";
pub(super) const FUEL: &str = "fuel";
pub(super) const STACK: &str = "stack";

/// Most bytes of a body: 1 GiB. A body is held in memory, and a guest has at most four times as much memory.
pub(crate) const MOST_BODY: u64 = 1 << 30;
/// The statuses that a fault may have. A status below 400 would tell a caller that a crash was a success.
const FAULT_STATUS: Kind = whole(400, 599, "");

const fn whole(least: u64, most: u64, unit: &'static str) -> Kind {
    Integer { least, most, unit }
}

pub(super) static KEYS: &[Key] = &[
    Key::used("name", Name).required().means("The name of the service, part of its URL `/api/predict/{name}`."),
    Key::used("metadata.name", Name).same_as("name").means("The name of the service, at the place that it has in EAS's newer files."),
    Key::used("processor_path", Location)
        .means("The processor: a file, a directory, an archive or an http(s) URL; relative to the service file. Required, unless `metadata.type` is `Async`: a service without a processor is a queue that its clients put into and take from."),
    Key::used("processor_entry", Entry).means(
        "The processor's file, if `processor_path` is a directory or an archive. The command line uploads only this \
         file.",
    ),
    Key::used("processor_envs", Variables)
        .default("[]", "a guest sees nothing of the host's environment")
        .means("Environment variables of the processor: a list of `{\"name\": …, \"value\": …}`."),
    Key::used("model_path", Location)
        .means("The model, as for `processor_path`; the processor sees it as a read-only directory."),
    Key::used("model_entry", Entry).means("A path inside the model, which is passed to `initialize`."),
    Key::used("model_config", Any).means("Passed to `initialize` as text: a string unchanged, other JSON serialised."),
    Key::used("token", Token)
        .means("The token that callers send in `Authorization`. Without it, one is generated, unless `generate_token` is false."),
    Key::used("generate_token", Flag)
        .default("true", "a service is private unless its file says otherwise")
        .means("If false, and without a `token`, the service is public: callers need no token."),
    Key::used("warm_up_data_path", Location)
        .means("Requests that a new version answers five times before it goes live. A `.bin` file has one request, a `.txt` file one per line."),
    // metadata: keys that EAS has as well.
    Key::used("metadata.type", AnyCase(&["Standard", ASYNC]))
        .default("\"Standard\"", "a service without a type answers its callers directly, as in EAS")
        .means("`Standard`: a caller waits for the answer. `Async`: a caller puts an item into the input queue of the service, and later takes the result from its output queue."),
    Key::used("metadata.group", Name)
        .means("The group of the service. Requests to `/api/predict/{group}` are shared among its members by weight."),
    Key::used("metadata.instance", whole(1, 64, ""))
        .default("1", "one instance already has several workers")
        .means("The number of instances, each with its own queue and workers. A request goes to the less loaded of two."),
    Key::used("metadata.memory", whole(1, 16_777_216, "MiB"))
        .means("The memory of one guest in MiB, if `sandbox.memory_mb` is not given. More than 4096 counts as 4096."),
    Key::used("metadata.rpc.keepalive", whole(1, 3_600_000, "ms"))
        .default("5000", "as in EAS's processor mode")
        .means("The longest time of a request in milliseconds: receiving, waiting and running together.")
        .at_limit("408 `deadline_exceeded`; the guest is stopped and the connection closed"),
    Key::used("metadata.rpc.worker_threads", whole(1, 1024, "requests"))
        .default("5", "as in EAS")
        .means("The number of workers of each instance. Each answers one request at a time.")
        .at_limit("per instance: further requests wait in its queue"),
    Key::used("metadata.rpc.max_queue_size", whole(0, 100_000, "requests"))
        .default("64", "as in EAS; with 5 workers and 400 ms a call, requests in a longer queue would miss their deadline")
        .means("Most requests that wait while all workers of an instance are busy. With 0, they are refused instead.")
        .at_limit("per instance: 450 `queue_full`, at once"),
    Key::used("metadata.rpc.rate_limit", whole(0, 1_000_000_000, "requests/s"))
        .default("0", "as in EAS: the queue is the protection")
        .means("Most requests a second per instance, counted over all instances together; 0 means no limit.")
        .at_limit("per instance: over this × `metadata.instance`, 429 `rate_limited` with `Retry-After`"),
    Key::used("metadata.rpc.batching", Flag)
        .default("false", "as in EAS")
        .means("If true, the processor gets several requests at once. It must export `process-batch`."),
    Key::used("metadata.rpc.max_batch_size", whole(1, 4096, "requests"))
        .default("16", "as in EAS")
        .means("Most requests in a batch."),
    Key::used("metadata.rpc.max_batch_timeout", whole(0, 60_000, "ms"))
        .default("50", "as in EAS")
        .means("The longest time in milliseconds that the oldest request of a batch waits for the batch to fill. With 0, it waits only for a worker."),
    Key::used("metadata.rpc.decompressor", Word(&["zlib", "gzip", "snappy", "zstd", "lz4"]))
        .means("The compression of request bodies without `Content-Encoding`. EAS clients do not send that header."),
    Key::used("metadata.rpc.mirror.target", Name)
        .means("The service that gets copies of the requests. Its answers are dropped."),
    Key::used("metadata.rpc.mirror.ratio", whole(0, 100, "%"))
        .default("100", "a target without a ratio means all requests")
        .means("The percentage of the requests that are copied."),
    Key::used("metadata.eas.termination_grace_period", whole(0, 3600, "s"))
        .default("30", "as in EAS; six times the default deadline of a request")
        .means("The longest time in seconds that an old version gets to finish its requests after the new one has taken over.")
        .at_limit("requests that still run are stopped"),
    // queue: the keys of asynchronous services. EAS has the first one and the ignored ones below.
    Key::used("queue.max_delivery", whole(1, 1000, "deliveries"))
        .default("5", "a fault that passes, such as a restart, leaves further attempts; an item that always fails soon ends")
        .means("Most deliveries of an item. With 1, a failed item is not tried again.")
        .at_limit("an item whose last delivery failed is a dead letter"),
    Key::used("queue.length", whole(1, 100_000_000, "items"))
        .default("100000", "more than a day of one item a second")
        .means("Most items of the input queue, and most of the output queue. Dead letters count.")
        .at_limit("input queue: a put gets 450; output queue: the processor takes no items until there is room"),
    Key::used("queue.max_payload_bytes", whole(1, 64 << 20, "bytes"))
        .default("8388608", "8 MiB: a picture or a document; of larger data, an item can have the address")
        .means("The largest item in bytes.")
        .at_limit("a put gets 413"),
    Key::used("queue.retention_s", whole(0, 31_536_000, "s"))
        .default("604800", "7 days: a caller that was away for a weekend still finds its results")
        .means("The age in seconds at which an item, a result or a dead letter is removed; 0 means never.")
        .at_limit("it is removed, also if it was never delivered"),
    Key::used("queue.timeout_ms", whole(1000, 86_400_000, "ms"))
        .default("600000", "10 minutes: work that callers do not wait for is often long")
        .means("The longest time in milliseconds that a consumer, usually the processor, may work on one item.")
        .at_limit("408 `deadline_exceeded`: the delivery failed, and the item is delivered again"),
    Key::used("queue.lease_ms", whole(5000, 3_600_000, "ms"))
        .default("30000", "longer than a short fault of the network, shorter than a caller's patience")
        .means("The longest time in milliseconds without a sign of life from an external consumer.")
        .at_limit("the items that it has are delivered again"),
    Key::used("queue.weight", whole(1, 1000, ""))
        .default("100", "all services alike")
        .means("The weight of the queued work of this service beside other work, while all background threads are busy. With twice the weight, it gets twice the share of them."),
    Key::used("queue.callback", Url)
        .means("The URL that gets a request, a webhook, for each finished item. Its host must be in `sandbox.allow_hosts`."),
    // sandbox: Bulkhead's own keys.
    Key::used("sandbox.fuel", Fuel)
        .means("The fuel of one request, about one unit per instruction; \"unlimited\" compiles without metering. If not given, 20,000,000,000 for each second, rounded up, of the longest time of a request: `metadata.rpc.keepalive`, or `queue.timeout_ms` of an `Async` service. For a processor that can stream its answers, `sandbox.stream_total_ms` is added. Most code uses less in that time, so that the deadline comes first.")
        .at_limit("`sandbox.fuel_status` (400) `fuel_exhausted`"),
    Key::used("sandbox.memory_mb", whole(1, 4096, "MiB"))
        .default("256", "room for a model of ordinary size; 5 workers stay near 1 GiB")
        .means("The memory of one guest in MiB; each worker has a guest.")
        .at_limit("the guest's allocation fails; if the guest then aborts, 400 `processor_exception`"),
    Key::used("sandbox.isolation", Word(&[REUSE, FRESH]))
        .means("`reuse`: a guest answers one request after the other; `fresh`: every request gets a guest of its own. If not given, processors of `bulkhead:processor` are reused, which keeps what `initialize` has loaded, and so are components of `wasi:http` 0.3; those of 0.2 are not, as their authors expect."),
    Key::used("sandbox.snapshot", Flag)
        .default("true", "a new guest then costs microseconds, whatever `initialize` costs")
        .means("If true, `initialize` runs once, and all guests start from a snapshot of the result, if one can be taken. If false, it runs for each guest."),
    Key::used("sandbox.max_requests_per_instance", whole(0, 1_000_000_000, "requests"))
        .default("0", "a guest that does not leak need not be replaced")
        .means("The number of requests after which a guest is replaced; 0 means never.")
        .at_limit("the guest is replaced between two requests, without an effect on callers"),
    Key::used("sandbox.trap_status", FAULT_STATUS)
        .default("400", "as in EAS")
        .means("The status of a request whose processor trapped or panicked."),
    Key::used("sandbox.fuel_status", FAULT_STATUS)
        .default("400", "as in EAS, where it is an exception like any other")
        .means("The status of a request that used up its fuel."),
    Key::used("sandbox.initialize_timeout_ms", whole(1, 3_600_000, "ms"))
        .default("30000", "reading a large model takes seconds; more than that is likely a mistake")
        .means("The longest time in milliseconds that `initialize` may take.")
        .at_limit("the deploy is refused; the old version keeps serving"),
    Key::used("sandbox.max_request_bytes", whole(1, MOST_BODY, "bytes"))
        .default("16777216", "16 MiB: a large picture; 69 of them, with queue and workers full, are about 1 GiB")
        .means("The largest request body in bytes.")
        .at_limit("413 `body_too_large`"),
    Key::used("sandbox.max_response_bytes", whole(1, MOST_BODY, "bytes"))
        .default("16777216", "16 MiB, as for requests")
        .means("The largest response body in bytes. An answer that is streamed is bounded by time instead.")
        .at_limit("`sandbox.trap_status` (400) `processor_exception`"),
    Key::used("sandbox.stream_idle_ms", whole(1, 3_600_000, "ms"))
        .default("60000", "proxies between client and host often wait no longer")
        .means("The longest time in milliseconds that a processor may take for the next piece of a streamed answer. The time in which the client takes nothing does not count.")
        .at_limit("the answer is cut off, and counts as 408 `deadline_exceeded`"),
    Key::used("sandbox.stream_total_ms", whole(1, 86_400_000, "ms"))
        .default("600000", "ten minutes: long enough for long texts, short enough that no worker is lost for good")
        .means("The longest time in milliseconds from the head of a streamed answer to its end. `metadata.rpc.keepalive` bounds the time to the head.")
        .at_limit("the answer is cut off, and counts as 408 `deadline_exceeded`"),
    Key::used("sandbox.compress_responses", Flag)
        .default("true", "only clients that ask for it in `Accept-Encoding` get it")
        .means("If true, long text answers are compressed for clients that ask for it."),
    Key::used("sandbox.half_close", Word(&[LEAVE, ANSWER]))
        .default("\"leave\"", "a client that closes only its sending side looks like one that has disconnected, for which work should stop at once")
        .means("The meaning of a client that closes its sending side after its request. `leave`: it counts as disconnected; its request is stopped and counts as 499. `answer`: its request is answered; only a reset or a failed write counts as a disconnect."),
    Key::used("sandbox.methods", Words { of: METHODS, least: 1 })
        .default("[\"GET\", \"POST\"]", "what EAS clients send")
        .means(
            "The HTTP methods that the service accepts; others get 405. GET includes HEAD. For HEAD the processor is \
             called with GET, unless HEAD is listed as well.",
        ),
    Key::used("sandbox.allow_hosts", Hosts)
        .default("[]", "a guest reaches no hosts but those that are listed")
        .means("The hosts that a component of `wasi:http`, or another processor that imports its outgoing handler, may send requests to: names, with a port unless it is 443 for https or 80 for http; names below a name (`*.example.com`); addresses and networks. A name leads to private and special addresses only if these are listed too."),
    Key::used("sandbox.log_bytes_per_request", whole(0, 16_777_216, "bytes"))
        .default("65536", "64 KiB: a stack trace and some hundred lines; each line counts 64 bytes more than its text")
        .means("Most bytes that are kept of the output of a request to stdout, stderr and the log.")
        .at_limit("the rest is dropped, and the log says so"),
    Key::used("sandbox.expose", Words { of: &[TIMING, FUEL, STACK], least: 0 })
        .default("[\"timing\"]", "timing explains a slow answer; fuel and stack reveal something about the code")
        .means("The facts that answers may show to callers: `timing`, `fuel`, `stack`."),
    Key::used("sandbox.cors.origins", Origins)
        .means("The origins of web pages that may call the service from a browser, such as `https://app.example.com`, or `[\"*\"]` for all. Without it, none may."),
    Key::used("sandbox.cors.methods", Words { of: METHODS, least: 1 })
        .means("The methods that such pages may use. If not given, those of `sandbox.methods`."),
    Key::used("sandbox.cors.headers", HeaderNames)
        .default("[\"*\"]", "the origins decide who may ask; SDKs in pages send headers of their own")
        .means("The request headers that such pages may set, or `[\"*\"]` for all, including `Authorization`."),
    Key::used("sandbox.cors.credentials", Flag)
        .default("false", "a page sends its token itself, in `Authorization`")
        .means("If true, the browser may send its cookies with the requests of such pages. The origins must then be listed."),
    Key::used("sandbox.cors.max_age_s", whole(0, 86_400, "s"))
        .default("600", "a page asks every ten minutes, so a change of these keys takes effect within that time")
        .means("The time in seconds for which a browser may cache the answer to its preflight request."),
    // Keys of EAS outside `metadata`.
    Key::used("runtime.enable_crash_block", Flag)
        .default("false", "as in EAS")
        .means("If true, a guest that crashed is not replaced until the service is restarted, and its error and stack are kept. It has no effect with batching."),
    Key::used("networking.traffic_state", Word(&["grouping", "standalone", "Grouping", "Standalone"]))
        .default("\"grouping\"", "a service is put into a group to share its requests")
        .means("The first state of a service in its group: `grouping` gets a share of the group's requests, `standalone` is called by its own name alone."),
    Key::used("networking.gateway_policy.rate_limit.enable", Flag)
        .default("false", "as in EAS")
        .means("If true, the rate of the service as a whole is limited."),
    Key::used("networking.gateway_policy.rate_limit.limit", whole(1, 1_000_000_000, "requests/s"))
        .means("Most requests a second of all instances together.")
        .at_limit("429 `rate_limited` with `Retry-After`"),
    Key::used("networking.gateway_policy.concurrency_limit.enable", Flag)
        .default("false", "as in EAS")
        .means("If true, the number of requests that run or wait is limited."),
    Key::used("networking.gateway_policy.concurrency_limit.limit", whole(1, 1_000_000_000, "requests"))
        .means("Most requests of all instances at once, running and waiting ones together.")
        .at_limit("429 `rate_limited`"),
    // Keys of EAS without a meaning here.
    Key::ignored("processor", "The code of a pre-built processor."),
    Key::ignored("processor_type", "The language of the processor; here its exports suffice."),
    Key::ignored("processor_mainclass", "The class of a Java processor."),
    Key::ignored("oss_endpoint", "The address of object storage."),
    Key::ignored("labels", "Labels of the service."),
    Key::ignored("autoscaler", "Rules for adding and removing instances."),
    Key::ignored("sinker", "The place where requests and responses are recorded."),
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
    Key::ignored("queue.resource", "Resource group of the queue service."),
    Key::ignored("queue.source", "Settings of the input queue."),
    Key::ignored("queue.sink", "Settings of the output queue."),
    Key::ignored("networking.gateway", "The gateway in front of the service."),
    Key::ignored("metadata.cpu", "Cores of an instance; here workers share the machine."),
    Key::ignored("metadata.gpu", "GPUs of an instance."),
    Key::ignored("metadata.gpu_memory", "GPU memory of an instance."),
    Key::ignored("metadata.gpu_core_percentage", "Share of a GPU."),
    Key::ignored("metadata.cuda", "The CUDA version."),
    Key::ignored("metadata.rdma", "RDMA network cards."),
    Key::ignored("metadata.qos", "Class of resource guarantees."),
    Key::ignored("metadata.shm_size", "Shared memory in GB."),
    Key::ignored("metadata.disk", "Scratch space."),
    Key::ignored("metadata.rolling_strategy.max_surge", "Extra instances during an update; here a version is replaced as a whole."),
    Key::ignored("metadata.rolling_strategy.max_unavailable", "Missing instances during an update; here there are none."),
    Key::ignored("metadata.workspace_id", "The workspace."),
    Key::ignored("metadata.resource", "The resource group."),
    Key::ignored("metadata.quota_id", "The quota."),
    Key::ignored("metadata.region", "The region."),
    Key::ignored("metadata.scheduling", "Rules for choosing machines."),
    Key::ignored("metadata.resource_rebalancing", "Moving instances between machines."),
    Key::ignored("metadata.resource_burstable", "Use of more resources than an instance requested."),
    Key::ignored("metadata.workload_type", "The type of workload."),
    Key::ignored("metadata.unit", "Machines per instance."),
    Key::ignored("metadata.aimaster", "Fault tolerance of distributed jobs."),
    Key::ignored("metadata.cloud", "Machine types and networks."),
    Key::ignored("metadata.confidential", "Confidential computing."),
    Key::ignored("metadata.dockerAuth", "The login of an image registry."),
    Key::ignored("metadata.containers", "Containers of the service."),
    Key::ignored("metadata.data_image", "An image that carries data."),
    Key::ignored("metadata.storage", "Mounted storage."),
    Key::ignored("metadata.enable_grpc", "Support of gRPC in the gateway."),
    Key::ignored("metadata.enable_webservice", "The mark of a web application."),
    Key::ignored("metadata.rpc.io_threads", "Network threads; here they belong to the host."),
    Key::ignored("metadata.rpc.enable_sigterm", "SIGTERM for a terminating process; a guest has no signals."),
    Key::ignored("metadata.rpc.proxy_path", "The path that a container is called at."),
    Key::ignored("metadata.rpc.enable_jemalloc", "Use of jemalloc in the engine."),
    Key::ignored("metadata.rpc.http", "Properties of the engine's HTTP server."),
];
