//! The reference page of the kinds of refusal, made from their table.

use bulkhead_pages::generated::{check, code, prose, table};
use bulkhead_pages::source;

use super::kinds::*;

/// Every kind, with its name in the source.
macro_rules! all {
    ($($kind:ident)*) => { [$((stringify!($kind), &$kind)),*] };
}

#[test]
fn the_page_is_what_the_code_says() {
    let mut kinds: Vec<(&str, &Kind)> = all![
        BAD_REQUEST INVALID_SERVICE_FILE PROCESSOR_REFUSED ARTIFACT_MISMATCH UNAUTHORIZED NOT_FOUND SERVICE_NOT_FOUND
        METHOD_NOT_ALLOWED SERVICE_EXISTS ARTIFACT_MISSING ARTIFACT_DAMAGED SERVICE_IS_PUBLIC TWO_TOKENS NOT_RUNNING
        INSTANCE_NOT_FOUND VERSION_NOT_FOUND VERSION_INCOMPLETE CANARY_UNDER_WAY NO_ROOM HOST_UNFIT NO_CANARY NO_SHARE NAME_TAKEN
        MIRROR_REFUSED QUEUE_NOT_EMPTY NO_PROCESSOR OTHER_TYPE NOT_ASYNCHRONOUS ITEM_NOT_FOUND
        CANARY_TOKEN CHANGE_CONFLICT LENGTH_REQUIRED PRECONDITION_FAILED BODY_TOO_LARGE
        UNSUPPORTED_MEDIA_TYPE RATE_LIMITED INTERNAL OUTCOME_UNKNOWN DEADLINE_EXCEEDED TARGET_TOO_LONG EXPECTATION_FAILED
        HEADERS_TOO_LARGE NOT_IMPLEMENTED QUEUE_UNAVAILABLE VERSION_NOT_SUPPORTED STORAGE_FULL
    ]
    .into();
    let named: Vec<String> = kinds.iter().map(|(name, _)| (*name).to_owned()).collect();
    source::assert_complete(
        &named,
        &source::items(include_str!("kinds.rs"), "static", "Kind"),
        "src/admin/problem/reference.rs",
    );
    kinds.sort_by_key(|(_, kind)| (kind.status, kind.code));
    let row = |(_, kind): (&str, &Kind)| [kind.status.to_string(), code(kind.code), prose(kind.means)];
    let rows = table(["status", "code", "meaning"], kinds.into_iter().map(row));
    check("docs/reference/admin-problems.md", &[("kinds", rows)]);
}
