//! The labels of lost guests that the registry adds to those of the sandbox, for the reference page of the metrics.

use bulkhead_pages::source;

use super::Loss;

/// Each kind with its meaning.
pub(in crate::registry) fn kinds() -> Vec<(&'static str, &'static str)> {
    let all = [
        ("CLIENT_CLOSED", Loss::CLIENT_CLOSED, "The client left before its answer. The guest was stopped."),
        (
            "DEADLINE_EXCEEDED",
            Loss::DEADLINE_EXCEEDED,
            "The request took longer than `metadata.rpc.keepalive`. The guest was stopped.",
        ),
        (
            "GRACE_OVER",
            Loss::GRACE_OVER,
            "The version was replaced or stopped, and `metadata.eas.termination_grace_period` was over.",
        ),
    ];
    let named: Vec<String> = all.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let known = source::items(include_str!("../faults.rs"), "const", "Self");
    source::assert_complete(&named, &known, "src/registry/run/faults/labels.rs");
    all.iter().map(|(_, loss, meaning)| (loss.kind, *meaning)).collect()
}
