//! The account of one request: its facts, the times of its stages, and its end.
//!
//! Every request that begins here ends here, exactly once. It is settled with an answer. If it is dropped before that,
//! it is settled with 499 because the client left, or with 503 because the host ends. So the number of accepted
//! requests is always the sum of the outcomes.

use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Uri};

use super::dispatch::Input;
use super::owner::Owner;
use crate::call::{Batched, Call, Deadline, RequestId, Spent, Streaming, Upload};
use crate::gateway::{ForwardProgress, Upstream};
use crate::refusal::Refusal;
use crate::registry::{Account as ByVersion, Waited};
use crate::sandbox::Run;
use crate::telemetry::{Entry as LogEntry, LogWriter, ServiceMetrics, StreamFacts};

/// The log and the metrics in which requests are recorded.
pub(crate) struct Ledger {
    pub(crate) log: LogWriter,
    /// Metrics of the requests that named no existing service.
    pub(crate) nobody: Arc<ServiceMetrics>,
    /// Set once the host ends. A request dropped after that counts as 503, not 499.
    pub(crate) ending: AtomicBool,
}

/// The account of a request while it is being answered.
pub(crate) type Exchange<'a> = Account<&'a Ledger>;
/// The account of a request whose response outlives its handler.
pub(crate) type Detached = Account<Arc<Ledger>>;

/// The account of one request. Dropping an unsettled account settles it.
pub(crate) struct Account<L: Deref<Target = Ledger>> {
    ledger: L,
    entry: Entry,
    settled: bool,
}

/// The facts of one request.
struct Entry {
    request_id: RequestId,
    subject: Subject,
    owner: Option<Owner>,
    version: u64,
    /// The version's own counts of outcomes.
    by_version: Option<Arc<ByVersion>>,
    /// The progress of a forwarded request.
    progress: Option<Box<ForwardProgress>>,
    arrived: Instant,
    received: Option<Instant>,
    admitted: Option<Instant>,
    ended: Option<Instant>,
    bytes_in: usize,
    /// True from the start of the call until its result is recorded.
    running: bool,
    /// The facts of an answer that is streamed.
    stream: Option<StreamFacts>,
    fuel: Option<u64>,
    memory: usize,
    /// True for a copy of a request for another service.
    mirrored: bool,
    /// True for a HEAD request whose processor is called with GET.
    calls_with_get: bool,
}

/// The request as received, or the call that was made of it.
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

impl Entry {
    fn new(request_id: RequestId, method: Method, uri: Uri, arrived: Instant) -> Self {
        Self {
            request_id,
            subject: Subject::Request { method, uri },
            owner: None,
            version: 0,
            by_version: None,
            progress: None,
            arrived,
            received: None,
            admitted: None,
            ended: None,
            bytes_in: 0,
            running: false,
            stream: None,
            fuel: None,
            memory: 0,
            mirrored: false,
            calls_with_get: false,
        }
    }

    /// Returns the time at which the call began; for a forwarded request, the time at which it had a connection.
    fn began(&self) -> Option<Instant> {
        self.admitted.or_else(|| self.progress.as_ref()?.connected).or_else(|| Some(self.batch()?.began))
    }

    fn batch(&self) -> Option<Batched> {
        match &self.subject {
            Subject::Call(call) => call.spent.batch(),
            Subject::Request { .. } => None,
        }
    }

    fn upload(&self) -> Option<&Upload> {
        match &self.subject {
            Subject::Call(call) => call.upload.as_ref(),
            Subject::Request { .. } => None,
        }
    }

    fn bytes_in(&self) -> usize {
        self.upload().map_or(self.bytes_in, Upload::received)
    }

    fn received_at(&self) -> Option<Instant> {
        self.received.or_else(|| self.progress.as_ref()?.opened)
    }
}

/// The time that a request spent in each stage. For a request that has not ended, `end` is the moment at which these
/// times were computed, and its current stage lasts until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) end: Instant,
    pub(crate) receive: Duration,
    pub(crate) queue: Duration,
    pub(crate) run: Duration,
}

impl<'a> Exchange<'a> {
    pub(crate) fn begin(ledger: &'a Ledger, request_id: RequestId, method: Method, uri: Uri, arrived: Instant) -> Self {
        Self { ledger, entry: Entry::new(request_id, method, uri, arrived), settled: false }
    }

