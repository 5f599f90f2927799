//! The paths of the admin listener.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};

use super::deploy::Deploy;
use super::problem::Problem;
use super::{Admin, Reply, token};
use crate::auth;
use crate::registry::{ChangeError, Service};
use crate::storage::{Digest, StorageError};
use crate::telemetry::exposition;

/// Bytes of a JSON body.
const MAX_JSON: usize = 4 << 20;
/// Bytes of an uploaded file: honest guests with a model or an interpreter inside have up to 20 MB.
const MAX_ARTIFACT: u64 = 64 << 20;

const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn handle(admin: Arc<Admin>, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let mut reply = answer(admin, peer, request).await.unwrap_or_else(|problem| problem.reply());
    reply.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    reply.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    reply
}

async fn answer(admin: Arc<Admin>, peer: IpAddr, request: Request<Incoming>) -> Result<Reply, Problem> {
    let (parts, body) = request.into_parts();
    let method = &parts.method;
    let path = parts.uri.path();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["healthz"] => {
            return only(method, &[Method::GET, Method::HEAD]).map(|()| text_reply(StatusCode::OK, TEXT, "ok\n"));
        }
        ["readyz"] => return only(method, &[Method::GET, Method::HEAD]).map(|()| ready(&admin)),
        ["metrics"] => return only(method, &[Method::GET, Method::HEAD]).and_then(|()| metrics(&admin)),
        ["api", "v1", ..] => {}
        _ => return Err(Problem::not_found(path)),
    }
    // From here on everything is the operator's alone.
    authorize(&admin, peer, &parts.headers)?;
    match &segments[2..] {
        ["artifacts", digest] => artifact(&admin, &parts, digest, body).await,
        ["services"] => match *method {
            Method::GET => Ok(list(&admin)),
            Method::POST => Deploy::create(&json_body(body).await?)?.answer(admin, &parts.headers).await,
            _ => Err(Problem::method_not_allowed("GET, POST")),
        },
        ["services", name] => match *method {
            Method::GET => {
                let service = admin.registry.find(name).ok_or(ChangeError::NotFound)?;
                Ok(json_reply(StatusCode::OK, &admin.description(&service)))
            }
            Method::PUT => Deploy::modify(name, &json_body(body).await?)?.answer(admin, &parts.headers).await,
            Method::DELETE => {
                admin.registry.delete(name).await?;
                tracing::info!(service = name, "service deleted");
                Ok(json_reply(StatusCode::OK, &json!({"name": name, "state": "deleted"})))
            }
            _ => Err(Problem::method_not_allowed("GET, PUT, DELETE")),
        },
        ["services", name, "stop"] => {
            only(method, &[Method::POST])?;
            Ok(state(&*admin.registry.stop(name).await?))
        }
        ["services", name, "start"] => {
            only(method, &[Method::POST])?;
            Ok(state(&*admin.registry.start(name).await?))
        }
        ["services", name, "token"] => {
            only(method, &[Method::POST])?;
            token::change(&admin, name, &json_body(body).await?).await
        }
        _ => Err(Problem::not_found(path)),
    }
}

fn authorize(admin: &Admin, peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
    admin.attempts.check(peer)?;
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = given.and_then(|given| given.strip_prefix(b"Bearer "));
    if token.is_some_and(|token| auth::is_token(&admin.token, token)) {
        return Ok(());
    }
    admin.attempts.failed(peer);
    Err(Problem::unauthorized())
}

fn only(method: &Method, allowed: &'static [Method]) -> Result<(), Problem> {
    if allowed.contains(method) {
        return Ok(());
    }
    Err(Problem::method_not_allowed(if allowed.contains(&Method::POST) { "POST" } else { "GET, HEAD" }))
}

fn ready(admin: &Admin) -> Reply {
    if *admin.draining.borrow() {
        text_reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n")
    } else if admin.registry.is_settled() {
        text_reply(StatusCode::OK, TEXT, "ready\n")
    } else {
        text_reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not_ready\n")
    }
}

fn metrics(admin: &Admin) -> Result<Reply, Problem> {
    let text = exposition(admin.seen(), admin.host_numbers()).map_err(|error| Problem::internal(&error))?;
    Ok(text_reply(StatusCode::OK, METRICS_TYPE, text))
}

fn list(admin: &Admin) -> Reply {
    let rows: Vec<Value> = admin.registry.list().iter().map(|service| admin.row(service)).collect();
    json_reply(StatusCode::OK, &json!({"services": rows}))
}

fn state(service: &Service) -> Reply {
    json_reply(StatusCode::OK, &json!({"name": service.name(), "state": service.state().phase.name()}))
}

async fn artifact(admin: &Admin, parts: &Parts, digest: &str, body: Incoming) -> Result<Reply, Problem> {
    let digest = Digest::parse(digest)
        .ok_or_else(|| Problem::bad_request("an artifact's name is its SHA-256: 64 lower-case hexadecimal digits"))?;
    let is_there = admin.storage.renew(&digest);
    match parts.method {
        Method::HEAD | Method::GET if is_there => Ok(json_reply(StatusCode::OK, &json!({"sha256": digest}))),
        Method::HEAD | Method::GET => Err(Problem::artifact_not_found()),
        Method::PUT if is_there => Ok(json_reply(StatusCode::OK, &json!({"sha256": digest}))),
        // Neither a length nor chunks: the body was forgotten.
        Method::PUT if body.is_end_stream() && !parts.headers.contains_key(CONTENT_LENGTH) => {
            Err(Problem::length_required())
        }
        Method::PUT => {
            receive(admin, &digest, body).await?;
            Ok(json_reply(StatusCode::CREATED, &json!({"sha256": digest})))
        }
        _ => Err(Problem::method_not_allowed("GET, HEAD, PUT")),
    }
}

/// Writes an upload to disk as it comes in.
async fn receive(admin: &Admin, digest: &Digest, mut body: Incoming) -> Result<(), Problem> {
    if body.size_hint().lower() > MAX_ARTIFACT {
        return Err(StorageError::TooLarge { limit: MAX_ARTIFACT }.into());
    }
    let mut upload = admin.storage.upload(MAX_ARTIFACT)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("the upload broke off"))?;
        if let Ok(piece) = frame.into_data() {
            tokio::task::block_in_place(|| upload.write(&piece))?;
        }
    }
    tokio::task::block_in_place(|| upload.finish(digest))?;
    Ok(())
}

async fn json_body(body: Incoming) -> Result<Bytes, Problem> {
    match Limited::new(body, MAX_JSON).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(MAX_JSON)),
        Err(_) => Err(Problem::bad_request("the body broke off")),
    }
}

pub(super) fn json_reply(status: StatusCode, value: &Value) -> Reply {
    text_reply(status, JSON, format!("{value}\n"))
}

fn text_reply(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(text.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}
