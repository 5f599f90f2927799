//! Health, metrics, and what the control API is.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::admin::api::text_reply;
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::INTERNAL;
use crate::admin::{Reply, metrics, openapi};

pub(in crate::admin) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/healthz", "health", |_| Box::pin(async { Ok(text(StatusCode::OK, "ok\n")) }))
        .open()
        .says("Whether the process lives", "Answers as long as it does.")
        .answers(&[Answer::ok("It lives.", &[Content::Text(TEXT)])]),
    Operation::get("/readyz", "ready", |asked| Box::pin(async move { Ok(ready(&asked)) }))
        .open()
        .says("Whether the host may be sent requests", "True once every service has been brought up or has failed.")
        .answers(&[
            Answer::ok("It may.", &[Content::Text(TEXT)]),
            Answer::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "It may not: `not_ready` yet, and how many services are done, or `draining`.",
                &[Content::Text(TEXT)],
            ),
        ]),
    Operation::get("/metrics", "metrics", |asked| Box::pin(async move { exposition(asked).await }))
        .open()
        .says(
            "All counters and gauges",
            "Every name begins with `bulkhead_`. In the text format of Prometheus; in OpenMetrics if `Accept` gives \
             `application/openmetrics-text` a higher weight.",
        )
        .answers(&[Answer::ok("The metrics.", &[Content::Text(metrics::TEXT), Content::Text(metrics::OPENMETRICS)])])
        .refuses(&[&INTERNAL]),
    Operation::get("/openapi.json", "openapi", |_| Box::pin(async { Ok(document()) }))
        .open()
        .says("This document", "It holds no secret and is the same for every host of a release.")
        .answers(&[Answer::ok("An OpenAPI 3.1 document.", &[Content::Text("application/json")])]),
];

fn ready(asked: &Asked) -> Reply {
    if *asked.admin.draining.borrow() {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if asked.admin.is_settled() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not_ready: {}\n", asked.admin.progress()))
    }
}

async fn exposition(asked: Asked) -> Result<Reply, Problem> {
    let Asked { admin, headers, .. } = asked;
    let look = || (admin.seen(), admin.upstreams_seen(), admin.host_numbers());
    metrics::reply(&headers, &admin.scrapes, look).await
}

fn document() -> Reply {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| openapi::text().into());
    text_reply(StatusCode::OK, HeaderValue::from_static("application/json"), TEXT.clone())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    text_reply(status, HeaderValue::from_static(TEXT), text)
}
