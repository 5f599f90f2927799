//! Hostile HTTP/1.x, row by row: what is sent, what is answered, and whether the connection goes on.
//!
//! Every row is sent three times over: whole, byte by byte, and in two pieces for every cut, since the host must judge
//! the same however bytes arrive. A further request, the probe, stands right behind each: where the connection goes on
//! it is answered, where it does not it never is, and the host has counted exactly the requests that were meant.

mod chunks;
mod framing;
mod headers;
mod mutations;
mod request_line;
mod scenes;
mod timing;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use self::timing::Leave;
use self::timing::Scene;
use crate::figures::{is_long, must, rounds};
use crate::host::TestHost;
use crate::http::Client;

/// Echo, open to all, with every method.
const OPEN: &str = "/api/predict/open";
/// Echo with a token that nobody here has.
const LOCKED: &str = "/api/predict/locked";
/// Echo that takes 1000 bytes.
const SMALL: &str = "/api/predict/small";
/// Echo that answers GET alone.
const GET_ONLY: &str = "/api/predict/get-only";

const PROBE: &[u8] = b"POST /api/predict/open HTTP/1.1\r\nhost: probe\r\ncontent-length: 9\r\n\r\nthe probe";

const PATIENCE: Duration = Duration::from_secs(10);

/// Rows longer than this are not sent byte by byte, and are cut in a few places only.
const SHORT: usize = 1500;

/// The rows that a release must have right, each by its one status, and beside them 450 and 429.
const CORE: [&str; 24] = [
    "V1", "V4", "V7", "V12", "V13", "V15", "V20", "A1", "A3", "A5", "A7", "A9", "S1", "S3", "S5", "S7", "S9", "C1",
    "C7", "T2", "T3", "T8", "450", "429",
];

#[derive(Clone)]
struct Row {
    /// The group and number in the table of hostile inputs; several rows may share it.
    id: &'static str,
    bytes: Vec<u8>,
    answers: Vec<Expected>,
    then: Then,
}

#[derive(Clone)]
enum Expected {
    /// 200 with exactly this body.
    Echo(&'static [u8]),
    Refused(u16, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    Closes,
}

/// Refused, and the connection ends: where the next request begins is in doubt.
fn refused(id: &'static str, status: u16, code: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Refused(status, code)], then: Then::Closes }
}

/// Refused, and the next request on the connection is answered.
fn turned_down(id: &'static str, status: u16, code: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Refused(status, code)], then: Then::GoesOn }
}

/// Understood: the service got exactly `body`, and the connection goes on.
fn understood(id: &'static str, body: &'static [u8], bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Echo(body)], then: Then::GoesOn }
}

/// The same, and the connection ends because the client has asked for that.
fn understood_once(id: &'static str, body: &'static [u8], bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Echo(body)], then: Then::Closes }
}

impl Row {
    fn text(&self) -> String {
        let text = self.bytes[..self.bytes.len().min(200)].escape_ascii();
        format!("{} {text}", self.id)
    }

    /// What the host counts for one sending of the row with its probe.
    fn requests(&self) -> u64 {
        self.answers.len() as u64 + u64::from(self.then == Then::GoesOn)
    }

    fn is_short(&self) -> bool {
        self.bytes.len() <= SHORT
    }

    fn with_probe(&self) -> Vec<u8> {
        [&self.bytes, PROBE].concat()
    }

    /// Where the row is cut in two: everywhere in a long run, else in a dozen places that move from row to row.
    fn cuts(&self) -> Vec<usize> {
        let len = self.bytes.len();
        let step = if is_long() && self.is_short() { 1 } else { (len / 12).max(1) };
        (1 + len % step..len).step_by(step).collect()
    }

    fn check(&self, client: &mut Client) {
        // Every row is answered at once; one that is not must not hold up the others for long.
        client.hurry(PATIENCE);
        let method = if self.bytes.starts_with(b"HEAD ") { "HEAD" } else { "POST" };
        for expected in &self.answers {
            let mut response = client.read(method);
            while response.status == 100 {
                response = client.read(method);
            }
            match expected {
                Expected::Echo(body) => {
                    assert_eq!((response.status, response.body.as_slice()), (200, *body), "{response:?}");
                }
                Expected::Refused(status, _) if method == "HEAD" => assert_eq!(response.status, *status),
                Expected::Refused(status, code) => drop(response.assert_problem(*status, code)),
            }
            if matches!(expected, Expected::Refused(405, _)) {
                assert!(response.header("allow").is_some(), "{response:?}");
            }
        }
        match self.then {
            Then::GoesOn => {
                let probe = client.read("POST");
                assert_eq!((probe.status, probe.body.as_slice()), (200, b"the probe".as_slice()), "{probe:?}");
            }
            Then::Closes => assert!(client.is_closed(), "more was answered than was asked"),
        }
    }

    /// As often as the release gate asks for where it asks.
    fn whole(&self, host: &TestHost) -> u64 {
        let times = if CORE.contains(&self.id) { rounds(3, 100) } else { 1 };
        for _ in 0..times {
            let mut client = host.client();
            client.try_write(&self.with_probe());
            self.check(&mut client);
        }
        times as u64
    }

