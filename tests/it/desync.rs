//! Thousands of pairs of requests on one connection. The first makes a processor answer in the worst possible way, the
//! second is an echo. The second answer must always be complete and unaffected by the first.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::figures::{must, rounds};
use crate::host::TestHost;
use crate::http::{Client, Response, request};

/// The number of pairs written before the first answer is read.
const BATCH: usize = 50;

/// The headers that the host sets itself. Any other header must be one that the processor was allowed to set.
const HOSTS_OWN: [&str; 9] = [
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "server-timing",
    "x-content-type-options",
    "x-request-id",
    "x-bulkhead-fuel",
];

/// A hostile request and its expected answer.
struct Evil {
    method: &'static str,
    deed: Value,
    /// The expected status and body; `None` if the answer is refused as impossible.
    answer: Option<(u16, String)>,
    /// Headers that may be passed on.
    kept: Vec<(&'static str, &'static str)>,
}

const NAMES: [&str; 26] = [
    "content-length",
    "Content-Length",
    "transfer-encoding",
    "Transfer-Encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-connection",
    "proxy-authenticate",
    "http2-settings",
    "date",
    "server",
    "set-cookie",
    "alt-svc",
    "www-authenticate",
    "x-request-id",
    "x-bulkhead-fuel",
    "x-mine",
    "a b",
    "a:",
    "",
    "a\r\ninjected",
    "é",
    "x\0",
];

const VALUES: [&str; 14] = [
    "0",
    "5",
    "20",
    "99999999999999999999",
    "abc",
    "chunked",
    "gzip, chunked",
    "close",
    "a\r\ninjected: yes",
    "a\ninjected: yes",
    "a\rinjected: yes",
    "a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a\0b",
    "plain",
];

const STATUSES: [u16; 20] =
    [200, 200, 200, 201, 204, 204, 205, 206, 299, 301, 304, 304, 404, 450, 499, 500, 599, 100, 101, 600];

const BODIES: [&str; 5] = ["", "short", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsmug", "0\r\n\r\n", "\r\n\r\n"];

impl Evil {
    fn new(dice: &mut Dice) -> Self {
        let (status, body) = (dice.pick(&STATUSES), dice.pick(&BODIES));
        let method = dice.pick(&["POST", "POST", "GET", "HEAD"]);
        if dice.roll(4) == 0 {
            // A text response, or an error, which has a failing status.
            let shape = dice.pick(&["response", "error"]);
            let first = if shape == "error" { 400 } else { 200 };
            let answer = (first..=599).contains(&status).then(|| (status, body.to_owned()));
            let deed = json!({"do": "status", "status": status, "message": body, "as": shape});
            return Self { method, deed, answer, kept: Vec::new() };
        }
        let headers: Vec<(&str, &str)> = (0..dice.roll(4)).map(|_| (dice.pick(&NAMES), dice.pick(&VALUES))).collect();
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_value = |value: &str| !value.contains(['\r', '\n', '\0']);
        let possible = (200..=599).contains(&status) && headers.iter().all(|(n, v)| is_name(n) && is_value(v));
        let kept = headers.iter().filter(|(name, _)| *name == "x-mine").copied().collect();
        let answer = possible.then(|| (status, body.to_owned()));
        Self {
            method,
            deed: json!({"do": "headers", "headers": headers, "status": status, "body": body}),
            answer,
            kept,
        }
    }

    /// Returns a description of the mistake in the response, if there is one.
    fn judge(&self, response: &Response) -> Option<String> {
        let Some((status, body)) = &self.answer else {
            let refused = response.status == 400 && response.header("content-type") == Some("application/problem+json");
            return (!refused).then(|| "an impossible answer came through".into());
        };
        let is_sent = self.method != "HEAD" && !matches!(status, 204 | 205 | 304);
        let expected = if is_sent { body.as_bytes() } else { b"" };
        let length = response.header("content-length").map(|length| length.parse::<usize>().ok());
        // The length is that of the body sent. For HEAD it is that of the answer to GET, or absent (RFC 9110 §9.3.2).
        let whole = if *status == 205 { 0 } else { body.len() };
        let right_length = match (status, self.method) {
            (204 | 304, _) => length.is_none(),
            (_, "HEAD") if whole == 0 => length.is_none() || length == Some(Some(0)),
            _ => length == Some(Some(whole)),
        };
        let kept = response.all("x-mine");
        let kept_right = kept.iter().eq(self.kept.iter().map(|(_, value)| value));
        if response.status != *status {
            Some(format!("the status is {}", response.status))
        } else if response.body != expected {
            Some("the body is another".into())
        } else if !right_length {
            Some(format!("the length is {length:?}"))
        } else if !kept_right {
            Some(format!("x-mine is {kept:?}"))
        } else {
            None
        }
    }
}

/// Returns headers that must not be in the response.
fn injected(response: &Response) -> Vec<String> {
    let is_fine = |name: &&str| match *name {
        // The host's own header for the connection, with this exact value.
        "keep-alive" => response.header(name) == Some("timeout=74"),
        name => HOSTS_OWN.contains(&name) || name == "x-mine",
    };
    response.names().filter(|name| !is_fine(name)).map(str::to_owned).collect()
}

#[test]
fn no_answer_of_a_processor_reaches_into_the_next() {
    let host = TestHost::start();
    let methods = json!(["GET", "HEAD", "POST"]);
    let faults = host.deploy("faults", "faults", json!({"sandbox": {"methods": methods}}));
    let echo = host.deploy("echo", "echo", json!({}));
    let pairs = rounds(1500, 10_000);
    let mut dice = Dice::new(0);
    let (mut wrong, mut headers, mut desynchronised) = (Vec::new(), Vec::new(), 0);
    for batch in 0..pairs / BATCH {
        let mut client: Client = host.client();
        let evils: Vec<Evil> = (0..BATCH).map(|_| Evil::new(&mut dice)).collect();
        let own = |i: usize| format!("pair {batch}.{i}");
        let mut bytes = Vec::new();
        for (i, evil) in evils.iter().enumerate() {
            let (deed, token) = (evil.deed.to_string(), [("authorization", faults.token.as_str())]);
            bytes.extend(request(evil.method, &faults.path, &token, deed.as_bytes()));
            bytes.extend(request("POST", &echo.path, &[("authorization", &echo.token)], own(i).as_bytes()));
        }
        client.write(&bytes);
        for (i, evil) in evils.iter().enumerate() {
            let response = client.read(evil.method);
            headers.extend(injected(&response));
            if let Some(why) = evil.judge(&response) {
                wrong.push(format!("{} {}: {why}", evil.method, evil.deed));
            }
            let second = client.read("POST");
            desynchronised += usize::from(second.status != 200 || second.body != own(i).as_bytes());
        }
    }
    for why in &wrong {
        println!("{why}");
    }
    let measured = json!({
        "pairs": pairs, "desynchronised": desynchronised, "injected_headers": headers.len(), "wrong_answers": wrong.len(),
    });
    let none = wrong.is_empty() && headers.is_empty() && desynchronised == 0;
    must("http.desync", "0 desynchronised, 0 injected headers, 0 wrong answers", measured, none);
}
