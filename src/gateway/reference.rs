//! The reasons for which an upstream gave no answer, for the reference page of the metrics.

use super::upstream::Upstream;
use crate::config::GatewaySpec;

/// Each reason that upstreams count, with its meaning.
pub(crate) fn failures() -> Vec<(&'static str, &'static str)> {
    let file = r#"{"clusters": {"ml": {"upstreams": ["127.0.0.1:1"]}}, "routes": {"*": "ml"}}"#;
    let spec = GatewaySpec::parse(file).expect("no mistakes");
    let cluster = &spec.clusters()[0];
    let counted = Upstream::new(&cluster.upstreams[0].address, None, cluster).tally().failures;
    let meaning = |reason| match reason {
        "connection_failure" => "No connection could be made.",
        "connection_timeout" => "A new connection took longer than `connect_timeout_ms`.",
        "connection_termination" => "The connection ended before the head of the answer.",
        "overflow" => "`max_pending` requests were waiting for a connection.",
        "protocol_error" => "The answer is not valid.",
        "timeout" => "The answer took longer than `request_timeout_ms`.",
        other => panic!("src/gateway/reference.rs says nothing about the reason {other}"),
    };
    counted.into_iter().map(|(reason, _)| (reason, meaning(reason))).collect()
}
