use super::*;

/// The status contract row by row, as callers rely on it.
#[test]
fn the_status_table() {
    use Connection::{Close, Keep};
    let second = Duration::from_secs(1);
    let limited = |limit| Limited { limit, most: 1, retry_after: second };
    let exception = |status| Refusal::ProcessorException { status, detail: String::new(), stack: String::new() };
    let table: [(Refusal, u16, &str, Connection); 34] = [
        (Refusal::BadRequest("x".into()), 400, "bad_request", Close),
        (Refusal::BadBody("x".into()), 400, "bad_request", Keep),
        (exception(400), 400, "processor_exception", Keep),
        (exception(470), 470, "processor_exception", Keep),
        (Refusal::FuelExhausted { status: 400, detail: String::new() }, 400, "fuel_exhausted", Keep),
        (Refusal::ProcessorStatus { status: 422, message: String::new() }, 422, "processor_status", Keep),
        (Refusal::Unauthorized(Unauthorized::Missing), 401, "unauthorized", Keep),
        (Refusal::ServiceNotFound { name: String::new(), looked: Looked::Services }, 404, "service_not_found", Keep),
        (Refusal::NotFound, 404, "not_found", Keep),
        (Refusal::MethodNotAllowed { allow: String::new() }, 405, "method_not_allowed", Keep),
        (Refusal::DeadlineExceeded { limit: second, reached: Reached::Run }, 408, "deadline_exceeded", Close),
        (Refusal::SlowHead { limit: second }, 408, "deadline_exceeded", Close),
        (Refusal::Stalled { detail: String::new() }, 408, "deadline_exceeded", Close),
        (Refusal::BodyTooLarge { limit: 1 }, 413, "body_too_large", Close),
        (Refusal::DecodedTooLarge { limit: 1 }, 413, "body_too_large", Close),
        (Refusal::CodingUnknown { given: String::new() }, 415, "unsupported_coding", Keep),
        (Refusal::TooManyCodings { most: 3 }, 415, "unsupported_coding", Keep),
        (Refusal::TargetTooLong, 414, "target_too_long", Close),
        (Refusal::ExpectationUnknown, 417, "expectation_failed", Close),
        (Refusal::RateLimited(limited(Limit::Instances)), 429, "rate_limited", Keep),
        (Refusal::TooManyFailures { most: 1, retry_after: second }, 429, "rate_limited", Keep),
        (Refusal::HeadersTooLarge, 431, "headers_too_large", Close),
        (Refusal::QueueFull { max_queue: 64 }, 450, "queue_full", Keep),
        (Refusal::ClientClosed, 499, "client_closed", Close),
        (Refusal::Internal { cause: String::new() }, 500, "internal", Keep),
        (Refusal::NotImplemented("x"), 501, "not_implemented", Close),
        (Refusal::NoHealthyUpstream { detail: String::new() }, 503, "no_healthy_upstream", Keep),
        (Refusal::BadGateway { detail: String::new() }, 502, "bad_gateway", Keep),
        (Refusal::UpstreamFailed { detail: String::new() }, 503, "upstream_failed", Keep),
        (Refusal::GatewayTimeout { detail: String::new() }, 504, "gateway_timeout", Keep),
        (Refusal::NotReady, 503, "not_ready", Keep),
        (Refusal::Draining, 503, "draining", Close),
        (Refusal::Retired, 503, "draining", Keep),
        (Refusal::VersionNotSupported, 505, "http_version_not_supported", Close),
    ];
    for (refusal, status, code, connection) in table {
        assert_eq!(refusal.row(), Row { status, code, connection }, "{refusal:?}");
    }
}

#[test]
fn a_limit_is_told_with_its_number_and_its_key() {
    let told = |limit| {
        let limited = Limited { limit, most: 300, retry_after: Duration::ZERO };
        Refusal::RateLimited(limited).detail().into_owned()
    };
    assert_eq!(
        told(Limit::Instances),
        "the service takes at most 300 requests a second (metadata.rpc.rate_limit × metadata.instance)"
    );
    for (limit, key) in [
        (Limit::Rate(LimitOf::Service), "(networking.gateway_policy.rate_limit.limit)"),
        (Limit::Concurrency(LimitOf::Service), "(networking.gateway_policy.concurrency_limit.limit)"),
        (Limit::Rate(LimitOf::Route), "(rate_limit)"),
        (Limit::Concurrency(LimitOf::Route), "(concurrency_limit)"),
    ] {
        assert!(told(limit).contains("300") && told(limit).ends_with(key), "{}", told(limit));
    }
}

#[test]
fn work_is_told_of_only_where_there_was_some() {
    let limit = Duration::from_secs(5);
    let hint = |reached| Refusal::DeadlineExceeded { limit, reached }.hint().unwrap();
    assert!(hint(Reached::Body).contains("was not called") && hint(Reached::Queue).contains("was not called"));
    assert!(hint(Reached::Run).contains("is stopped"));
}

#[test]
fn what_went_wrong_inside_is_for_the_log_alone() {
    let refusal = Refusal::Internal { cause: "secret detail".into() };
    assert!(!refusal.detail().contains("secret"));
    assert_eq!(refusal.cause(), "secret detail");
}

#[test]
fn one_request_is_told_in_the_singular() {
    let told = |max_queue| Refusal::QueueFull { max_queue }.detail().into_owned();
    assert!(told(1).contains("1 request is waiting") && told(2).contains("2 requests are waiting"), "{}", told(1));
}
