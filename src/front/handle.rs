//! The steps of a request: route, authenticate, limit, receive, admit, run, render.
//!
//! `handle` gives the request its id, keeps its account, and turns every outcome into a reply. `answer` runs the steps.
//! Their order makes a refusal cheap: no body is read before the service is known to exist, the caller is known to be
//! allowed, and there is room for the call.

use std::any::Any;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::arrival::{Arrival, Ends};
use super::body::offload::Offload;
use super::body::packing::{Bounds, Packing};
use super::body::receive;
use super::head::{HeadFault, expects_continue, judge_forwarded};
use super::http1;
use super::mirror::Copied;
use super::queue::{Conversation, Entering};
use super::reply::compress::{Wanted, compress};
use super::reply::content::Content;
use super::reply::cors::CrossOrigin;
use super::reply::render;
use super::reply::{About, REQUEST_ID, Reply};
use super::route::{Route, target};
use super::rules::Rules;
use super::services::{Destination, Services};
use crate::auth::{Attempts, Caller};
use crate::call::{Answer, Body, Headers, RequestId, Upload};
use crate::config::Expose;
use crate::discovery::{self, Upstream};
use crate::failpoint;
use crate::gateway::{self, Inbound};
use crate::incoming::Incoming;
use crate::outcome::{Admitted, Exchange, Input, Ledger, Owner, Streamed, Times, stream};
use crate::policy::InFlight;
use crate::refusal::{Connection, Refusal};
use crate::registry::{Chosen, Mirror, NotAdmitted, ServiceState, State, Unresolved};
use crate::telemetry::ServiceMetrics;

/// The shared state that requests are handled with.
pub(super) struct Handler {
    pub(super) services: Services,
    pub(super) ledger: Arc<Ledger>,
    pub(super) attempts: Attempts,
    pub(super) offload: Offload,
    /// The address at which clients reach this host, if not the local one of their connections.
    pub(super) advertise: Option<SocketAddr>,
}

/// The client left in the middle of its request. The connection is closed without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client left")]
pub(crate) struct ClientGone;

/// Facts that `handle` needs even when `answer` fails.
pub(super) struct Found<'a> {
    /// The rules of the connection. They are set once the service is known.
    pub(super) rules: &'a Rules,
    pub(super) expose: Option<Expose>,
    pub(super) cors: Option<Box<CrossOrigin>>,
    /// The body, until a step takes it.
    pub(super) unread: Option<Incoming>,
    expects_continue: bool,
}

/// The outcome that a request counts with if its answer is sent completely.
#[derive(Clone, Copy)]
struct Ending {
    status: StatusCode,
    /// The code for every status but 200.
    code: &'static str,
}

/// An answer, by its source.
pub(super) enum Outcome {
    /// From a processor, or from the host itself.
    Answered(Box<Answer>, Option<InFlight>),
    /// The host's own answer to a preflight request.
    Preflight(Box<HeaderMap>),
    /// From a queue.
    Queue(Box<Answer>, Option<InFlight>),
    /// A conversation about a queue, which begins after the reply.
    Conversation(Box<Conversation>),
    /// From an upstream. The head has arrived.
    Forwarded(Box<gateway::Outbound>, InFlight),
}

impl http1::Service for Handler {
    type Reply = Box<Reply>;
    const REPLIES_EARLY: bool = true;

    fn answer(&self, arrival: Arrival, rules: &Rules) -> impl Future<Output = Result<Box<Reply>, ClientGone>> + Send {
        self.handle(arrival, rules)
    }
}

impl Found<'_> {
    /// Reads and discards the unread body; true if another request can follow on the connection.
    async fn discard(&mut self) -> bool {
        let Some(unread) = self.unread.take() else { return true };
        receive::discard(unread, self.expects_continue).await
    }
}

