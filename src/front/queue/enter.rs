//! The steps of a request to a queue before its operation: they are those of a call, but no version needs to run.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use super::{Asked, QueueAnswer};
use crate::call::Body;
use crate::config::ServiceSpec;
use crate::front::handle::{Found, Handler, Outcome};
use crate::front::reply::cors::CrossOrigin;
use crate::outcome::Exchange;
use crate::refusal::Refusal;
use crate::registry::{Registry, Service, State};

/// A request to a queue, with its service.
pub(in crate::front) struct Entering<'a> {
    pub(in crate::front) registry: &'a Arc<Registry>,
    pub(in crate::front) service: &'a Service,
    pub(in crate::front) state: &'a State,
    pub(in crate::front) spec: Arc<ServiceSpec>,
    pub(in crate::front) path_start: usize,
    pub(in crate::front) headers: HeaderMap,
    pub(in crate::front) peer: IpAddr,
}

impl Handler {
    /// Answers a request to a queue of an asynchronous service.
    pub(in crate::front) async fn queue(
        &self,
        entering: Entering<'_>,
        exchange: &mut Exchange<'_>,
        found: &mut Found<'_>,
    ) -> Result<Outcome, Refusal> {
        let Entering { registry, service, state, spec, path_start, headers, peer } = entering;
        found.cors = state.cors().map(|rules| CrossOrigin::of(rules, &headers));
        if let Some(answer) = found.cors.as_ref().and_then(|cors| cors.preflight(exchange.method(), &headers)) {
            return Ok(Outcome::Preflight(Box::new(answer)));
        }
        let (sandbox, settings) = (spec.sandbox(), spec.queue());
        found.expose = Some(sandbox.expose);
        found.rules.set_half_close(sandbox.half_close);
        found.rules.set_accepted_bytes(settings.map_or(0, |settings| settings.max_payload_bytes));
        let caller = self.authenticate(state, &headers, exchange.uri(), peer)?;
        // The limits belong to the running version. A stopped service has none to protect.
        let entered = match state.choose() {
            Ok(chosen) => Some(chosen.version.enter()?),
            Err(_) => None,
        };
        let asked = Asked {
            service: service.name(),
            spec,
            queues: registry.queues().clone(),
            headers,
            path_start,
            hides_authorization: !caller.is_anybody(),
            has_signed: caller.has_signed(),
            body: &mut found.unread,
            offload: &self.offload,
        };
        Ok(match asked.answer(exchange).await? {
            // A watch may last for days, so it does not count as a running request of the version.
            QueueAnswer::Answer(answer) => {
                let entered = entered.filter(|_| matches!(answer.body, Body::Whole(_)));
                Outcome::Queue(answer, entered)
            }
            QueueAnswer::Conversation(conversation) => Outcome::Conversation(conversation),
        })
    }
}