    /// Moves the account into a detached one. Facts recorded here afterwards are ignored.
    pub(crate) fn detach(&mut self, ledger: Arc<Ledger>) -> Detached {
        let settled = mem::replace(&mut self.settled, true);
        let left = Entry::new(self.entry.request_id, Method::default(), Uri::default(), self.entry.arrived);
        Account { ledger, entry: mem::replace(&mut self.entry, left), settled }
    }
}

impl<L: Deref<Target = Ledger>> Account<L> {
    /// Returns the method of the request. The call may have another one.
    pub(crate) fn method(&self) -> &Method {
        if self.entry.calls_with_get { &Method::HEAD } else { self.entry.subject.method() }
    }

    /// Makes the call of this HEAD request a GET.
    pub(crate) fn calls_with_get(&mut self) {
        self.entry.calls_with_get = true;
    }

    pub(crate) fn request_id(&self) -> RequestId {
        self.entry.request_id
    }

    pub(crate) fn uri(&self) -> &Uri {
        self.entry.subject.uri()
    }

    pub(crate) fn arrived(&self) -> Instant {
        self.entry.arrived
    }

    /// Assigns the request to a service or route, and counts it there.
    pub(crate) fn belongs_to(&mut self, owner: Owner) {
        owner.metrics().accepted();
        self.entry.owner = Some(owner);
    }

    /// Assigns the request to `service` as a copy of a request for another service.
    pub(crate) fn mirrors(&mut self, service: Arc<crate::registry::Service>) {
        self.entry.mirrored = true;
        service.metrics().mirrored();
        self.belongs_to(Owner::Service(service.into()));
    }

    /// Assigns an item of a queue to the service that processes it.
    pub(crate) fn processes(&mut self, service: Arc<crate::registry::Service>) {
        self.belongs_to(Owner::Service(service.into()));
    }

    /// Marks the request as forwarded, and returns its progress for recording.
    pub(crate) fn forwards(&mut self) -> &mut ForwardProgress {
        self.entry.progress.get_or_insert_default()
    }