impl Handler {
    /// Answers a request; fails only if the client has left. `rules` belong to the connection: the service's values are
    /// set there as soon as the service is known.
    pub(super) async fn handle(&self, arrival: Arrival, rules: &Rules) -> Result<Box<Reply>, ClientGone> {
        let Arrival { method, uri, headers, body, fault, at, ends } = arrival;
        let given_id = headers.get(REQUEST_ID).and_then(|id| RequestId::from_caller(id.as_bytes()));
        let request_id = given_id.unwrap_or_else(RequestId::generate);
        let is_head = method == Method::HEAD;
        let mut exchange = Exchange::begin(&self.ledger, request_id, method, uri, at);

        let expects_continue = expects_continue(&headers);
        let mut found = Found { rules, expose: None, cors: None, unread: Some(body), expects_continue };
        let outcome = {
            let answering = pin!(self.answer(headers, fault, ends, &mut exchange, &mut found));
            caught(answering).await
        };
        let outcome = outcome.unwrap_or_else(|panic| Err(Refusal::Internal { cause: panic_message(&*panic) }));
        let times = exchange.times();
        let about = About { request_id, times, fuel: exchange.fuel(), expose: found.expose, cors: found.cors.take() };
        let reply = match outcome {
            Ok(Outcome::Forwarded(answer, entered)) => {
                let gateway::Outbound { parts, relay } = *answer;
                let ending = Ending { status: parts.status, code: "upstream_status" };
                let content = self.content(Body::Stream(stream(relay)), false, ending, times, exchange, Some(entered));
                render::forwarded(parts, content, about)
            }
            Ok(Outcome::Answered(answer, entered)) => {
                let Answer { status, content_type, mut headers, body } = *answer;
                if exchange.is_unfinished() {
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                let body = if is_bodiless(status) { Body::Whole(Bytes::new()) } else { body };
                let ending = Ending { status, code: "processor_status" };
                let content = self.content(body, is_head, ending, times, exchange, entered);
                render::answer(status, content_type, headers, content, about)
            }
            Ok(Outcome::Queue(answer, entered)) => {
                let Answer { status, content_type, headers, body } = *answer;
                let content =
                    self.content(body, is_head, Ending { status, code: "queue_empty" }, times, exchange, entered);
                render::answer(status, content_type, headers, content, about)
            }
            Ok(Outcome::Conversation(conversation)) => {
                let account = exchange.detach(Arc::clone(&self.ledger));
                render::conversation(conversation.headers(), conversation.begin(account), about)
            }
            Ok(Outcome::Preflight(headers)) => {
                let reply = render::preflight(*headers, about, found.discard().await);
                exchange.settle(times, reply.status.as_u16(), "", "", 0);
                reply
            }
            Err(refusal) => {
                let row = refusal.row();
                if matches!(refusal, Refusal::ClientClosed) {
                    exchange.settle(times, row.status, row.code, "", 0);
                    return Err(ClientGone);
                }
                let can_go_on = match found.unread {
                    Some(_) if row.connection == Connection::Keep => found.discard().await,
                    _ => !exchange.is_unfinished(),
                };
                let detail = refusal.detail();
                let reply = render::refusal(&refusal, &detail, about, can_go_on);
                exchange.settle(times, row.status, row.code, refusal.cause_or(&detail), reply.content.len());
                reply
            }
        };
        Ok(reply)
    }

    /// Makes the body of a reply. The account is settled when the body ends: here if it is whole, else by [`Streamed`].
    fn content(
        &self,
        body: Body,
        is_head: bool,
        ending: Ending,
        times: Times,
        mut exchange: Exchange<'_>,
        entered: Option<InFlight>,
    ) -> Content {
        let (status, code) = (ending.status.as_u16(), if ending.status == StatusCode::OK { "" } else { ending.code });
        match body {
            Body::Whole(bytes) => {
                exchange.settle(times, status, code, "", bytes.len());
                Content::Whole(bytes)
            }
            // The answer to HEAD has no body. Dropping the stream stops its guest.
            Body::Stream(_) if is_head => {
                exchange.settle(times, status, code, "", 0);
                Content::Unknown
            }
            Body::Stream(stream) => {
                let account = exchange.detach(Arc::clone(&self.ledger));
                Content::Stream(Box::new(Streamed::new(stream, status, code, account, entered)))
            }
        }
    }

    async fn answer(
        &self,
        headers: HeaderMap,
        fault: Option<HeadFault>,
        ends: Ends,
        exchange: &mut Exchange<'_>,
        found: &mut Found<'_>,
    ) -> Result<Outcome, Refusal> {
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        failpoint::reach("front.answer");
        let (name, path_start) = match Route::of(exchange.method(), exchange.uri())? {
            Route::Predict { service, path_start } => (service, path_start),
            Route::Upstreams { service } => {
                return self.upstreams(service, ends).map(|listing| Outcome::Answered(listing, None));
            }
        };
        let (service, state) = match self.services.find(name).map_err(|why| self.services.unresolved(why, name))? {
            Destination::Service(ServiceState { service, state }) => (service, state),
            Destination::Route(route) => {
                exchange.belongs_to(Owner::Route(route.clone()));
                // Boxed, so that the future of a request that is not forwarded reserves no memory for forwarding.
                return Box::pin(self.forward(&route, headers, ends.peer, exchange, found)).await;
            }
        };
        exchange.belongs_to(Owner::Service(service.clone()));
        if let (Some(spec), Some(registry)) = (state.asynchronous().cloned(), &self.services.local) {
            let (service, state, peer) = (&*service, &**state, ends.peer);
            let entering = Entering { registry, service, state, spec, path_start, headers, peer };
            // Boxed, so that the future of a call reserves no memory for the work on a queue.
            return Box::pin(self.queue(entering, exchange, found)).await;
        }
        let chosen = state.choose();
        let cors = chosen.as_ref().map_or_else(|_| state.cors(), |chosen| chosen.version.spec.sandbox().cors.as_ref());
        found.cors = cors.map(|rules| CrossOrigin::of(rules, &headers));
        if let Some(answer) = found.cors.as_ref().and_then(|cors| cors.preflight(exchange.method(), &headers)) {
            return Ok(Outcome::Preflight(Box::new(answer)));
        }
        let Chosen { version, account, mirror } = chosen.map_err(Refusal::from_phase)?;
        exchange.answered_by(version.number, account);
        let (rpc, sandbox) = (version.spec.rpc(), version.spec.sandbox());
        found.expose = Some(sandbox.expose);
        found.rules.set_half_close(sandbox.half_close);
        found.rules.set_accepted_bytes(sandbox.max_request_bytes);

        let caller = self.authenticate(&state, &headers, exchange.uri(), ends.peer)?;
        drop(state);
        if !sandbox.methods.accepts(exchange.method().as_str()) {
            return Err(Refusal::method_not_allowed(sandbox.methods));
        }
        let entered = version.enter()?;
        if version.is_full() {
            return Err(Refusal::not_admitted(NotAdmitted::QueueFull, rpc));
        }
        receive::check_declared(&headers, sandbox.max_request_bytes)?;
        let packing = Packing::of(&headers, rpc.decompressor)?;

        let deadline = exchange.arrived() + rpc.keepalive;
        let Some(incoming) = found.unread.take() else {
            return Err(Refusal::Internal { cause: "the body was taken already".into() });
        };
        // A signed or encoded body is checked before anybody sees it, and a mirrored one is sent twice.
        let is_upload = version.reads_uploads() && packing.is_none() && mirror.is_none();
        let (body, upload) = match incoming {
            arriving @ Incoming::Arriving(_) if is_upload => {
                (Bytes::new(), Some(Upload::new(arriving, sandbox.max_request_bytes)))
            }
            incoming => (receive::receive(incoming, sandbox.max_request_bytes, deadline, rpc.keepalive).await?, None),
        };
        exchange.received(body.len());
        let mut headers = Headers::from(headers);
        let body = match packing {
            None => body,
            Some(packing) => {
                let bounds = Bounds { bytes: sandbox.max_request_bytes, deadline, keepalive: rpc.keepalive };
                let body = Box::pin(packing.undo(body, caller.has_signed(), bounds, &mut headers, &self.offload)).await;
                exchange.unpacked();
                body?
            }
        };

        let admitted = Admitted::wait(&version, deadline, exchange).await?;
        if !caller.is_anybody() {
            headers.withhold_authorization();
        }
        let wanted = Wanted::of(headers.received(), sandbox.compress_responses);
        let input = Input { path_start, headers, body, upload, job: None };
        if let Some(mirror) = mirror {
            self.copy(&mirror, service.metrics(), &input, exchange);
        }
        let mut answer = admitted.run(input, exchange).await?;
        compress(&mut answer, wanted, deadline, &self.offload).await;
        Ok(Outcome::Answered(answer, Some(entered)))
    }

    /// Sends a copy of the request to the mirror, if this request is to be copied and there is room for the copy.
    fn copy(&self, mirror: &Mirror, source: &Arc<ServiceMetrics>, input: &Input, exchange: &Exchange<'_>) {
        let Some(registry) = &self.services.local else { return };
        let Some(place) = mirror.place(source) else { return };
        let (method, uri) = (exchange.method().clone(), exchange.uri().clone());
        let copied = Copied { request_id: exchange.request_id(), method, uri, input: input.clone() };
        let (registry, ledger) = (Arc::clone(registry), Arc::clone(&self.ledger));
        copied.send(mirror.target.clone(), place, registry, ledger, Arc::clone(source));
    }

    /// Forwards the request to an upstream, which authenticates, limits and answers it.
    async fn forward(
        &self,
        route: &gateway::Route,
        headers: HeaderMap,
        peer: IpAddr,
        exchange: &mut Exchange<'_>,
        found: &mut Found<'_>,
    ) -> Result<Outcome, Refusal> {
        found.rules.set_half_close(route.half_close());
        judge_forwarded(exchange.method(), target(exchange.uri()), &headers)?;
        let entered = route.enter()?;
        let inbound = Inbound {
            method: exchange.method().clone(),
            target: exchange.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers,
            body: &mut found.unread,
            peer,
            request_id: exchange.request_id(),
        };
        match route.forward(inbound, exchange.forwards()).await {
            Ok(answer) => Ok(Outcome::Forwarded(Box::new(answer), entered)),
            Err(failure) => Err(Refusal::not_forwarded(failure, route.explain(failure))),
        }
    }

    /// Lists the addresses of a service or a group, without authentication. All instances of a local service share one
    /// address, and SDKs identify an upstream by its address, so it is listed once, with the weight of all instances. A
    /// service that does not run has no address.
    fn upstreams(&self, name: &str, ends: Ends) -> Result<Box<Answer>, Refusal> {
        let address = self.advertise.unwrap_or(ends.local);
        let here = |instances: usize| Upstream {
            address,
            weight: discovery::WEIGHT.saturating_mul(u32::try_from(instances).unwrap_or(u32::MAX)),
        };
        let listed: Vec<Upstream> = match self.services.find(name) {
            Ok(Destination::Service(ServiceState { state, .. })) => {
                // A canary's instances take a share of the same requests, so they are not added to those of the current
                // version.
                let instances = state
                    .phase
                    .serving()
                    .and_then(|serving| serving.versions().map(|version| version.spec.instances()).max());
                instances.map(here).into_iter().collect()
            }
            Ok(Destination::Route(route)) => match route.addresses() {
                Some(addresses) => {
                    addresses.into_iter().map(|address| Upstream { address, weight: discovery::WEIGHT }).collect()
                }
                // A name may mean other hosts to the client than to us.
                None => vec![here(1)],
            },
            Err(Unresolved::Starting | Unresolved::NobodyRuns) => Vec::new(),
            Err(why @ Unresolved::Unknown) => return Err(self.services.unresolved(why, name)),
        };
        Ok(Box::new(Answer {
            status: StatusCode::OK,
            content_type: Some(HeaderValue::from_static("application/json")),
            headers: HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]),
            body: Body::Whole(discovery::listing(name, &listed).to_string().into()),
        }))
    }

    pub(super) fn authenticate(
        &self,
        state: &State,
        headers: &HeaderMap,
        uri: &Uri,
        peer: IpAddr,
    ) -> Result<Caller, Refusal> {
        let authenticated =
            self.attempts.bound(peer, state.token_strength(), || state.authenticate(headers, target(uri)));
        authenticated.map_err(Refusal::from)
    }
}

/// True for a status whose answer has no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Turns a panic inside `future` into a value, so that a bug of the host costs one request.
async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Box<dyn Any + Send>> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the host panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_ours_is_a_value_with_its_message() {
        let panic = caught(pin!(async { panic!("what {}", "a pity") })).await.map(|(): ()| {}).unwrap_err();
        assert_eq!(panic_message(&*panic), "the host panicked: what a pity");
        let empty: Vec<u8> = Vec::new();
        let late = pin!(async {
            tokio::task::yield_now().await;
            empty[0]
        });
        assert!(panic_message(&*caught(late).await.unwrap_err()).contains("index out of bounds"));
        assert_eq!(caught(pin!(async { 7 })).await.ok(), Some(7));
        let refusal = Refusal::Internal { cause: String::new() };
        assert_eq!((refusal.row().status, refusal.row().connection), (500, Connection::Keep));
    }
}
