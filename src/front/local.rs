//! The front's checks for a call without a network, so that `bulkhead test` gives the same statuses as a host.

use std::time::Duration;

use super::head::{HeadFault, judge_method};
use super::target::MAX_TARGET;
use crate::config;
use crate::refusal::{Reached, Refusal};
use crate::sandbox::Failed;

/// A refusal: its status, its code and its sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        let row = refusal.row();
        Self { status: row.status, code: row.code, detail: refusal.detail().into_owned() }
    }
}

/// Checks a request as a host does before it runs the processor, in the same order.
pub(crate) fn judge(method: &str, target: &str, body: usize, sandbox: &config::Sandbox) -> Result<(), Verdict> {
    judge_method(method.as_bytes()).map_err(Refusal::from)?;
    if target.len() > MAX_TARGET {
        return Err(Refusal::from(HeadFault::TargetTooLong).into());
    }
    if !sandbox.methods.accepts(method) {
        return Err(Refusal::method_not_allowed(sandbox.methods).into());
    }
    if body > sandbox.max_request_bytes {
        return Err(Refusal::BodyTooLarge { limit: sandbox.max_request_bytes }.into());
    }
    Ok(())
}

/// Returns the refusal for a processor's fault.
pub(crate) fn failed(failed: Failed, sandbox: &config::Sandbox) -> Verdict {
    Refusal::failed(failed, sandbox).into()
}

/// Returns the refusal for a call that took longer than its service's `keepalive`.
pub(crate) fn overdue(keepalive: Duration) -> Verdict {
    Refusal::DeadlineExceeded { limit: keepalive, reached: Reached::Run }.into()
}