    /// True if the client has more to send of a request that is forwarded, or that its guest reads as it arrives.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.entry.progress.as_ref().is_some_and(|progress| progress.is_unfinished())
            || self.entry.upload().is_some_and(Upload::is_unfinished)
    }

    pub(crate) fn answered_by(&mut self, version: u64, account: Option<Arc<ByVersion>>) {
        self.entry.version = version;
        self.entry.by_version = account;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.entry.bytes_in = bytes;
        self.entry.received = Some(Instant::now());
    }

    /// Records that the body is decoded. The time of decoding counts as receiving.
    pub(crate) fn unpacked(&mut self) {
        self.entry.received = Some(Instant::now());
    }

    /// Records when the call began. A call that did not wait began when its body was received, so the clock is not
    /// read. If the call still waits for a batch, the batch records the time later.
    pub(crate) fn admitted(&mut self, waited: Waited) -> Instant {
        let at = self.entry.received.filter(|_| waited == Waited::No).unwrap_or_else(Instant::now);
        self.entry.admitted = (waited != Waited::NotYet).then_some(at);
        at
    }

    /// Makes the call of this request, and marks it as running.
    pub(crate) fn runs(&mut self, input: Input, deadline: Instant) -> Arc<Call> {
        let Input { path_start, headers, body, upload, job } = input;
        let (method, uri) = match &mut self.entry.subject {
            Subject::Request { method, uri } => (mem::take(method), mem::take(uri)),
            Subject::Call(before) => (before.method.clone(), before.uri.clone()),
        };
        let method = if self.entry.calls_with_get { Method::GET } else { method };
        let call = Arc::new(Call {
            method,
            uri,
            path_start,
            headers,
            body,
            upload,
            request_id: self.entry.request_id,
            deadline: Deadline::new(deadline),
            spent: Spent::default(),
            streaming: Streaming::default(),
            job,
        });
        self.entry.subject = Subject::Call(Arc::clone(&call));
        self.entry.running = true;
        call
    }

    pub(crate) fn ran(&mut self, run: &Run) {
        self.entry.ended = Some(run.ended);
        self.entry.running = false;
        self.entry.fuel = run.fuel;
        self.entry.memory = run.memory;
    }

    /// Records that the head of a streamed answer is sent.
    pub(crate) fn streams(&mut self) {
        let head = self.entry.arrived.elapsed();
        self.entry.stream = Some(StreamFacts { head, chunks: 0, bytes: 0, is_cut: false });
        // The call lasts until the end of the stream.
        self.entry.ended = None;
    }

    /// Records a piece of a streamed answer.
    pub(crate) fn sent_piece(&mut self, bytes: usize) {
        if let Some(stream) = &mut self.entry.stream {
            stream.chunks += 1;
            stream.bytes += bytes;
        }
    }

    /// Returns the bytes of a streamed answer that were sent so far.
    pub(crate) fn streamed_bytes(&self) -> usize {
        self.entry.stream.map_or(0, |stream| stream.bytes)
    }

    /// Records that a streamed answer is cut off.
    pub(crate) fn cut_off(&mut self) {
        if let Some(stream) = &mut self.entry.stream {
            stream.is_cut = true;
        }
    }

    pub(crate) fn fuel(&self) -> Option<u64> {
        self.entry.fuel
    }

    pub(crate) fn times(&self) -> Times {
        let end = self.entry.ended.unwrap_or_else(Instant::now);
        let received = self.entry.received_at().unwrap_or(end);
        let admitted = self.entry.began().unwrap_or(end);
        Times { end, receive: received - self.entry.arrived, queue: admitted - received, run: end - admitted }
    }

    /// Settles the account: counts the request with this status, and logs it.
    pub(crate) fn settle(&mut self, times: Times, status: u16, code: &'static str, cause: &str, bytes_out: usize) {
        if mem::replace(&mut self.settled, true) {
            return;
        }
        if let (true, Subject::Call(stopped)) = (self.entry.running, &self.entry.subject) {
            (self.entry.fuel, self.entry.memory) = (stopped.spent.fuel(), stopped.spent.memory());
        }
        let metrics = match &self.entry.owner {
            Some(owner) => owner.metrics(),
            None => {
                self.ledger.nobody.accepted();
                &self.ledger.nobody
            }
        };
        if self.entry.received_at().is_some() {
            metrics.received(times.receive);
        }
        if self.entry.began().is_some() {
            metrics.queued(times.queue);
            metrics.ran(times.run, self.entry.fuel);
        }
        metrics.settled(status, (!code.is_empty()).then_some(code));
        if let Some(account) = &self.entry.by_version {
            account.ended(self.entry.version, status);
        }
        let progress = self.entry.progress.as_deref();
        self.ledger.log.request(&LogEntry {
            request_id: self.entry.request_id,
            service: self.entry.owner.as_ref().map_or("", Owner::name),
            version: self.entry.version,
            ended: times.end,
            method: self.method().as_str(),
            path: self.uri().path(),
            status,
            code,
            receive: times.receive,
            queue: times.queue,
            run: times.run,
            batch: self.entry.batch().map_or(0, |batch| batch.size),
            fuel: self.entry.fuel,
            memory: self.entry.memory,
            upstream: progress.and_then(|progress| progress.upstream.as_deref()).map_or("", Upstream::address),
            retries: progress.map_or(0, |progress| progress.retries),
            bytes_in: progress.map_or_else(|| self.entry.bytes_in(), ForwardProgress::bytes_in),
            bytes_out,
            stream: self.entry.stream,
            mirrored: self.entry.mirrored,
            cause,
        });
    }
}

impl<L: Deref<Target = Ledger>> Drop for Account<L> {
    fn drop(&mut self) {
        if !self.settled {
            let cut_off = self.ledger.ending.load(Ordering::Relaxed);
            let row = if cut_off { Refusal::Draining } else { Refusal::ClientClosed }.row();
            let mut cause = String::new();
            if cut_off && self.entry.stream.is_some() {
                self.cut_off();
                cause = format!("the host ends after {} bytes; the client was cut off", self.streamed_bytes());
            }
            self.settle(self.times(), row.status, row.code, &cause, self.streamed_bytes());
        }
    }
}
