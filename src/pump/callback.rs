//! Webhooks: a request to `queue.callback` when an item is finished, in the form of the Standard Webhooks specification
//! (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and `webhook-signature`.
//!
//! A webhook is a hint and not the result, which waits in the sink. It is repeated until it is accepted or has failed too
//! often, each time by the service file of that moment. Those that wait are in memory only: the end of the host drops
//! them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Serialize;
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::config::ServiceSpec;
use crate::outbound::{Client, Timeouts};
use crate::registry::{Registry, Service};

/// Most webhooks of a service that wait to be accepted.
const MAX_WAITING: usize = 1000;
/// Most webhooks of a service that are sent at once.
const MAX_SENDING: usize = 8;
/// Attempts to send one, about ten minutes in all.
const ATTEMPTS: u32 = 14;
/// The pause after the first failure; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(10), head: Duration::from_secs(30), idle: Duration::from_secs(10) };

/// The webhooks of one service.
pub(super) struct Callbacks {
    service: Arc<Service>,
    registry: Arc<Registry>,
    waiting: Arc<Semaphore>,
    sending: Semaphore,
}

/// The body of a webhook.
#[derive(Debug, Serialize)]
pub(super) struct Finished {
    /// The same in each repetition, and of no other item.
    #[serde(skip)]
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) service: String,
    /// The index of the item in the input queue.
    pub(super) index: u64,
    pub(super) request_id: String,
    /// 200, or the `lastCode` of the result.
    pub(super) status: u16,
    /// True if there is a result in the sink.
    pub(super) has_result: bool,
}

impl Callbacks {
    pub(super) fn new(service: Arc<Service>, registry: Arc<Registry>) -> Self {
        let (waiting, sending) = (Semaphore::new(MAX_WAITING), Semaphore::new(MAX_SENDING));
        Self { service, registry, waiting: Arc::new(waiting), sending }
    }

    /// Sends a webhook in a task of its own, if the service wants one.
    pub(super) fn send(self: &Arc<Self>, finished: Finished) {
        if self.wanted().is_none() {
            return;
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            let (service, index) = (self.service.name(), finished.index);
            tracing::warn!(service, index, "a webhook is dropped: {MAX_WAITING} of them wait already (queue.callback)");
            return;
        };
        let callbacks = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            callbacks.deliver(&finished).await;
        });
    }

    /// Returns the URL for webhooks, and the settings that it is from; `None` if the service wants none, or is gone.
    fn wanted(&self) -> Option<(Uri, Arc<ServiceSpec>)> {
        self.registry.find(self.service.name()).filter(|found| Arc::ptr_eq(found, &self.service))?;
        let state = self.service.look();
        let spec = state.asynchronous()?;
        Some((spec.queue()?.callback.clone()?, Arc::clone(spec)))
    }

    async fn deliver(&self, finished: &Finished) {
        let (service, index) = (self.service.name(), finished.index);
        let body = Bytes::from(serde_json::to_vec(finished).unwrap_or_default());
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let Some(attempted) = self.attempt(&finished.id, &body).await else { return };
            let failed = match attempted {
                Ok(status) if status.is_success() => return,
                Ok(StatusCode::GONE) => {
                    tracing::warn!(service, index, "a webhook was refused with 410, and is not repeated");
                    return;
                }
                Ok(status) => format!("it was answered with {}", status.as_u16()),
                Err(why) => why,
            };
            // The first failure may be that of a wrong setting.
            if attempt == 1 {
                tracing::warn!(service, index, attempt, "a webhook failed: {failed}");
            } else {
                tracing::info!(service, index, attempt, "a webhook failed: {failed}");
            }
            if attempt < ATTEMPTS {
                // Webhooks that failed together are not repeated together.
                tokio::time::sleep(pause.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tracing::warn!(service, index, "a webhook was given up after {ATTEMPTS} attempts (queue.callback)");
    }

    /// Sends a webhook once, when it is its turn; `None` if it is not wanted any more by then.
    async fn attempt(&self, id: &str, body: &Bytes) -> Option<Result<StatusCode, String>> {
        let Ok(_turn) = self.sending.acquire().await else { unreachable!("it is never closed") };
        let (uri, spec) = self.wanted()?;
        let request = match self.request(&uri, id, body) {
            Ok(request) => request,
            Err(error) => return Some(Err(error.to_string())),
        };
        let client = Client::new(self.service.outbound().clone(), spec.sandbox().allow_hosts.clone());
        let sent = client.send(request, TIMEOUTS, std::future::pending()).await;
        Some(sent.map(|answer| answer.status()).map_err(|why| why.to_string()))
    }

    fn request(&self, uri: &Uri, id: &str, body: &Bytes) -> http::Result<Request<Full<Bytes>>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("bulkhead/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", &now);
        let record = Arc::clone(&self.service.state().record);
        // While the previous token is still accepted, receivers may have either.
        let tokens = record.token.iter().chain(&record.previous_token);
        let signatures = tokens.map(|token| signature(token.reveal().as_bytes(), id, &now, body)).collect::<Vec<_>>();
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        request.body(Full::new(body.clone()))
    }
}

/// `v1,` and the HMAC-SHA256 of id, time and body, in base64. The key is the token of the service.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let ours = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(ours, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
