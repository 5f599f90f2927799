//! The account of one request: what it was, when what happened, and how it ended.
//!
//! Every request that begins here ends here, exactly once: settled with an answer, or, if it is dropped before, with 499
//! because the client left, or with 503 because the host did. So what was accepted is always the sum of the outcomes.

use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Uri};

use super::refusal::Refusal;
use super::services::Owner;
use crate::call::{Batched, Call, Headers, RequestId, Spent};
use crate::gateway::{Trip, Upstream};
use crate::registry::Account as ByVersion;
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

/// The account of a request in the hands of the line.
pub(super) type Exchange<'a> = Account<&'a Ledger>;
/// The account of a request whose answer outlives the line.
pub(super) type Detached = Account<Arc<Ledger>>;

pub(super) struct Account<L: Deref<Target = Ledger>> {
    ledger: L,
    pub(super) request_id: RequestId,
    subject: Subject,
    owner: Option<Owner>,
    version: u64,
    /// Where the outcome is noted by version, too.
    by_version: Option<Arc<ByVersion>>,
    /// How far it has come on its way to an upstream, where it is forwarded.
    trip: Option<Box<Trip>>,
    arrived: Instant,
    received: Option<Instant>,
    admitted: Option<Instant>,
    ended: Option<Instant>,
    bytes_in: usize,
    /// The call has begun and has not come to an end of its own.
    running: bool,
    fuel: Option<u64>,
    memory: usize,
    /// It is a copy of a request for another service.
    mirrored: bool,
    /// It is a HEAD request, and its processor is called with GET.
    calls_with_get: bool,
    settled: bool,
}

/// What is asked for: of the host, and from some point on of a processor.
enum Subject {
    Request { method: Method, uri: Uri },
    Call(Arc<Call>),
}

impl Default for Subject {
    fn default() -> Self {
        Self::Request { method: Method::default(), uri: Uri::default() }
    }
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
            owner: None,
            version: 0,
            by_version: None,
            trip: None,
            arrived,
            received: None,
            admitted: None,
            ended: None,
            bytes_in: 0,
            running: false,
            fuel: None,
            memory: 0,
            mirrored: false,
            calls_with_get: false,
            settled: false,
        }
    }

    /// The account goes on elsewhere; nothing that happens here counts any more.
    pub(super) fn detach(&mut self, ledger: Arc<Ledger>) -> Detached {
        let settled = mem::replace(&mut self.settled, true);
        Account {
            ledger,
            request_id: self.request_id,
            subject: mem::take(&mut self.subject),
            owner: self.owner.take(),
            version: self.version,
            by_version: self.by_version.take(),
            trip: self.trip.take(),
            arrived: self.arrived,
            received: self.received,
            admitted: self.admitted,
            ended: self.ended,
            bytes_in: self.bytes_in,
            running: self.running,
            fuel: self.fuel,
            memory: self.memory,
            mirrored: self.mirrored,
            calls_with_get: self.calls_with_get,
            settled,
        }
    }
}

impl<L: Deref<Target = Ledger>> Account<L> {
    /// The method of the request. The processor may be called with another one.
    pub(super) fn method(&self) -> &Method {
        if self.calls_with_get { &Method::HEAD } else { self.subject.method() }
    }

    /// Makes this HEAD request call its processor with GET.
    pub(super) fn calls_with_get(&mut self) {
        self.calls_with_get = true;
    }

    pub(super) fn uri(&self) -> &Uri {
        self.subject.uri()
    }

    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The request is for this service or route: from here on it is in its account.
    pub(super) fn belongs_to(&mut self, owner: Owner) {
        owner.metrics().accepted();
        self.owner = Some(owner);
    }

    /// The request is a copy of one for another service: it is in this one's account, and marked.
    pub(super) fn mirrors(&mut self, service: Arc<crate::registry::Service>) {
        self.mirrored = true;
        service.metrics().mirrored();
        self.belongs_to(Owner::Service(service.into()));
    }

    /// The request goes to an upstream; how far it comes is noted here.
    pub(super) fn forwards(&mut self) -> &mut Trip {
        self.trip.get_or_insert_default()
    }

    /// Whether the client has more of a forwarded request to send.
    pub(super) fn is_unfinished(&self) -> bool {
        self.trip.as_ref().is_some_and(|trip| trip.is_unfinished())
    }

    pub(super) fn answered_by(&mut self, version: u64, account: Option<Arc<ByVersion>>) {
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

    /// When the call began, if it has; of a forwarded request, when it had a connection.
    fn began(&self) -> Option<Instant> {
        self.admitted.or_else(|| self.trip.as_ref()?.connected).or_else(|| Some(self.batch()?.began))
    }

    fn batch(&self) -> Option<Batched> {
        match &self.subject {
            Subject::Call(call) => call.spent.batch(),
            Subject::Request { .. } => None,
        }
    }

    /// The request becomes a call, and the call begins.
    pub(super) fn runs(&mut self, path_start: usize, headers: Headers, body: Bytes, deadline: Instant) -> Arc<Call> {
        let (method, uri) = match &mut self.subject {
            Subject::Request { method, uri } => (mem::take(method), mem::take(uri)),
            Subject::Call(before) => (before.method.clone(), before.uri.clone()),
        };
        let method = if self.calls_with_get { Method::GET } else { method };
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
        let received = self.received_at().unwrap_or(end);
        let admitted = self.began().unwrap_or(end);
        Times { end, receive: received - self.arrived, queue: admitted - received, run: end - admitted }
    }

    fn received_at(&self) -> Option<Instant> {
        self.received.or_else(|| self.trip.as_ref()?.opened)
    }

    /// The request has ended with this status.
    pub(super) fn settle(&mut self, times: Times, status: u16, code: &'static str, cause: &str, bytes_out: usize) {
        if mem::replace(&mut self.settled, true) {
            return;
        }
        if let (true, Subject::Call(stopped)) = (self.running, &self.subject) {
            (self.fuel, self.memory) = (stopped.spent.fuel(), stopped.spent.memory());
        }
        let metrics = match &self.owner {
            Some(owner) => owner.metrics(),
            None => {
                self.ledger.nobody.accepted();
                &self.ledger.nobody
            }
        };
        if self.received_at().is_some() {
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
        let trip = self.trip.as_deref();
        self.ledger.log.request(&Entry {
            request_id: self.request_id,
            service: self.owner.as_ref().map_or("", Owner::name),
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
            upstream: trip.and_then(|trip| trip.upstream.as_deref()).map_or("", Upstream::address),
            retries: trip.map_or(0, |trip| trip.retries),
            bytes_in: trip.map_or(self.bytes_in, Trip::bytes_in),
            bytes_out,
            mirrored: self.mirrored,
            cause,
        });
    }
}

impl<L: Deref<Target = Ledger>> Drop for Account<L> {
    fn drop(&mut self) {
        if !self.settled {
            let cut_off = self.ledger.ending.load(Ordering::Relaxed);
            let row = if cut_off { Refusal::Draining } else { Refusal::ClientClosed }.row();
            self.settle(self.times(), row.status, row.code, "", 0);
        }
    }
}
