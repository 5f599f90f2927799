//! The processing of one item.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::Shared;
use super::callback::{Callbacks, Finished};
use super::job::Delivered;
use super::service::HOLD;
use crate::call::{Answer, Cut, Headers, Job, RequestId};
use crate::config::Queue;
use crate::outcome::{Exchange, Input, dispatch};
use crate::queue::{
    Attendance, Delivery, Holder, Item, NewItem, Outcome, QueueError, QueueName, Reason, Running, Tags,
};
use crate::refusal::Refusal;
use crate::registry::{Chosen, Service};

/// The beginning of the path of a call.
const PREDICT: &str = "/api/predict/";
/// The pause before an item is given back because no worker was there.
const WITHOUT_WORKER: Duration = Duration::from_secs(1);

/// The parts that the processing of an item needs.
pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) service: Arc<Service>,
    pub(super) attendance: Arc<Attendance>,
    pub(super) settings: Queue,
    pub(super) callbacks: Arc<Callbacks>,
}

/// The end of a call for an item.
enum End {
    /// The result for the sink; `None` if there is nothing to put there.
    Finished(Option<NewItem>),
    Failed(Reason),
    GivenBack,
    /// Another consumer has the item.
    Lost,
}

impl Task {
    /// Has the processor work on an item, and settles the item.
    pub(super) async fn work(mut self, input: QueueName, sink: QueueName, delivery: Delivery) {
        let (index, lease) = (delivery.item.index, delivery.lease);
        let queues = self.shared.registry.queues().clone();
        let put_at_ms = delivery.item.put_at_ms;
        let request_id = delivery.item.tags.request_id().unwrap_or_default().to_owned();
        let running = queues.runs.begin(&input, index, &delivery.item.tags);
        let end = self.end(&input, delivery, &running).await;
        let mut finished = None;
        let outcome = match end {
            End::Finished(result) => {
                let service = self.service.name();
                // Another queue of this name has other times.
                let id = format!("{service}-{index}-{put_at_ms}");
                finished = Some(webhook(id, service, index, &request_id, result.as_ref()));
                Outcome::Done { result: result.map(|result| Box::new((sink, result))) }
            }
            End::Failed(reason) => Outcome::Failed(reason),
            End::GivenBack => Outcome::Returned,
            End::Lost => {
                tracing::warn!(queue = input.as_str(), index, request_id, "the lease of an item was lost");
                return self.attendance.seat().finished(index);
            }
        };
        match queues.store.settle(&input, index, Holder::Lease(lease), outcome).await {
            Ok(_) => {
                finished.into_iter().for_each(|finished| self.callbacks.send(finished));
            }
            Err(QueueError::LeaseLost { .. } | QueueError::NoQueue(_)) => {}
            Err(why) => {
                let error = why.to_string();
                tracing::warn!(queue = input.as_str(), index, request_id, error, "an item could not be settled");
            }
        }
        self.attendance.seat().finished(index);
    }

    /// Runs the call until it ends, is cancelled, loses its item, or the host ends.
    async fn end(&mut self, input: &QueueName, delivery: Delivery, running: &Running) -> End {
        let Delivery { item, lease, count, partial } = delivery;
        let mut item = item;
        // A caller's own tags of these names would pass for the end of the call.
        for name in [Tags::LAST_CODE, Tags::LAST_ERROR] {
            item.tags.remove(name);
        }
        let (index, tags) = (item.index, item.tags.clone());
        let store = Arc::clone(&self.shared.registry.queues().store);
        let mut ending = self.shared.clone();
        let run = Arc::clone(running.run());
        let job = Delivered { store: Arc::clone(&store), queue: input.clone(), index, lease, count, partial, run };
        let call = self.call(item, Arc::new(job));
        let kept = async {
            let mut renewal = tokio::time::interval(HOLD / 3);
            renewal.tick().await;
            loop {
                renewal.tick().await;
                let lost = store.renew(input, vec![(index, Holder::Lease(lease))], HOLD).await;
                // If the storage has failed, the settlement finds out what became of the lease.
                if lost.is_ok_and(|lost| !lost.is_empty()) {
                    return;
                }
            }
        };
        tokio::select! {
            end = call => end,
            () = kept => End::Lost,
            () = running.cancelled() => {
                let text = "the item was cancelled";
                End::Finished(Some(refused(tags, 499, "cancelled", text)))
            }
            () = ending.ended() => End::GivenBack,
        }
    }

    async fn call(&self, item: Item, job: Arc<dyn Job>) -> End {
        let Item { index: _, priority: _, tags, target, headers, data, put_at_ms: _ } = item;
        let state = self.service.state();
        let Ok(Chosen { version, account, .. }) = state.choose() else { return End::GivenBack };
        let path_start = PREDICT.len() + self.service.name().len();
        let Ok(uri) = Uri::from_str(&format!("{PREDICT}{}{target}", self.service.name())) else {
            return End::Failed(Reason::new("400", "the path of the item is no valid path"));
        };
        let request_id = tags.request_id().and_then(|id| RequestId::from_caller(id.as_bytes()));
        let request_id = request_id.unwrap_or_else(RequestId::generate);
        let arrived = Instant::now();
        let mut exchange = Exchange::begin(&self.shared.ledger, request_id, Method::POST, uri, arrived);
        exchange.processes(Arc::clone(&self.service));
        exchange.answered_by(version.number, account);
        exchange.received(data.len());
        let input = Input { path_start, headers: restored(headers), body: data, upload: None, job: Some(job) };
        let deadline = arrived + self.settings.timeout;
        let answered = dispatch(&version, deadline, input, &mut exchange).await;
        match answered {
            Ok(answer) => self.finished(tags, *answer, &mut exchange).await,
            Err(refusal) => self.refused(tags, refusal, &mut exchange).await,
        }
    }

