//! Causes every row of the status contract once.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Deployed;
use super::table::Row;
use crate::host::Host;
use crate::http::{self, Connection, Response};
use crate::metrics;
use crate::services::{self, Service};

pub(super) fn every_answer(host: &Host, services: &Deployed) -> Result<Vec<Row>> {
    let Deployed { echo, json_score, faults, strict, limited, .. } = services;
    let ask = |service: &Service, body: &Value| http::call(host.data, &service.request(body.to_string().as_bytes()));
    let raw = |request: &[u8]| http::call(host.data, request);
    Ok(vec![
        Row::of(
            "a good record to `json-score`",
            (200, ""),
            &ask(json_score, &json!({"age": 40, "income": 50_000, "history": [0, 0, 2]}))?,
        ),
        Row::of(
            "a bad record: the processor itself chooses 422",
            (422, ""),
            &ask(json_score, &json!({"age": -3, "income": 50_000, "history": []}))?,
        ),
        Row::of(
            "the processor panics",
            (400, "processor_exception"),
            &ask(faults, &json!({"do": "panic", "message": "out of cheese"}))?,
        ),
        Row::of("the next request to the same service", (200, ""), &ask(faults, &json!({"do": "sleep", "ms": 1}))?),
        Row::of(
            "a trap, where the service file says trap_status 470",
            (470, "processor_exception"),
            &ask(strict, &json!({"do": "trap"}))?,
        ),
        Row::of("an endless loop on little fuel", (400, "fuel_exhausted"), &ask(strict, &json!({"do": "loop"}))?),
        Row::of(
            "the wrong token",
            (401, "unauthorized"),
            &raw(&http::request("POST", &echo.path(), "not-the-token", b"hello"))?,
        ),
        Row::of(
            "an unknown service",
            (404, "service_not_found"),
            &raw(&http::request("POST", "/api/predict/nobody", &echo.token, b"hello"))?,
        ),
        Row::of("DELETE", (405, "method_not_allowed"), &raw(&http::request("DELETE", &echo.path(), &echo.token, b""))?),
        deadline(host, faults)?,
        Row::of(
            "2000 bytes, where the service file allows 1024",
            (413, "body_too_large"),
            &raw(&strict.request(&[b'x'; 2000]))?,
        ),
        rate_limit(host, limited)?,
        queue_full(host, faults)?,
        client_leaves(host, faults)?,
        {
            services::stop(host, limited)?;
            let answer = raw(&limited.request(b"hello"))?;
            Row::of("a service that was stopped", (503, "no_healthy_upstream"), &answer)
        },
        Row::of(
            "a request in HTTP/3.0",
            (505, "http_version_not_supported"),
            &raw(format!("POST {} HTTP/3.0\r\nhost: localhost\r\n\r\n", echo.path()).as_bytes())?,
        ),
    ])
}

fn deadline(host: &Host, faults: &Service) -> Result<Row> {
    let start = Instant::now();
    let answer = http::call(host.data, &faults.request(br#"{"do": "loop"}"#))?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    let mut row = Row::of("an endless loop with fuel for longer than 2000 ms", (408, "deadline_exceeded"), &answer);
    row.came.push_str(&format!(" [came after {took:.1} ms]"));
    Ok(row)
}

/// Sends two requests at once to a service that allows one per second, so the second is refused.
fn rate_limit(host: &Host, limited: &Service) -> Result<Row> {
    let mut connection = Connection::open(host.data)?;
    connection.send(&limited.request(b"one"))?;
    connection.receive()?;
    connection.send(&limited.request(b"two"))?;
    Ok(Row::of(
        "a second request at once, where one a second is allowed",
        (429, "rate_limited"),
        &connection.receive()?,
    ))
}

/// Fills `faults`, which has two workers and a queue of four.
fn queue_full(host: &Host, faults: &Service) -> Result<Row> {
    let mut sleeping = Vec::new();
    for _ in 0..6 {
        let mut connection = Connection::open(host.data)?;
        connection.send(&faults.request(br#"{"do": "sleep", "ms": 400}"#))?;
        sleeping.push(connection);
    }
    metrics::wait_for(host.admin, "two workers busy, four requests waiting", |metrics| {
        let of_faults = [("service", "faults")];
        metrics.sum("bulkhead_workers_busy", &of_faults) == 2.0
            && metrics.sum("bulkhead_queue_depth", &of_faults) == 4.0
    })?;
    let answer = http::call(host.data, &faults.request(br#"{"do": "sleep", "ms": 400}"#))?;
    let mut row = Row::of("a 7th request while 2 are at work and 4 are waiting", (450, "queue_full"), &answer);
    for (index, connection) in sleeping.iter_mut().enumerate() {
        let answer = connection.receive().with_context(|| format!("request {} of the six", index + 1))?;
        // The queued requests must succeed although one more was refused.
        row.is_expected &= answer.status == 200;
    }
    Ok(row)
}

/// Closes the connection during a call. No client reads the 499, so only the host's metrics show it.
fn client_leaves(host: &Host, faults: &Service) -> Result<Row> {
    let left = |metrics: &metrics::Metrics| {
        let status = metrics.sum("bulkhead_requests_total", &[("service", "faults"), ("status", "499")]);
        let code = metrics.sum("bulkhead_refusals_total", &[("service", "faults"), ("code", "client_closed")]);
        (status, code)
    };
    let busy = |metrics: &metrics::Metrics| metrics.sum("bulkhead_workers_busy", &[("service", "faults")]);
    let before = left(&metrics::Metrics::read(host.admin)?);
    let mut connection = Connection::open(host.data)?;
    connection.send(&faults.request(br#"{"do": "loop"}"#))?;
    metrics::wait_for(host.admin, "a worker is busy", |metrics| busy(metrics) == 1.0)?;
    drop(connection);
    let start = Instant::now();
    let after = metrics::wait_for(host.admin, "the guest is stopped and 499 counted", |metrics| {
        busy(metrics) == 0.0 && left(metrics) != before
    });
    let is_expected = after.is_ok_and(|metrics| left(&metrics) == (before.0 + 1.0, before.1 + 1.0));
    let came = match is_expected {
        true => {
            format!("no client reads it; counted in /metrics, and the guest stopped, after {:.0} ms", ms(start))
        }
        false => "the metrics do not show it".to_owned(),
    };
    let done = "the client disconnects during an endless loop".to_owned();
    Ok(Row { status: 499, code: "client_closed".to_owned(), done, came, is_expected })
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

impl Row {
    /// Compares an answer with the expected status and code. Answers of the processor itself have no code.
    fn of(done: &str, expected: (u16, &str), answer: &Response) -> Self {
        let problem = answer.json().filter(|_| answer.header("content-type") == Some("application/problem+json"));
        let text = |key: &str| problem.as_ref().and_then(|problem| problem[key].as_str());
        let code = text("code").unwrap_or_default();
        let mut came = text("detail").map_or_else(|| answer.text(), str::to_owned);
        for (name, shown) in [("allow", "Allow"), ("retry-after", "Retry-After")] {
            if let Some(value) = answer.header(name) {
                came.push_str(&format!(" [{shown}: {value}]"));
            }
        }
        let is_expected = (answer.status, code) == expected;
        Self { status: answer.status, code: code.to_owned(), done: done.to_owned(), came, is_expected }
    }
}
