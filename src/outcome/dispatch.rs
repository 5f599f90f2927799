//! The steps of a call from admission to its outcome, the same for a request and for a mirrored copy.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::account::{Account, Ledger};
use crate::call::{Answer, Headers, Job, Upload};
use crate::refusal::Refusal;
use crate::registry::{Ran, Ticket, Version};

/// The parts of a call that the account does not have: it has the method and the URI.
#[derive(Clone)]
pub(crate) struct Input {
    /// The offset in the URI's path of the part after the service's name.
    pub(crate) path_start: usize,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// The body of a call that runs before the body has arrived.
    pub(crate) upload: Option<Upload>,
    /// The item of a queue that the call works on.
    pub(crate) job: Option<Arc<dyn Job>>,
}

/// A call that has a worker and has not begun.
pub(crate) struct Admitted<'a> {
    version: &'a Version,
    ticket: Ticket,
    deadline: Instant,
    began: Instant,
}

/// Waits for a worker and runs the call. The account records both.
///
/// # Errors
/// The refusal, if no worker is free in time or the processor fails.
pub(crate) async fn dispatch<L: Deref<Target = Ledger>>(
    version: &Version,
    deadline: Instant,
    input: Input,
    account: &mut Account<L>,
) -> Result<Box<Answer>, Refusal> {
    Admitted::wait(version, deadline, account).await?.run(input, account).await
}

impl<'a> Admitted<'a> {
    /// Waits in the queue for a worker.
    pub(crate) async fn wait<L: Deref<Target = Ledger>>(
        version: &'a Version,
        deadline: Instant,
        account: &mut Account<L>,
    ) -> Result<Self, Refusal> {
        let admitted = version.admit(deadline).await;
        let ticket = admitted.map_err(|why| Refusal::not_admitted(why, version.spec.rpc()))?;
        let began = account.admitted(ticket.waited());
        Ok(Self { version, ticket, deadline, began })
    }

    /// Runs the call. Dropping the future stops the guest.
    pub(crate) async fn run<L: Deref<Target = Ledger>>(
        self,
        input: Input,
        account: &mut Account<L>,
    ) -> Result<Box<Answer>, Refusal> {
        let Self { version, ticket, deadline, began } = self;
        let (rpc, sandbox) = (version.spec.rpc(), version.spec.sandbox());
        if sandbox.methods.takes_for_get(account.method().as_str()) {
            account.calls_with_get();
        }
        let upload = input.upload.clone();
        let call = account.runs(input, deadline);
        let run = version.run(ticket, call, began).await;
        match run.map_err(|stopped| Refusal::stopped(&stopped, rpc.keepalive))? {
            Ran::Ended(run) => {
                account.ran(&run);
                // A guest that fails because its request breaks off is not at fault.
                let broken = upload.and_then(|upload| upload.fault());
                run.result.map_err(|failed| broken.map_or_else(|| Refusal::failed(*failed, sandbox), Refusal::from))
            }
            Ran::Streaming(answer) => Ok(answer),
        }
    }
}