    /// The end of a call that the processor has answered.
    async fn finished(&self, mut tags: Tags, answer: Answer, exchange: &mut Exchange<'_>) -> End {
        let Answer { status, content_type, headers, body } = answer;
        let limit = self.settings.max_payload_bytes;
        let (body, length) = match body.read(limit).await {
            Ok(read) => (read.bytes, read.length),
            Err(cut) => return self.cut_off(tags, &cut, exchange),
        };
        if length > limit {
            let cause = format!("the result has {length} bytes, and may have {limit} (queue.max_payload_bytes)");
            exchange.settle(exchange.times(), 413, "body_too_large", &cause, 0);
            return End::Finished(Some(refused(tags, 413, "body_too_large", &cause)));
        }
        let is_ok = status.as_u16() == 200;
        exchange.settle(exchange.times(), status.as_u16(), if is_ok { "" } else { "processor_status" }, "", length);
        if is_ok && body.is_empty() {
            return End::Finished(None);
        }
        if !is_ok {
            tags.set(Tags::LAST_CODE, status.as_str());
        }
        let mut kept: Vec<(String, Bytes)> =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), bytes_of(value))).collect();
        kept.extend(content_type.map(|value| ("content-type".to_owned(), bytes_of(&value))));
        End::Finished(Some(NewItem { tags, headers: kept, data: body, ..NewItem::default() }))
    }

    /// The end of a call whose streamed answer is cut off. As in [`Self::refused`], what the host has ended is delivered
    /// again.
    fn cut_off(&self, tags: Tags, cut: &Cut, exchange: &mut Exchange<'_>) -> End {
        let Cut { status, code, cause } = cut;
        let late = self.late();
        let (end, cause) = match *code {
            "deadline_exceeded" => (End::Failed(Reason::new("408", &*late)), &late),
            "draining" | "client_closed" => (End::GivenBack, cause),
            "internal" => {
                // The cause is for the operator and not for the readers of items.
                let told = Refusal::Internal { cause: cause.clone() }.detail().into_owned();
                (End::Failed(Reason::new("500", told)), cause)
            }
            _ => (End::Finished(Some(refused(tags, *status, code, cause))), cause),
        };
        exchange.settle(exchange.times(), *status, code, cause, 0);
        end
    }

    fn late(&self) -> String {
        format!("not finished within {} ms (queue.timeout_ms)", self.settings.timeout.as_millis())
    }

    /// The end of a call that got no answer.
    async fn refused(&self, tags: Tags, refusal: Refusal, exchange: &mut Exchange<'_>) -> End {
        let row = refusal.row();
        let late = self.late();
        let (end, cause) = match &refusal {
            Refusal::DeadlineExceeded { .. } => (End::Failed(Reason::new("408", &*late)), late),
            Refusal::Retired | Refusal::NotReady | Refusal::Draining | Refusal::ClientClosed => {
                (End::GivenBack, refusal.cause())
            }
            Refusal::QueueFull { .. } | Refusal::NoHealthyUpstream { .. } => {
                tokio::time::sleep(WITHOUT_WORKER).await;
                (End::GivenBack, refusal.cause())
            }
            Refusal::Internal { .. } => (End::Failed(Reason::new("500", refusal.detail())), refusal.cause()),
            _ => (End::Finished(Some(refused(tags, row.status, row.code, &refusal.detail()))), refusal.cause()),
        };
        exchange.settle(exchange.times(), row.status, row.code, &cause, 0);
        end
    }
}

/// Makes the webhook of a finished item.
fn webhook(id: String, service: &str, index: u64, request_id: &str, result: Option<&NewItem>) -> Finished {
    let code = result.and_then(|result| result.tags.get(Tags::LAST_CODE)?.parse().ok());
    Finished {
        id,
        kind: "item.finished",
        service: service.to_owned(),
        index,
        request_id: request_id.to_owned(),
        status: code.unwrap_or(200),
        has_result: result.is_some(),
    }
}

/// The result of a call that was refused: the sentence about it.
fn refused(mut tags: Tags, status: u16, code: &str, text: &str) -> NewItem {
    tags.set(Tags::LAST_CODE, status.to_string());
    tags.set(Tags::LAST_ERROR, code);
    let headers = vec![("content-type".to_owned(), Bytes::from_static(b"text/plain; charset=utf-8"))];
    NewItem { tags, headers, data: text.to_owned().into(), ..NewItem::default() }
}

fn bytes_of(value: &HeaderValue) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// The headers of the put.
fn restored(headers: Vec<(String, Bytes)>) -> Headers {
    let mut restored = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(&name), HeaderValue::from_maybe_shared(value)) {
            restored.append(name, value);
        }
    }
    restored.into()
}
