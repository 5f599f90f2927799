//! The last fault of an instance: the reason why it lost its latest guest.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

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
#[derive(Default)]
pub(super) struct Faults(Mutex<Option<LastFault>>);

impl Faults {
    pub(super) fn last(&self) -> Option<LastFault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, request_id: RequestId, loss: Loss) {
        let Loss { kind, error } = loss;
        let fault = LastFault { at: SystemTime::now(), kind, error: error.into_owned(), request_id };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

/// The cause of a guest's loss: its label in metrics, and a sentence.
pub(super) struct Loss {
    kind: &'static str,
    error: Cow<'static, str>,
}

impl Loss {
    pub(super) const CLIENT_CLOSED: Self =
        Self { kind: "client_closed", error: Cow::Borrowed("the client closed the connection") };
    pub(super) const DEADLINE_EXCEEDED: Self = Self {
        kind: "deadline_exceeded",
        error: Cow::Borrowed("the request was not answered in time (metadata.rpc.keepalive)"),
    };
    pub(super) const GRACE_OVER: Self = Self {
        kind: "grace_over",
        error: Cow::Borrowed("another version took over, and the grace of this one is over"),
    };

    pub(super) fn of(failed: &Failed) -> Self {
        Self { kind: failed.fault.kind(), error: failed.fault.to_string().into() }
    }

    /// No guest could be made for the request.
    pub(super) fn initialize(error: &InitializeError) -> Self {
        Self { kind: "initialize", error: error.to_string().into() }
    }
}

/// Counts and records the loss of a call's guest, also if the call's future is dropped.
pub(super) struct Interrupted<'a> {
    pub(super) metrics: &'a ServiceMetrics,
    pub(super) faults: &'a Faults,
    /// The request that is being answered, or the first of a batch.
    pub(super) request_id: RequestId,
    /// `None` if the guest is intact, or its loss has been recorded elsewhere.
    pub(super) loss: Option<Loss>,
}

impl<'a> Interrupted<'a> {
    /// Begins a call. If its future is dropped, the client has left.
    pub(super) fn new(metrics: &'a ServiceMetrics, faults: &'a Faults, request_id: RequestId) -> Self {
        Self { metrics, faults, request_id, loss: Some(Loss::CLIENT_CLOSED) }
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
            self.faults.note(self.request_id, loss);
        }
    }
}
