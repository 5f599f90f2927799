//! All targets: the name of each measurement, and the value it should reach.

use super::report::{Goal, Target};

const fn least(what: &'static str, times: f64) -> Goal {
    Goal::new(what, Target::at_least(times, "×"))
}

const fn most(what: &'static str, bound: f64, unit: &'static str) -> Goal {
    Goal::new(what, Target::at_most(bound, unit))
}

pub(super) const IDLE_HOST: Goal = most("host idle, no services: resident memory", 40.0, "MiB");

pub(super) const ECHO: Goal = least("echo 1 KiB: throughput to bare hyper", 1.0);
pub(super) const ECHO_CPU: Goal = most("echo 1 KiB: server CPU to bare hyper", 1.05, "×");
pub(super) const FRESH: Goal = least("echo 1 KiB, a fresh instance each: to bare hyper", 0.5);
pub(super) const MOSEC: Goal = least("echo 1 KiB: to mosec", 5.0);
pub(super) const WORKERD: Goal = least("echo 1 KiB: to workerd", 4.5);
pub(super) const WASI_HTTP: Goal =
    least("echo 1 KiB of a wasi:http component: to wasmtime serve, both reusing instances", 2.0);
pub(super) const CONTEST: [Goal; 6] = [ECHO, ECHO_CPU, FRESH, MOSEC, WORKERD, WASI_HTTP];

pub(super) const EVENT: Goal = most("an event of a stream, from the guest to its client: p99", 1.0, "ms");
pub(super) const OPEN_STREAM: Goal = most("memory of an open stream beyond its guest", 64.0, "KiB");
pub(super) const STREAMS: [Goal; 2] = [EVENT, OPEN_STREAM];

pub(super) const GATEWAY: Goal = least("gateway, echo 1 KiB: throughput to Envoy's, one thread each", 2.0);

pub(super) const ECHO_64: Goal = least("echo 64 KiB: throughput to bare hyper", 0.95);

/// Targets for percentiles at a steady rate.
pub(super) const STEADY: [(f64, Goal); 3] = [
    (0.5, most("echo 1 KiB at a steady rate: p50 to bare hyper", 1.2, "×")),
    (0.99, most("echo 1 KiB at a steady rate: p99 to bare hyper", 1.2, "×")),
    (0.999, most("echo 1 KiB at a steady rate: p99.9 to bare hyper", 1.2, "×")),
];

pub(super) const REFUSED: Goal = most("450, every worker spinning, queue full: median", 50.0, "µs");
pub(super) const REFUSED_LATE: Goal = most("450, every worker spinning, queue full: p99", 3.0, "ms");
pub(super) const HEALTH: Goal = most("/healthz, every worker spinning, queue full: median", 50.0, "µs");
pub(super) const HEALTH_LATE: Goal = most("/healthz, every worker spinning, queue full: p99", 3.0, "ms");
pub(super) const BESIDE: Goal = most("1 KiB of a service whose other 4 workers spin: median", 50.0, "µs");
pub(super) const BUSY: [Goal; 5] = [REFUSED, REFUSED_LATE, HEALTH, HEALTH_LATE, BESIDE];

pub(super) const SIGNATURE: Goal = most("the signature of an echo of 1 KiB: server CPU", 3.0, "µs");
pub(super) const UNAUTHORIZED: Goal = most("401: server CPU to an answer of bare hyper", 1.0, "×");
pub(super) const RATE_LIMITED: Goal = most("429: server CPU to an answer of bare hyper", 1.0, "×");
pub(super) const QUEUE_FULL: Goal = most("450: server CPU to an answer of bare hyper", 1.0, "×");
pub(super) const DOOR: [Goal; 4] = [SIGNATURE, UNAUTHORIZED, RATE_LIMITED, QUEUE_FULL];

pub(super) const LATE_ALONE: Goal = most("408 after the deadline, one looping guest: p99", 2.0, "ms");
pub(super) const LATE_ALL: Goal = most("408 after the deadline, every worker looping: p99", 5.0, "ms");

pub(super) const FAULT: Goal = most("good answer after a fault, small guest: extra", 50.0, "µs");
pub(super) const FAULT_LARGE: Goal = most("good answer after a fault, guest of 50 MiB: extra", 100.0, "µs");

pub(super) const DIGITS: Goal = most("digits, one row in the sandbox, metered: to native tract", 1.5, "×");

pub(super) const WARM_GUEST: Goal = most("memory of a warm small guest", 32.0, "KiB");
pub(super) const IDLE_SERVICE: Goal = most("memory of an idle small service of five workers", 128.0, "KiB");
pub(super) const START: Goal = most("start with 100 services, until ready", 1.0, "s");
pub(super) const IDLE_OF_MANY: Goal = most("the same where there are many more", 128.0, "KiB");
pub(super) const SPREAD: Goal = least("throughput spread over all of them: to one", 0.75);
pub(super) const CROWD: [Goal; 4] = [IDLE_SERVICE, START, IDLE_OF_MANY, SPREAD];

pub(super) const PUTS: Goal = least("durable puts of 1 KiB, 32 producers: to Redis Streams, fsync always", 1.0);
pub(super) const PUT_LATE: Goal = most("durable puts of 1 KiB at 2000/s: p99 to the disk's sync p99", 3.0, "×");
pub(super) const TO_RESULT: Goal = most("put to result through a guest: p50 to two syncs and 1 ms", 1.0, "×");
pub(super) const BESIDE_QUEUE: Goal = most("echo 1 KiB beside a busy queue: p99 to alone", 1.3, "×");
pub(super) const DEPTH_MEMORY: Goal = most("a long queue: memory beyond a short one's", 64.0, "MiB");
pub(super) const DEPTH_SEARCH: Goal = most("a long queue: search to a short one's", 1.5, "×");
pub(super) const DEPTH_GET: Goal = most("a long queue: get by index to a short one's", 1.5, "×");
pub(super) const DEPTH_BY_REQUEST: Goal = most("a long queue: get by request id to a short one's", 1.5, "×");
pub(super) const DEPTH_START: Goal = most("a long queue: start of the host, until ready", 2.0, "s");
pub(super) const QUEUES: [Goal; 9] =
    [PUTS, PUT_LATE, TO_RESULT, BESIDE_QUEUE, DEPTH_MEMORY, DEPTH_SEARCH, DEPTH_GET, DEPTH_BY_REQUEST, DEPTH_START];
