//! The last fault of an instance: the reason why it lost its latest guest.
//!
//! Every reason is in the log as well, once. A guest's own fault is logged by the sandbox, which knows its stack, and a
//! client that left has its 499. The others, where the host ended a call, are logged here. Of those there is no stack:
//! the guest was between two slices, and is dropped there.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::call::RequestId;
use crate::sandbox::{Failed, InitializeError};
use crate::telemetry::ServiceMetrics;

/// The loss of a guest, or the failure to make one.
#[derive(Clone, Debug)]
pub struct LastFault {
    pub at: SystemTime,
    /// Short and stable: the `fault` label of `bulkhead_instance_restarts_total`, or `initialize`.
    pub kind: &'static str,
    /// One sentence.
    pub error: String,
    /// The request that the guest was answering, or one of them where it answered a batch.
    pub request_id: RequestId,
}

/// The last fault of one instance, if there has been one.
pub(super) struct Faults {
    service: String,
    version: u64,
    last: Mutex<Option<LastFault>>,
}

impl Faults {
    pub(super) fn of(service: String, version: u64) -> Self {
        Self { service, version, last: Mutex::default() }
    }

    pub(super) fn last(&self) -> Option<LastFault> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, request_id: RequestId, loss: Loss) {
        let Loss { kind, error, .. } = loss;
        let fault = LastFault { at: SystemTime::now(), kind, error: error.into_owned(), request_id };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Logs that the host stopped a guest which was at work since `began`.
    fn log(&self, request_id: RequestId, loss: &Loss, began: Instant) {
        let (service, version, fault) = (self.service.as_str(), self.version, loss.kind);
        let request_id = request_id.as_str();
        let run_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(target: "processor", service, version, request_id, fault, run_ms, "the guest was stopped: {}", loss.error);
    }
}

/// The cause of a guest's loss: its label in metrics, and a sentence.
pub(super) struct Loss {
    kind: &'static str,
    error: Cow<'static, str>,
    /// The host ended the call by a rule of its own, so nobody else logs it.
    is_the_hosts: bool,
}

impl Loss {
    pub(super) const CLIENT_CLOSED: Self =
        Self::new("client_closed", Cow::Borrowed("the client closed the connection"));
    pub(super) const DEADLINE_EXCEEDED: Self = Self {
        kind: "deadline_exceeded",
        error: Cow::Borrowed("the request was not answered in time (metadata.rpc.keepalive)"),
        is_the_hosts: true,
    };
    pub(super) const GRACE_OVER: Self = Self {
        kind: "grace_over",
        error: Cow::Borrowed("another version took over, and the grace of this one is over"),
        is_the_hosts: true,
    };

    const fn new(kind: &'static str, error: Cow<'static, str>) -> Self {
        Self { kind, error, is_the_hosts: false }
    }

    pub(super) fn of(failed: &Failed) -> Self {
        Self::new(failed.fault.kind(), failed.fault.to_string().into())
    }

    /// No guest could be made for the request.
    pub(super) fn initialize(error: &InitializeError) -> Self {
        Self::new("initialize", error.to_string().into())
    }
}

/// Counts and records the loss of a call's guest, also if the call's future is dropped.
pub(super) struct Interrupted<'a> {
    pub(super) metrics: &'a ServiceMetrics,
    pub(super) faults: &'a Faults,
    /// The request that is being answered, or the first of a batch.
    pub(super) request_id: RequestId,
    began: Instant,
    /// `None` if the guest is intact, or its loss has been recorded elsewhere.
    pub(super) loss: Option<Loss>,
}

impl<'a> Interrupted<'a> {
    /// Begins a call. If its future is dropped, the client has left.
    pub(super) fn new(metrics: &'a ServiceMetrics, faults: &'a Faults, request_id: RequestId, began: Instant) -> Self {
        Self { metrics, faults, request_id, began, loss: Some(Loss::CLIENT_CLOSED) }
    }

    /// Records that no guest could be made, so none was lost.
    pub(super) fn never_began(&mut self, error: &InitializeError) {
        self.loss = None;
        self.metrics.initialize_failed();
        self.faults.note(self.request_id, Loss::initialize(error));
    }
}

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        if let Some(loss) = self.loss.take() {
            self.metrics.restarted(loss.kind);
            if loss.is_the_hosts {
                self.faults.log(self.request_id, &loss, self.began);
            }
            self.faults.note(self.request_id, loss);
        }
    }
}
