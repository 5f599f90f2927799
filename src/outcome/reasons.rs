//! The refusals for errors of the registry and the gateway: a service that does not run, a call that gets no worker, an
//! upstream that fails. The table of refusals is in `refusal`, which knows neither.

use std::time::Duration;

use crate::config;
use crate::gateway::{CutOff, Failure, Reset};
use crate::refusal::{Looked, Reached, Refusal};
use crate::registry::{NotAdmitted, Phase, Stopped, Unresolved};

impl Refusal {
    /// Returns the refusal of an existing service in this phase.
    pub(crate) fn from_phase(phase: &Phase) -> Self {
        match phase {
            Phase::Starting | Phase::Running(_) => Self::NotReady,
            Phase::Stopped => Self::NoHealthyUpstream { detail: "no healthy upstream: the service is stopped".into() },
            Phase::Failed(_) => {
                Self::NoHealthyUpstream { detail: "no healthy upstream: the service could not be brought up".into() }
            }
        }
    }

    /// Returns the refusal for a name that leads to no service.
    pub(crate) fn unresolved(why: Unresolved, name: &str, looked: Looked) -> Self {
        match why {
            Unresolved::Unknown => Self::ServiceNotFound { name: name.to_owned(), looked },
            Unresolved::Starting => Self::NotReady,
            Unresolved::NobodyRuns => Self::NoHealthyUpstream {
                detail: "no healthy upstream: no member of the group runs and takes requests".into(),
            },
        }
    }

    /// Returns the refusal for a call that gets no worker.
    pub(crate) fn not_admitted(why: NotAdmitted, rpc: &config::Rpc) -> Self {
        match why {
            NotAdmitted::QueueFull => Self::QueueFull { max_queue: rpc.max_queue_size },
            NotAdmitted::NoWorker => Self::no_worker(),
            NotAdmitted::Blocked => Self::NoHealthyUpstream {
                detail: "no healthy upstream: every guest of the service has crashed and is not replaced \
                         (runtime.enable_crash_block); the service's owner must restart it"
                    .into(),
            },
            NotAdmitted::Overdue => Self::DeadlineExceeded { limit: rpc.keepalive, reached: Reached::Queue },
            NotAdmitted::Retired => Self::Retired,
        }
    }

    fn no_worker() -> Self {
        Self::NoHealthyUpstream {
            detail: "no healthy upstream: the service's guests fail to start again; its owner can see why".into(),
        }
    }

    pub(crate) fn stopped(stopped: &Stopped, limit: Duration) -> Self {
        match stopped {
            Stopped::Retired => Self::Retired,
            Stopped::ClientClosed => Self::ClientClosed,
            Stopped::NoWorker => Self::no_worker(),
            Stopped::Overdue => Self::DeadlineExceeded { limit, reached: Reached::Run },
            Stopped::NoGuest(error) => Self::Internal { cause: error.to_string() },
        }
    }
}

impl From<CutOff> for Refusal {
    fn from(why: CutOff) -> Self {
        match why {
            CutOff::ClientGone => Self::ClientClosed,
            CutOff::Broken | CutOff::Silent => Self::BadGateway { detail: why.to_string() },
        }
    }
}

impl Refusal {
    /// Returns the refusal for a route whose cluster has not answered; `detail` is its text.
    pub(crate) fn not_forwarded(failure: Failure, detail: String) -> Self {
        match failure {
            Failure::NoHealthyUpstream => Self::NoHealthyUpstream { detail },
            Failure::Reset { reason: Reset::ProtocolError, .. } | Failure::Circle => Self::BadGateway { detail },
            Failure::Reset {
                reason:
                    Reset::ConnectionFailure | Reset::ConnectionTimeout | Reset::ConnectionTermination | Reset::Overflow,
                ..
            } => Self::UpstreamFailed { detail },
            Failure::TimedOut => Self::GatewayTimeout { detail },
            Failure::Stalled => Self::Stalled { detail },
            Failure::Request(broken) => broken.into(),
        }
    }
}
