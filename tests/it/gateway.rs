//! The gateway in front of real hosts, and of upstreams with every kind of fault.

mod combined;
mod early;
mod endings;
mod envoy;
pub(crate) mod fake;
mod half_close;
mod health;
mod limits;
mod refusals;
mod retries;
mod smuggling;
mod streams;

use std::net::SocketAddr;

use serde_json::{Value, json};

use self::fake::Fake;
use crate::host::TestHost;

/// A path of the service `s`, to which the route of every test applies.
const PATH: &str = "/api/predict/s";

/// Makes a file with one cluster of these upstreams and the given keys, and a route `*` to it. Health checks and
/// ejection are off unless a test sets them.
pub(crate) fn config(upstreams: &[SocketAddr], keys: Value) -> Value {
    let upstreams: Vec<String> = upstreams.iter().map(SocketAddr::to_string).collect();
    let mut cluster = json!({
        "upstreams": upstreams,
        "health_check": {"interval_ms": 0},
        "ejection": {"consecutive_failures": 0},
    });
    for (key, value) in keys.as_object().expect("an object") {
        cluster[key] = value.clone();
    }
    json!({"clusters": {"c": cluster}, "routes": {"*": "c"}})
}

fn gateway(upstreams: &[SocketAddr], keys: Value) -> TestHost {
    TestHost::start_gateway(&config(upstreams, keys), &[])
}

/// Starts a gateway in front of one fake.
fn before(fake: &Fake) -> TestHost {
    gateway(&[fake.address], json!({}))
}

/// Returns the name of a metric of an upstream of [`config`].
fn upstream(name: &str, address: SocketAddr) -> String {
    format!("bulkhead_upstream_{name}{{cluster=\"c\",upstream=\"{address}\"}}")
}

/// Makes a gateway read another file, and waits until it logs this text.
fn change(gateway: &TestHost, config: &str, said: &str) {
    std::fs::write(gateway.dir().join("gateway.json"), config).expect("a file");
    let before = gateway.log().matches(said).count();
    let pid = rustix::process::Pid::from_raw(i32::try_from(gateway.pid()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a signal");
    gateway.wait_for(said, || gateway.log().matches(said).count() > before);
}
