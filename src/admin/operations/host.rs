//! Health, metrics, and the OpenAPI document.

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
        .says("Check whether the process is alive", "It answers as long as the process runs.")
        .answers(&[Answer::ok("The process is alive.", &[Content::Text(TEXT)])]),
    Operation::get("/readyz", "ready", |asked| Box::pin(async move { Ok(ready(&asked)) }))
        .open()
        .says(
            "Check whether the host is ready for requests",
            "It is ready once every service has started or has failed to start, and every upstream of its gateway has \
             been checked.",
        )
        .answers(&[
            Answer::ok("The host is ready.", &[Content::Text(TEXT)]),
            Answer::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The host is not ready: `not_ready` with its progress, or `draining`.",
                &[Content::Text(TEXT)],
            ),
        ]),
    Operation::get("/metrics", "metrics", |asked| Box::pin(async move { exposition(asked).await }))
        .open()
        .says(
            "Get all metrics",
            "Every name begins with `bulkhead_`. The format is the text format of Prometheus, or OpenMetrics if \
             `Accept` gives `application/openmetrics-text` a higher weight.",
        )
        .answers(&[Answer::ok("The metrics.", &[Content::Text(metrics::TEXT), Content::Text(metrics::OPENMETRICS)])])
        .refuses(&[&INTERNAL]),
    Operation::get("/openapi.json", "openapi", |_| Box::pin(async { Ok(document()) }))
        .open()
        .says("Get this document", "It contains no secrets and is the same for every host of a release.")
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
