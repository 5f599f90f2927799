//! Answers that a processor streams: each piece comes as it is made, and each answer ends once, in one of the ways of
//! `docs/use/streaming.md`.

mod clients;
mod ends;
mod limits;
mod ways;

use serde_json::{Value, json};

use crate::host::{Deployed, TestHost};
use crate::http::{Client, Response, request};

const BUSY: &str = "bulkhead_workers_busy{service=\"faults\",instance=\"0\"}";

/// A host with the service `faults`, which has one worker and deadlines after the end of the test.
struct Scene {
    host: TestHost,
    service: Deployed,
}

impl Scene {
    fn set() -> Self {
        Self::with(json!({}))
    }

    fn with(sandbox: Value) -> Self {
        Self::on(TestHost::start(), sandbox)
    }

    fn on(host: TestHost, sandbox: Value) -> Self {
        let rpc = json!({"worker_threads": 1, "max_queue_size": 4, "keepalive": 60_000});
        let service = host.deploy("faults", "faults", json!({"metadata": {"rpc": rpc}, "sandbox": sandbox}));
        Self { host, service }
    }

    /// Asks for a stream; the answer is not read.
    fn ask(&self, deed: &Value) -> Client {
        let mut client = self.host.client();
        self.ask_on(&mut client, deed);
        client
    }

    fn ask_on(&self, client: &mut Client, deed: &Value) {
        let mut deed = deed.clone();
        deed["do"] = "stream".into();
        let headers = [("authorization", self.service.token.as_str()), ("accept-encoding", "gzip, zstd")];
        client.write(&request("POST", &self.service.path, &headers, deed.to_string().as_bytes()));
    }

    fn counted(&self, status: u16) -> u64 {
        self.host.metric(&format!("bulkhead_requests_total{{service=\"faults\",status=\"{status}\"}}"))
    }

    /// Waits for the first log line of a request that counted with this status.
    fn logged(&self, status: u16) -> String {
        let wanted = format!(" status={status} ");
        let find = || {
            self.host
                .log()
                .lines()
                .find(|line| line.contains(" INFO request ") && line.contains(&wanted))
                .map(str::to_owned)
        };
        self.host.wait_for(&format!("a line with{wanted}"), || find().is_some());
        find().unwrap()
    }

    /// Returns the number of calls of the guest that answers now, this one included.
    fn calls(&self) -> u64 {
        let answer = self.host.client().post(&self.service, br#"{"do":"flag"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["calls"].as_u64().unwrap()
    }

    fn wait_until_idle(&self) {
        self.host.wait_for("the worker to be free", || self.host.metric(BUSY) == 0);
    }
}

/// Checks the head of a streamed answer.
fn read_stream_head(client: &mut Client) -> Response {
    let head = client.read_head();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")), "{head:?}");
    assert_eq!((head.header("content-length"), head.header("content-encoding")), (None, None));
    head
}

/// Reads chunks to the end of an answer. Returns its body, and true if it is complete.
fn read_rest(client: &mut Client) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(chunk) = client.next_chunk() {
        if chunk.is_empty() {
            return (body, true);
        }
        body.extend(chunk);
    }
    (body, false)
}
