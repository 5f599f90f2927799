//! The cost of checking a signature, and the cost of refusals compared with an answer of bare hyper.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde_json::json;
use sha1::Sha1;

use super::bare::Bare;
use super::contest::{self, Runs};
use super::report::{Goal, Line};
use super::server::Server;
use super::{KIB, Plan, goals};
use crate::host::Host;
use crate::services::Service;
use crate::{http, metrics};

/// Header values that SDKs send; the same in all requests, so that only the signature differs.
const DATE: &str = "Mon, 23 Nov 2026 07:21:57 GMT";
const TYPE: &str = "application/octet-stream";

/// Occupies the only worker of `full` without using a CPU.
const SLEEP: &[u8] = br#"{"do": "sleep", "ms": 3600000}"#;

/// A service that answers, and services that refuse all requests.
pub(super) struct Doors<'a> {
    pub(super) echo: &'a Service,
    /// A service with a limit of one request per second.
    pub(super) limited: &'a Service,
    /// A service with one worker and no queue.
    pub(super) full: &'a Service,
}

pub(super) fn lines(host: &Host, bare: &Bare, doors: &Doors<'_>, plan: &Plan) -> Result<Vec<Line>> {
    let body = vec![b'x'; KIB];
    let echo = doors.echo;
    let hash: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut sleeper = http::Connection::open(host.data)?;
    sleeper.send(&doors.full.request(SLEEP))?;
    metrics::wait_for(host.admin, "the only worker sleeps", |metrics| {
        metrics.sum("bulkhead_workers_busy", &[("service", "full")]) == 1.0
    })?;

    let server = |name, request| Server::new(name, host.data, host.pid(), vec![request]);
    let wrong = Service { token: "not-the-token".to_owned(), ..echo.clone() };
    let all = [
        server("a token", echo.request(&body)),
        server("a token, and the hash of the body", hashed(echo, &echo.token, &hash, &body)),
        server("a signature, and the hash of the body", hashed(echo, &signature(echo, &hash), &hash, &body)),
        server("401", wrong.request(&body)).expecting(&[401]),
        server("429", doors.limited.request(&body)).expecting(&[429, 200]),
        server("450", doors.full.request(&body)).expecting(&[450]),
        Server::new("bare hyper", bare.address, bare.pid(), vec![echo.request(&body)]),
    ];
    let runs = contest::hold(&all, plan);
    drop(sleeper);
    let [token, hashed, signed, unauthorized, limited, full, answer] = &runs[..] else { unreachable!("as many runs") };

    let micros = |runs: &Runs, other: &Runs| runs.beyond(other, |run| run.cpu_micros);
    let (signature, hash) = (micros(signed, hashed)?, micros(hashed, token)?);
    let text = |cost: f64, base: &Runs| {
        let base = base.spread(|run| run.cpu_micros).map_or(f64::NAN, |cost| cost.median);
        format!("{cost:.2} µs on {base:.2} µs of CPU a request")
    };
    let turned_away = |goal: Goal, runs: &Runs| {
        let (ratio, text) = contest::cost(runs, answer)?;
        Ok::<_, anyhow::Error>(goal.ratio(ratio, text))
    };
    Ok(vec![
        goals::SIGNATURE.bounded(signature.median, text(signature.median, hashed), json!(signature.values())),
        Line::told("the hash of a body of 1 KiB: server CPU", text(hash.median, token), json!(hash.values())),
        turned_away(goals::UNAUTHORIZED, unauthorized)?,
        turned_away(goals::RATE_LIMITED, limited)?,
        turned_away(goals::QUEUE_FULL, full)?,
    ])
}

/// Makes a request with all headers that an SDK sends.
fn hashed(service: &Service, authorization: &str, hash: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-md5: {hash}\r\ndate: {DATE}\r\ncontent-type: {TYPE}\r\n\
         content-length: {}\r\nauthorization: {authorization}\r\n\r\n",
        service.path(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn signature(service: &Service, hash: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(service.token.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("POST\n{hash}\n{TYPE}\n{DATE}\n{}", service.path()).as_bytes());
    format!("EAS {}", STANDARD.encode(mac.finalize().into_bytes()))
}
