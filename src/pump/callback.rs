//! Webhooks: a request to `queue.callback` when an item is finished, in the form of the Standard Webhooks specification
//! (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and `webhook-signature`.
//!
//! A webhook is a hint and not the result, which waits in the sink. It is repeated until it is accepted or has failed too
//! often. Those that wait are in memory only: the end of the host drops them.

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

use crate::config::{ServiceSpec, Token};
use crate::outbound::{Client, Timeouts};

/// Most webhooks of a service that wait to be accepted.
const MAX_WAITING: usize = 1000;
/// Attempts to send one, about ten minutes in all.
const ATTEMPTS: u32 = 14;
/// The pause after the first failure; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(10), head: Duration::from_secs(30), idle: Duration::from_secs(10) };

/// The webhooks of one service.
pub(super) struct Callbacks {
    service: String,
    uri: Uri,
    client: Client,
    waiting: Arc<Semaphore>,
}

/// The body of a webhook.
#[derive(Debug, Serialize)]
pub(super) struct Finished {
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
    /// Returns the webhooks of a service; `None` if it wants none.
    pub(super) fn of(spec: &ServiceSpec) -> Option<Self> {
        let uri = spec.queue()?.callback.clone()?;
        let (service, client) = (spec.name().as_str().to_owned(), Client::new(spec.sandbox().allow_hosts.clone()));
        Some(Self { service, uri, client, waiting: Arc::new(Semaphore::new(MAX_WAITING)) })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a webhook in a task of its own.
    pub(super) fn send(self: &Arc<Self>, finished: Finished, token: Option<Token>) {
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            let (service, index) = (self.service.as_str(), finished.index);
            tracing::warn!(service, index, "a webhook is dropped: {MAX_WAITING} of them wait already (queue.callback)");
            return;
        };
        let callbacks = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            callbacks.deliver(&finished, token.as_ref()).await;
        });
    }

    async fn deliver(&self, finished: &Finished, token: Option<&Token>) {
        let (service, index) = (self.service.as_str(), finished.index);
        let body = Bytes::from(serde_json::to_vec(finished).unwrap_or_default());
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let failed = match self.attempt(finished, token, &body).await {
                Ok(status) if status.is_success() => return,
                Ok(StatusCode::GONE) => {
                    tracing::warn!(service, index, "a webhook was refused with 410, and is not repeated");
                    return;
                }
                Ok(status) => format!("it was answered with {}", status.as_u16()),
                Err(why) => why,
            };
            tracing::info!(service, index, attempt, "a webhook failed: {failed}");
            if attempt < ATTEMPTS {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tracing::warn!(service, index, "a webhook was given up after {ATTEMPTS} attempts (queue.callback)");
    }

    async fn attempt(&self, finished: &Finished, token: Option<&Token>, body: &Bytes) -> Result<StatusCode, String> {
        let id = format!("{}-{}", self.service, finished.index);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(HOST, self.uri.authority().map_or("", |authority| authority.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("bulkhead/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", &now);
        if let Some(token) = token {
            request = request.header("webhook-signature", signature(token, &id, &now, body));
        }
        let request = request.body(Full::new(body.clone())).map_err(|error| error.to_string())?;
        match self.client.send(request, TIMEOUTS).await {
            Ok(answer) => Ok(answer.status()),
            Err(why) => Err(why.to_string()),
        }
    }
}

/// `v1,` and the HMAC-SHA256 of id, time and body under the token of the service, in base64.
fn signature(token: &Token, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes());
    let mut mac = key.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries: the secret is `MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw` in base64.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#);
        let expected = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(STANDARD.encode(mac.finalize().into_bytes()), expected);
        let token = Token::parse("a-token-of-a-service-for-tests-1234567890").unwrap();
        let ours = signature(&token, "a-1", "1614265330", b"{}");
        let mut mac = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes()).unwrap();
        mac.update(b"a-1.1614265330.{}");
        assert_eq!(ours, format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
}
