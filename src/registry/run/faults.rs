//! The last fault of an instance: the reason why it lost its latest guest.
//!
//! Every loss is also in the log, once. The sandbox logs a guest's own fault, because it has the stack. A client that
//! left is logged with its 499. A call that the host ended is logged here. It has no stack, because the guest was
//! dropped between two slices.

#[cfg(test)]
pub(in crate::registry) mod labels;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::grace::Grace;
use super::ticket::Stopped;
use crate::call::RequestId;
use crate::sandbox::{Failed, InitializeError, Run};
use crate::telemetry::ServiceMetrics;

/// The loss of a guest, or the failure to create one.
#[derive(Clone, Debug)]
pub struct LastFault {
    pub at: SystemTime,
    /// Short and stable: the `fault` label of `bulkhead_instance_restarts_total`, or `initialize`.
    pub kind: &'static str,
    /// One sentence.
    pub error: String,
    /// The request that the guest was answering, or one of its batch.
    pub request_id: RequestId,
}

/// The guests that one instance lost. All losses are counted, and the last one is kept.
pub(in crate::registry) struct Faults {
    service: String,
    version: u64,
    metrics: Arc<ServiceMetrics>,
    grace: Arc<Grace>,
    last: Mutex<Option<LastFault>>,
}

impl Faults {
    pub(in crate::registry) fn of(
        service: String,
        version: u64,
        metrics: Arc<ServiceMetrics>,
        grace: Arc<Grace>,
    ) -> Self {
        Self { service, version, metrics, grace, last: Mutex::default() }
    }

    pub(in crate::registry) fn last(&self) -> Option<LastFault> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::registry) fn note(&self, request_id: RequestId, loss: Loss) {
        let Loss { kind, error, .. } = loss;
        let fault = LastFault { at: SystemTime::now(), kind, error: error.into_owned(), request_id };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Logs that the host stopped a guest that had worked since `began`.
    fn log(&self, request_id: RequestId, loss: &Loss, began: Instant) {
        let (service, version, fault) = (self.service.as_str(), self.version, loss.kind);
        let request_id = request_id.as_str();
        let run_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(target: "processor", service, version, request_id, fault, run_ms, "the guest was stopped: {}", loss.error);
    }
}

/// The cause of a guest's loss: its label in metrics, and a sentence.
pub(in crate::registry) struct Loss {
    kind: &'static str,
    error: Cow<'static, str>,
    /// True if the host ended the call by a rule of its own. No other module logs such a loss.
    is_the_hosts: bool,
}

impl Loss {
    const CLIENT_CLOSED: Self = Self::new("client_closed", Cow::Borrowed("the client closed the connection"));
    const DEADLINE_EXCEEDED: Self = Self {
        kind: "deadline_exceeded",
        error: Cow::Borrowed(
            "the call was not answered in time (metadata.rpc.keepalive; sandbox.stream_idle_ms and \
             sandbox.stream_total_ms of a streamed answer; queue.timeout_ms of queued work)",
        ),
        is_the_hosts: true,
    };
    const GRACE_OVER: Self = Self {
        kind: "grace_over",
        error: Cow::Borrowed("another version took over, and the grace period of this one is over"),
        is_the_hosts: true,
    };

    const fn new(kind: &'static str, error: Cow<'static, str>) -> Self {
        Self { kind, error, is_the_hosts: false }
    }

    pub(in crate::registry) fn of(failed: &Failed) -> Self {
        Self::new(failed.fault.kind(), failed.fault.to_string().into())
    }

    /// Returns the loss with which a call ended, if its guest is no longer intact.
    pub(in crate::registry) fn of_run(run: &Run) -> Option<Self> {
        if run.left_the_guest_whole() {
            return None;
        }
        run.result.as_ref().err().map(|failed| Self::of(failed))
    }

    /// Returns the loss of a request for which no guest could be created.
    fn initialize(error: &InitializeError) -> Self {
        Self::new("initialize", error.to_string().into())
    }

    /// Returns the loss of a call whose caller no longer waits.
    fn abandoned(is_overdue: bool, is_grace_over: bool) -> Self {
        match (is_overdue, is_grace_over) {
            (true, _) => Self::DEADLINE_EXCEEDED,
            (false, true) => Self::GRACE_OVER,
            (false, false) => Self::CLIENT_CLOSED,
        }
    }
}

/// A guest at work on a call or a batch. Its loss is always counted and recorded, also if the future of the work is
/// dropped.
pub(in crate::registry) struct AtWork<F: Deref<Target = Faults>> {
    faults: F,
    /// The request that the guest is answering, or the first of its batch.
    request_id: RequestId,
    began: Instant,
    /// The time after which no caller waits for the answer.
    deadline: Instant,
    has_ended: bool,
}

