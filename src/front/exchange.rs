//! The account of one request: what it was, when what happened, and how it ended.
//!
//! Every request that begins here ends here, exactly once: settled with an answer, or, if it is dropped before, with 499
//! because the client left, or with 503 because the host did. So what was accepted is always the sum of the outcomes.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use super::refusal::Refusal;
use crate::call::{Batched, Call, RequestId, Spent};
use crate::registry::{Account, Service};
use crate::sandbox::Run;
use crate::telemetry::{Entry, LogWriter, ServiceMetrics};

/// What the front counts and logs with.
pub(super) struct Ledger {
    pub(super) log: LogWriter,
    /// Requests that named no service that exists.
    pub(super) nobody: Arc<ServiceMetrics>,
    /// The host is ending: what is dropped from here on is its own doing.
    pub(super) ending: AtomicBool,
}

pub(super) struct Exchange<'a> {
    ledger: &'a Ledger,
    pub(super) request_id: RequestId,
    subject: Subject,
    service: Option<Arc<Service>>,
    version: u64,
    /// Where the outcome is noted by version, too.
    by_version: Option<Arc<Account>>,
    arrived: Instant,
    received: Option<Instant>,
    admitted: Option<Instant>,
    ended: Option<Instant>,
    bytes_in: usize,
    /// The call has begun and has not come to an end of its own.
    running: bool,
    fuel: Option<u64>,
    memory: usize,
    settled: bool,
}

/// What is asked for: of the host, and from some point on of a processor.
enum Subject {
    Request { method: Method, uri: Uri },
    Call(Arc<Call>),
}

impl Subject {
    fn method(&self) -> &Method {
        match self {
            Self::Request { method, .. } => method,
            Self::Call(call) => &call.method,
        }
    }

    fn uri(&self) -> &Uri {
        match self {
            Self::Request { uri, .. } => uri,
            Self::Call(call) => &call.uri,
        }
    }
}

/// How long each stage took; the last one reached runs until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) end: Instant,
    pub(super) receive: Duration,
    pub(super) queue: Duration,
    pub(super) run: Duration,
}

impl<'a> Exchange<'a> {
    pub(super) fn begin(ledger: &'a Ledger, request_id: RequestId, method: Method, uri: Uri, arrived: Instant) -> Self {
        Self {
            ledger,
            request_id,
            subject: Subject::Request { method, uri },
            service: None,
            version: 0,
            by_version: None,
            arrived,
            received: None,
            admitted: None,
            ended: None,
            bytes_in: 0,
            running: false,
            fuel: None,
            memory: 0,
            settled: false,
        }
    }

    pub(super) fn method(&self) -> &Method {
        self.subject.method()
    }

    pub(super) fn uri(&self) -> &Uri {
        self.subject.uri()
    }

    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The request is for this service: from here on it is in its account.
    pub(super) fn belongs_to(&mut self, service: Arc<Service>) {
        service.metrics().accepted();
        self.service = Some(service);
    }

    pub(super) fn answered_by(&mut self, version: u64, account: Option<Arc<Account>>) {
        self.version = version;
        self.by_version = account;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes_in = bytes;
        self.received = Some(Instant::now());
    }

    /// The body is what the processor is to see: to unpack it was a part of receiving it.
    pub(super) fn unpacked(&mut self) {
        self.received = Some(Instant::now());
    }

    /// A worker is there; since when. One that was idle costs no look at the clock. Where the call is still to wait for a
    /// batch, it is known only afterwards whether `waited`.
    pub(super) fn admitted(&mut self, waited: Option<bool>) -> Instant {
        let at = self.received.filter(|_| waited == Some(false)).unwrap_or_else(Instant::now);
        self.admitted = waited.map(|_| at);
        at
    }

    /// When the call began, if it has.
    fn began(&self) -> Option<Instant> {
        self.admitted.or_else(|| Some(self.batch()?.began))
    }

    fn batch(&self) -> Option<Batched> {
        match &self.subject {
            Subject::Call(call) => call.spent.batch(),
            Subject::Request { .. } => None,
        }
    }

    /// The request becomes a call, and the call begins.
    pub(super) fn runs(&mut self, path_start: usize, headers: HeaderMap, body: Bytes, deadline: Instant) -> Arc<Call> {
        let (method, uri) = match &mut self.subject {
            Subject::Request { method, uri } => (mem::take(method), mem::take(uri)),
            Subject::Call(before) => (before.method.clone(), before.uri.clone()),
        };
        let (request_id, spent) = (self.request_id, Spent::default());
        let call = Arc::new(Call { method, uri, path_start, headers, body, request_id, deadline, spent });
        self.subject = Subject::Call(Arc::clone(&call));
        self.running = true;
        call
    }

    pub(super) fn ran(&mut self, run: &Run) {
        self.ended = Some(run.ended);
        self.running = false;
        self.fuel = run.fuel;
        self.memory = run.memory;
    }

    pub(super) fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    pub(super) fn times(&self) -> Times {
        let end = self.ended.unwrap_or_else(Instant::now);
        let received = self.received.unwrap_or(end);
        let admitted = self.began().unwrap_or(end);
        Times { end, receive: received - self.arrived, queue: admitted - received, run: end - admitted }
    }

    /// The request has ended with this status.
    pub(super) fn settle(&mut self, times: Times, status: u16, code: &'static str, cause: &str, bytes_out: usize) {
        if mem::replace(&mut self.settled, true) {
            return;
        }
        if let (true, Subject::Call(stopped)) = (self.running, &self.subject) {
            (self.fuel, self.memory) = (stopped.spent.fuel(), stopped.spent.memory());
        }
        let metrics = match &self.service {
            Some(service) => service.metrics(),
            None => {
                self.ledger.nobody.accepted();
                &self.ledger.nobody
            }
        };
        if self.received.is_some() {
            metrics.received(times.receive);
        }
        if self.began().is_some() {
            metrics.queued(times.queue);
            metrics.ran(times.run, self.fuel);
        }
        metrics.settled(status, (!code.is_empty()).then_some(code));
        if let Some(account) = &self.by_version {
            account.ended(self.version, status);
        }
        self.ledger.log.request(&Entry {
            request_id: self.request_id,
            service: self.service.as_deref().map_or("", Service::name),
            version: self.version,
            ended: times.end,
            method: self.method().as_str(),
            path: self.uri().path(),
            status,
            code,
            receive: times.receive,
            queue: times.queue,
            run: times.run,
            batch: self.batch().map_or(0, |batch| batch.size),
            fuel: self.fuel,
            memory: self.memory,
            bytes_in: self.bytes_in,
            bytes_out,
            cause,
        });
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let cut_off = self.ledger.ending.load(Ordering::Relaxed);
            let row = if cut_off { Refusal::Draining } else { Refusal::ClientClosed }.row();
            self.settle(self.times(), row.status, row.code, "", 0);
        }
    }
}