    fn byte_by_byte(&self, host: &TestHost) -> u64 {
        let mut client = host.client();
        for byte in self.with_probe() {
            client.try_write(&[byte]);
        }
        self.check(&mut client);
        1
    }

    fn in_two(&self, host: &TestHost) -> u64 {
        let cuts = self.cuts();
        let bytes = self.with_probe();
        for some in cuts.chunks(200) {
            // All first pieces are on their way before the first of the second pieces follows.
            let mut clients: Vec<Client> = some.iter().map(|_| host.client()).collect();
            for (client, cut) in clients.iter_mut().zip(some) {
                client.try_write(&bytes[..*cut]);
            }
            for (client, cut) in clients.iter_mut().zip(some) {
                client.try_write(&bytes[*cut..]);
                self.check(client);
            }
        }
        cuts.len() as u64
    }
}

/// A host with the services that the rows are about.
fn host() -> TestHost {
    let host = TestHost::start();
    let methods = json!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
    host.deploy("open", "echo", json!({"generate_token": false, "sandbox": {"methods": methods}}));
    host.deploy("locked", "echo", json!({}));
    let small = json!({"methods": methods, "max_request_bytes": 1000});
    host.deploy("small", "echo", json!({"generate_token": false, "sandbox": small}));
    host.deploy("get-only", "echo", json!({"generate_token": false, "sandbox": {"methods": ["GET"]}}));
    host
}

/// How many requests the host has counted, for whatever service.
fn accepted(host: &TestHost) -> u64 {
    let text = host.get_admin("/metrics").text();
    let counts = text.lines().filter(|line| line.starts_with("bulkhead_requests_accepted_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Sends a row in one form and compares what was counted.
fn run(host: &TestHost, row: &Row, form: impl Fn(&Row, &TestHost) -> u64) -> Result<(), String> {
    let before = accepted(host);
    let times = attempt(|| form(row, host))?;
    let (counted, meant) = (accepted(host) - before, times * row.requests());
    if counted == meant { Ok(()) } else { Err(format!("{counted} requests were counted and {meant} were meant")) }
}

/// What an assertion says becomes a line of the report, so that one wrong row does not hide the others.
fn attempt<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Each scene has a host of its own, which compiles its guests; more than a few at once only wait for each other.
fn play(scenes: &[Scene]) -> Vec<(&'static str, String)> {
    let next = AtomicUsize::new(0);
    let play = || {
        let mut wrong = Vec::new();
        while let Some((id, scene)) = scenes.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(attempt(scene).err().map(|why| (*id, format!("{id}: {why}"))));
        }
        wrong
    };
    std::thread::scope(|scope| {
        let players = [(); 3].map(|()| scope.spawn(play));
        players.into_iter().flat_map(|player| player.join().expect("panics are caught")).collect()
    })
}

#[test]
fn every_row_is_answered_as_the_table_says_however_its_bytes_arrive() {
    let host = host();
    let rows = [request_line::rows(), headers::rows(), framing::rows(), chunks::rows()].concat();
    let mut wrong: Vec<(&str, String)> = Vec::new();
    let mut count = rows.len();
    for row in &rows {
        let mut outcomes = vec![("whole", run(&host, row, Row::whole)), ("in two", run(&host, row, Row::in_two))];
        if row.is_short() {
            outcomes.push(("byte by byte", run(&host, row, Row::byte_by_byte)));
        }
        let failures = outcomes.into_iter().filter_map(|(form, outcome)| Some((form, outcome.err()?)));
        wrong.extend(failures.map(|(form, why)| (row.id, format!("{}, {form}: {why}", row.text()))));
    }
    drop(host);
    let scenes = [timing::scenes(), scenes::scenes()].concat();
    count += scenes.len();
    wrong.extend(play(&scenes));
    for (_, why) in &wrong {
        println!("{why}");
    }
    let ids = |wanted: &dyn Fn(&str) -> bool| -> usize {
        let all: BTreeSet<&str> = rows.iter().map(|row| row.id).chain(scenes.iter().map(|(id, _)| *id)).collect();
        all.into_iter().filter(|id| wanted(id)).count()
    };
    let is_right = |id: &str| wrong.iter().all(|(of, _)| *of != id);
    let core = ids(&|id| CORE.contains(&id) && is_right(id));
    let wrong_rows: BTreeSet<&String> = wrong.iter().map(|(_, why)| why).collect();
    let measured: Value = json!({"rows": count, "wrong": wrong_rows.len(), "ids": ids(&|_| true)});
    must("http.core24", "24 of 24", core, core == CORE.len());
    must("http.rows", "0 wrong", measured, wrong.is_empty());
}

/// It was waited for until the deadline.
#[test]
fn a_chunk_that_says_it_is_too_large_is_refused_at_once() {
    let host = TestHost::start();
    let keys = json!({"sandbox": {"max_request_bytes": 1000}, "metadata": {"rpc": {"keepalive": 60_000}}});
    let echo = host.deploy("echo", "echo", keys);
    for begun in ["3e9\r\n", "3e9;x\r\nabc", "1\r\na\r\n3e8\r\n", "ffffffffffffffff\r\nabc"] {
        let mut client = host.client();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n{begun}",
            echo.path, echo.token
        );
        client.write(head.as_bytes());
        assert_eq!(client.read("POST").status, 413, "{begun:?}");
    }
}