impl<F: Deref<Target = Faults>> AtWork<F> {
    pub(in crate::registry) fn begin(faults: F, request_id: RequestId, began: Instant, deadline: Instant) -> Self {
        Self { faults, request_id, began, deadline, has_ended: false }
    }

    /// Moves the record of this work to a task that may outlive its borrow.
    pub(in crate::registry) fn detach(mut self, faults: Arc<Faults>) -> AtWork<Arc<Faults>> {
        self.has_ended = true;
        AtWork::begin(faults, self.request_id, self.began, self.deadline)
    }

    /// Records the outcome of one call. `keeps_crashed` means that a crashed guest is kept and not replaced: its loss is
    /// recorded, and not counted as a restart.
    pub(in crate::registry) fn end_call(self, keeps_crashed: bool, outcome: &Result<Run, Stopped>) {
        match outcome {
            Ok(Run { result: Err(failed), .. }) if keeps_crashed && failed.fault.is_crash() => {
                self.faults.note(self.request_id, Loss::of(failed));
                self.end(Ok(None));
            }
            outcome => self.end(outcome.as_ref().map(Loss::of_run)),
        }
    }

    /// Records the outcome: the guest is intact, lost to its own fault, stopped, or could not be created.
    pub(in crate::registry) fn end(mut self, outcome: Result<Option<Loss>, &Stopped>) {
        self.has_ended = true;
        match outcome {
            Ok(None) | Err(Stopped::NoWorker) => {}
            Ok(Some(loss)) => self.lose(loss),
            Err(Stopped::Overdue) => self.lose(Loss::DEADLINE_EXCEEDED),
            Err(Stopped::Retired) => self.lose(Loss::GRACE_OVER),
            Err(Stopped::ClientClosed) => self.lose(Loss::CLIENT_CLOSED),
            Err(Stopped::NoGuest(error)) => {
                self.faults.metrics.initialize_failed();
                self.faults.note(self.request_id, Loss::initialize(error));
            }
        }
    }

    fn lose(&self, loss: Loss) {
        self.faults.metrics.restarted(loss.kind);
        if loss.is_the_hosts {
            self.faults.log(self.request_id, &loss, self.began);
        }
        self.faults.note(self.request_id, loss);
    }
}

impl<F: Deref<Target = Faults>> Drop for AtWork<F> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.lose(Loss::abandoned(Instant::now() >= self.deadline, self.faults.grace.is_over()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::config::ServiceFile;

    fn faults(grace: u64) -> Faults {
        let file = json!({
            "name": "a", "processor_path": "a.wasm", "token": "t",
            "metadata": {"rpc.keepalive": 20_000, "eas.termination_grace_period": grace},
        });
        let grace = Arc::new(Grace::of(ServiceFile::from_value(&file).unwrap().spec()));
        Faults::of("a".into(), 1, Arc::default(), grace)
    }

    /// Drops unfinished work that has this deadline, and returns the kind of the loss that is recorded.
    fn abandoned(faults: &Faults, deadline: Instant) -> &'static str {
        drop(AtWork::begin(faults, RequestId::generate(), Instant::now(), deadline));
        faults.last().unwrap().kind
    }

    /// At its deadline a request of a batch is ended by the task that wakes first: the work itself, or the wait for it,
    /// which drops the work.
    #[tokio::test(start_paused = true)]
    async fn work_that_nobody_waits_for_was_given_up_by_the_deadline_the_grace_or_the_client() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let faults = faults(1);
        assert_eq!(abandoned(&faults, later), "client_closed");
        assert_eq!(abandoned(&faults, now), "deadline_exceeded");
        faults.grace.begin();
        assert_eq!(faults.grace.within(Box::pin(std::future::pending::<()>())).await, None);
        assert_eq!(abandoned(&faults, later), "grace_over");
        assert_eq!(abandoned(&faults, now), "deadline_exceeded");
    }

    #[test]
    fn an_outcome_is_recorded_as_what_it_is() {
        let faults = faults(0);
        let later = Instant::now() + Duration::from_secs(60);
        let end = |outcome: Result<Option<Loss>, &Stopped>| {
            AtWork::begin(&faults, RequestId::generate(), Instant::now(), later).end(outcome);
            faults.last().map(|fault| fault.kind)
        };
        assert_eq!(end(Ok(None)), None);
        assert_eq!(end(Err(&Stopped::NoWorker)), None);
        assert_eq!(end(Err(&Stopped::Overdue)), Some("deadline_exceeded"));
        assert_eq!(end(Err(&Stopped::Retired)), Some("grace_over"));
        let no_guest = Stopped::NoGuest(InitializeError::Host("out of luck".into()));
        assert_eq!(end(Err(&no_guest)), Some("initialize"));
        assert_eq!(end(Ok(Some(Loss::CLIENT_CLOSED))), Some("client_closed"));
    }
}
