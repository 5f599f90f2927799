//! Create and modify: a JSON body in, and either one answer at the end or a line for each step on the way.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{Either, channel::Channel};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::api::json_reply;
use super::problem::Problem;
use super::{Admin, Reply};
use crate::config::ServiceFile;
use crate::registry::{Change, Files, Progress, Report};
use crate::storage::{Digest, ModelFile};

/// Lines of progress that may wait for a slow reader; a deploy says far fewer.
const MAX_LINES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    spec: Value,
    processor: Digest,
    #[serde(default)]
    model: Vec<ModelFile>,
    #[serde(default)]
    warm_up: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModifyBody {
    #[serde(default)]
    spec: Option<Value>,
    #[serde(default)]
    processor: Option<Digest>,
    #[serde(default)]
    model: Option<Vec<ModelFile>>,
    /// Absent: as it was. Null: removed.
    #[serde(default, deserialize_with = "present")]
    warm_up: Option<Option<Digest>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A deploy that has been understood and can begin.
pub(super) enum Deploy {
    Create { file: Box<ServiceFile>, files: Files },
    Modify { name: String, change: Change },
}

impl Deploy {
    pub(super) fn create(body: &[u8]) -> Result<Self, Problem> {
        let body: CreateBody = parse(body)?;
        let file = ServiceFile::from_value(&body.spec).map_err(crate::registry::ChangeError::Invalid)?;
        let files = Files { processor: body.processor, model: body.model, warm_up: body.warm_up };
        Ok(Self::Create { file: Box::new(file), files })
    }

    pub(super) fn modify(name: &str, body: &[u8]) -> Result<Self, Problem> {
        let body: ModifyBody = parse(body)?;
        let change = Change { patch: body.spec, processor: body.processor, model: body.model, warm_up: body.warm_up };
        Ok(Self::Modify { name: name.to_owned(), change })
    }

    const fn success(&self) -> StatusCode {
        match self {
            Self::Create { .. } => StatusCode::CREATED,
            Self::Modify { .. } => StatusCode::OK,
        }
    }

    async fn carry_out(self, admin: &Admin, progress: &Progress) -> Result<Value, Problem> {
        let service = match self {
            Self::Create { file, files } => admin.registry.create(&file, files, progress).await?,
            Self::Modify { name, change } => admin.registry.modify(&name, change, progress).await?,
        };
        let state = service.state();
        tracing::info!(service = service.name(), version = state.record.version, "service deployed");
        Ok(admin.deployed(&service))
    }

    /// Carries the deploy out in a task of its own: an operator who hangs up does not leave it half done.
    pub(super) async fn answer(self, admin: Arc<Admin>, headers: &HeaderMap) -> Result<Reply, Problem> {
        if !wants_progress(headers) {
            let status = self.success();
            let task = tokio::spawn(async move { self.carry_out(&admin, &|_| {}).await });
            let result = task.await.map_err(|error| Problem::internal(&error))??;
            return Ok(json_reply(status, &result));
        }
        let (mut sender, body) = Channel::new(MAX_LINES);
        let (reports, mut told) = mpsc::channel(MAX_LINES);
        let work = tokio::spawn(async move {
            let tell = move |report: Report| {
                // Progress is a courtesy: a reader too slow for it still gets the end.
                let _ = reports.try_send(report);
            };
            self.carry_out(&admin, &tell).await
        });
        tokio::spawn(async move {
            while let Some(report) = told.recv().await {
                let line = match report {
                    Report::Begun(step) => json!({"event": "progress", "step": step.name()}),
                    Report::Notice(text) => json!({"event": "notice", "text": text}),
                };
                if sender.send_data(to_line(&line)).await.is_err() {
                    return;
                }
            }
            let last = match work.await {
                Ok(Ok(result)) => json!({"event": "done", "result": result}),
                Ok(Err(problem)) => json!({"event": "failed", "problem": problem.body()}),
                Err(error) => json!({"event": "failed", "problem": Problem::internal(&error).body()}),
            };
            let _ = sender.send_data(to_line(&last)).await;
        });
        let mut reply = Response::new(Either::Right(body));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(reply)
    }
}

pub(super) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

fn wants_progress(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("application/x-ndjson"));
    headers.get_all(ACCEPT).iter().any(accepts)
}

fn to_line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}
