//! Hostile HTTP/1.x, row by row: the bytes sent, the expected answer, and the expected state of the connection.
//!
//! Every row is sent in three ways: whole, byte by byte, and in two pieces for every cut, because the result must not
//! depend on how bytes arrive. A further request, the probe, follows each row. It is answered if the connection stays
//! open, and never otherwise. The host must have counted exactly the intended requests.

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

/// Echo for all callers, with every method.
const OPEN: &str = "/api/predict/open";
/// Echo with a token that the test does not have.
const LOCKED: &str = "/api/predict/locked";
/// Echo with a body limit of 1000 bytes.
const SMALL: &str = "/api/predict/small";
/// Echo that allows only GET.
const GET_ONLY: &str = "/api/predict/get-only";

const PROBE: &[u8] = b"POST /api/predict/open HTTP/1.1\r\nhost: probe\r\ncontent-length: 9\r\n\r\nthe probe";

const PATIENCE: Duration = Duration::from_secs(10);

/// Rows longer than this are not sent byte by byte, and are cut in a few places only.
const SHORT: usize = 1500;

/// The ids of the rows and scenes that a release must get right.
const CORE: [&str; 24] = [
    "V1", "V4", "V7", "V12", "V13", "V15", "V20", "A1", "A3", "A5", "A7", "A9", "S1", "S3", "S5", "S7", "S9", "C1",
    "C7", "T2", "T3", "T8", "450", "429",
];

#[derive(Clone)]
struct Row {
    /// The group and number in the table of hostile inputs. Several rows may share it.
    id: &'static str,
    bytes: Vec<u8>,
    answers: Vec<Expected>,
    then: Then,
}

#[derive(Clone)]
enum Expected {
    /// A 200 with exactly this body.
    Echo(&'static [u8]),
    Refused(u16, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    Closes,
}

/// Makes a row that is refused, after which the connection is closed, because the start of the next request is
/// uncertain.
fn refused(id: &'static str, status: u16, code: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Refused(status, code)], then: Then::Closes }
}

/// Makes a row that is refused, after which the next request on the connection is answered.
fn turned_down(id: &'static str, status: u16, code: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Refused(status, code)], then: Then::GoesOn }
}

/// Makes a row whose service gets exactly `body`, after which the connection stays open.
fn understood(id: &'static str, body: &'static [u8], bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Echo(body)], then: Then::GoesOn }
}

/// Makes a row whose service gets exactly `body`, after which the connection is closed at the client's request.
fn understood_once(id: &'static str, body: &'static [u8], bytes: impl Into<Vec<u8>>) -> Row {
    Row { id, bytes: bytes.into(), answers: vec![Expected::Echo(body)], then: Then::Closes }
}

impl Row {
    fn text(&self) -> String {
        let text = self.bytes[..self.bytes.len().min(200)].escape_ascii();
        format!("{} {text}", self.id)
    }

    /// Returns the number of requests that the host counts for one sending of the row with its probe.
    fn requests(&self) -> u64 {
        self.answers.len() as u64 + u64::from(self.then == Then::GoesOn)
    }

    fn is_short(&self) -> bool {
        self.bytes.len() <= SHORT
    }

    fn with_probe(&self) -> Vec<u8> {
        [&self.bytes, PROBE].concat()
    }

    /// Returns the positions of the cuts: every position in a long run, otherwise a dozen that vary from row to row.
    fn cuts(&self) -> Vec<usize> {
        let len = self.bytes.len();
        let step = if is_long() && self.is_short() { 1 } else { (len / 12).max(1) };
        (1 + len % step..len).step_by(step).collect()
    }

    fn check(&self, client: &mut Client) {
        // Every row is answered at once; a missing answer must not delay the others for long.
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

    /// Sends the row whole, as often as the release gate requires.
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
            // All first pieces are sent before the first of the second pieces.
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

/// Starts a host with the services that the rows use.
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

/// Returns the number of requests that the host has counted, over all services.
fn accepted(host: &TestHost) -> u64 {
    let text = host.get_admin("/metrics").text();
    let counts = text.lines().filter(|line| line.starts_with("bulkhead_requests_accepted_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Sends a row in one form and checks the number of counted requests.
fn run(host: &TestHost, row: &Row, form: impl Fn(&Row, &TestHost) -> u64) -> Result<(), String> {
    let before = accepted(host);
    let times = attempt(|| form(row, host))?;
    let (counted, meant) = (accepted(host) - before, times * row.requests());
    if counted == meant { Ok(()) } else { Err(format!("{counted} requests were counted and {meant} were meant")) }
}

/// Turns a failed assertion into a line of the report, so that one wrong row does not hide the others.
fn attempt<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Plays the scenes on a few threads. Each has its own host, which compiles its guests, so more threads would only wait
/// for each other.
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

/// Regression test: the host waited for the chunk until the deadline.
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
