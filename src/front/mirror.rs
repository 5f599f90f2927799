//! Copies of requests, sent to another service in the background. A request never waits for its copy.
//!
//! A copy counts as a request of the service that receives it, with that service's outcome, and is marked as a copy in
//! log and metrics. It is never copied again, whatever the receiving service mirrors, so copies cannot go in circles.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Uri};
use tokio::sync::OwnedSemaphorePermit;

use crate::call::{Answer, Cut, RequestId};
use crate::outcome::{Exchange, Input, Ledger, dispatch};
use crate::refusal::Refusal;
use crate::registry::{Chosen, Registry, Version};
use crate::telemetry::ServiceMetrics;

/// A copy of a request as its processor sees it. The body is shared, not copied.
pub(super) struct Copied {
    pub(super) request_id: RequestId,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) input: Input,
}

impl Copied {
    /// Sends the copy in a task of its own. `source` counts it as sent, or as dropped if the target does not run or has
    /// no room.
    pub(super) fn send(
        self,
        target: Box<str>,
        place: OwnedSemaphorePermit,
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
        source: Arc<ServiceMetrics>,
    ) {
        tokio::spawn(async move {
            let _place = place;
            let found = registry.find(&target).and_then(|service| Some((service.look().choose().ok()?, service)));
            let Some((Chosen { version, account, .. }, service)) =
                found.filter(|(chosen, _)| !chosen.version.is_full())
            else {
                return source.mirror_dropped();
            };
            let (request_id, method, uri) = (self.request_id, self.method, self.uri);
            let mut exchange = Exchange::begin(&ledger, request_id, method, uri, Instant::now());
            source.mirror_sent();
            exchange.mirrors(service);
            exchange.answered_by(version.number, account);
            exchange.received(self.input.body.len());
            match answer(&version, &mut exchange, self.input).await {
                Ok((status, size)) => {
                    let code = if status == 200 { "" } else { "processor_status" };
                    exchange.settle(exchange.times(), status, code, "", size);
                }
                Err(Cut { status, code, cause }) => exchange.settle(exchange.times(), status, code, &cause, 0),
            }
        });
    }
}

/// Runs the call and reads its answer to the end; returns the status and the size.
async fn answer(version: &Version, exchange: &mut Exchange<'_>, input: Input) -> Result<(u16, usize), Cut> {
    let _entered = version.enter().map_err(|limited| Refusal::from(limited).cut())?;
    let answer = call(version, exchange, input).await.map_err(|refusal| refusal.cut())?;
    let status = answer.status.as_u16();
    Ok((status, answer.body.read(0).await?.length))
}

/// Runs the steps that a copy still needs. The original request was authenticated and received already.
async fn call(version: &Version, exchange: &mut Exchange<'_>, input: Input) -> Result<Box<Answer>, Refusal> {
    let (rpc, sandbox) = (version.spec.rpc(), version.spec.sandbox());
    if !sandbox.methods.accepts(exchange.method().as_str()) {
        return Err(Refusal::method_not_allowed(sandbox.methods));
    }
    if input.body.len() > sandbox.max_request_bytes {
        return Err(Refusal::BodyTooLarge { limit: sandbox.max_request_bytes });
    }
    let deadline = exchange.arrived() + rpc.keepalive;
    dispatch(version, deadline, input, exchange).await
}
