//! Whatever brings versions up: a JSON body in, and either one answer at the end or a line for each step on the way.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::channel::Channel;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::api::{json_reply, parse};
use super::problem::Problem;
use super::undertaking::undertake;
use super::view::{Deployed, service_file};
use super::{Admin, Reply, conditions};
use crate::config::ServiceFile;
use crate::front::Content;
use crate::header;
use crate::registry::{Change, ChangeError, ChangeRequest, Effect, Files, Part, Progress, Report};
use crate::storage::{Digest, Manifest};

/// Lines of progress that may wait for a slow reader; a deploy says far fewer.
const MAX_LINES: usize = 32;

/// A new service. The files it names have been uploaded before.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[schemars(schema_with = "service_file")]
    spec: Value,
    processor: Digest,
    /// The files of the model directory.
    #[serde(default)]
    model: Manifest,
    #[serde(default)]
    warm_up: Option<Digest>,
}

/// A change to a service; what is left out stays as it was.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModifyBody {
    /// A JSON merge patch (RFC 7396) for the service file: null removes a key.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    spec: Option<Value>,
    #[serde(default)]
    processor: Option<Digest>,
    /// All files of the model directory.
    #[serde(default)]
    model: Option<Manifest>,
    /// Null: removed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<Digest>")]
    warm_up: Option<Option<Digest>>,
    /// Percent of the requests for the new version, which is tried beside the current one.
    #[serde(default)]
    #[schemars(range(max = 100))]
    canary: Option<u64>,
}

/// A line of a deploy that is under way.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// A step begins.
    Progress { step: &'static str },
    /// Something worth knowing that keeps nothing from going well.
    Notice { text: String },
    /// The last line of a deploy that went well.
    Done { result: Deployed },
    /// The last line of one that did not.
    Failed {
        #[schemars(schema_with = "problem")]
        problem: Value,
    },
}

fn problem(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "$ref": "#/components/schemas/Problem" })
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is done with the share of a canary, or of a member of a group.
pub(super) enum Release {
    Set(Part),
    Abort,
}

/// A deploy that has been understood and can begin.
pub(super) enum Deploy {
    Create {
        file: Box<ServiceFile>,
        files: Files,
    },
    Modify {
        name: String,
        change: Change,
    },
    /// Makes an earlier version current.
    Return {
        name: String,
        number: u64,
    },
    Release {
        name: String,
        release: Release,
    },
}

impl Deploy {
    pub(super) fn create(body: &[u8]) -> Result<Self, Problem> {
        let body: CreateBody = parse(body)?;
        let file = ServiceFile::from_value(&body.spec).map_err(ChangeError::Invalid)?;
        let files = Files { processor: body.processor, model: body.model.into_files(), warm_up: body.warm_up };
        Ok(Self::Create { file: Box::new(file), files })
    }

    pub(super) fn modify(name: &str, body: &[u8]) -> Result<Self, Problem> {
        let ModifyBody { spec, processor, model, warm_up, canary } = parse(body)?;
        let model = model.map(Manifest::into_files);
        let change = Change { patch: spec, processor, model, warm_up, canary };
        Ok(Self::Modify { name: name.to_owned(), change })
    }

    /// The service it is about.
    fn name(&self) -> &str {
        match self {
            Self::Create { file, .. } => file.spec().name().as_str(),
            Self::Modify { name, .. } | Self::Return { name, .. } | Self::Release { name, .. } => name,
        }
    }

    const fn success(&self) -> StatusCode {
        match self {
            Self::Create { .. } => StatusCode::CREATED,
            Self::Modify { .. } | Self::Return { .. } | Self::Release { .. } => StatusCode::OK,
        }
    }

    async fn carry_out(self, admin: &Admin, order: &ChangeRequest, progress: &Progress) -> Result<Deployed, Problem> {
        let registry = &admin.registry;
        let (service, effect) = match self {
            Self::Create { file, files } => {
                let created = registry.create(order, &file, files, progress).await;
                let created = created.map_err(|error| Problem::from(error).about(file.spec().name().as_str()))?;
                (created, Effect::NewVersion)
            }
            Self::Modify { name, change } => registry.modify(&name, order, change, progress).await?,
            Self::Return { name, number } => registry.roll_back(&name, order, number, progress).await?,
            Self::Release { name, release: Release::Set(part) } => {
                (registry.release(&name, order, part, progress).await?, Effect::SameVersion)
            }
            Self::Release { name, release: Release::Abort } => {
                (registry.abort_canary(&name, order).await?, Effect::SameVersion)
            }
        };
        let unchanged = effect == Effect::Nothing;
        if !unchanged {
            let state = service.state();
            let canary = state.record.canary.map(|canary| canary.version);
            tracing::info!(service = service.name(), version = state.record.version, canary, "service deployed");
        }
        Ok(admin.deployed(&service, unchanged))
    }

    pub(super) async fn answer(
        self,
        admin: Arc<Admin>,
        order: ChangeRequest,
        headers: &HeaderMap,
    ) -> Result<Reply, Problem> {
        if !wants_progress(headers) {
            let status = self.success();
            let deployed = self.carry_out(&admin, &order, &|_| {}).await?;
            return Ok(conditions::tagged(json_reply(status, &deployed)?, deployed.revision()));
        }
        let name = self.name().to_owned();
        let (mut sender, body) = Channel::new(MAX_LINES);
        let (reports, mut told) = mpsc::channel(MAX_LINES);
        let (host, wanted) = (Arc::clone(&admin), order.clone());
        let work = undertake(host, wanted, name, async move {
            let tell = move |report: Report| {
                // Progress is a courtesy: a reader too slow for it still gets the end.
                let _ = reports.try_send(report);
            };
            self.carry_out(&admin, &order, &tell).await
        });
        tokio::spawn(async move {
            while let Some(report) = told.recv().await {
                let event = match report {
                    Report::Begun(step) => Event::Progress { step: step.name() },
                    Report::Notice(text) => Event::Notice { text },
                };
                if sender.send_data(event.to_line()).await.is_err() {
                    return;
                }
            }
            let last = match work.await {
                Ok(Ok(result)) => Event::Done { result },
                Ok(Err(problem)) => Event::Failed { problem: problem.body() },
                Err(error) => Event::Failed { problem: Problem::internal(&error).body() },
            };
            let _ = sender.send_data(last.to_line()).await;
        });
        let mut reply = Response::new(Content::Stream(Box::new(body)));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(reply)
    }
}

impl Event {
    fn to_line(&self) -> Bytes {
        let line = serde_json::to_string(self).expect("events are plain JSON");
        Bytes::from(line + "\n")
    }
}

fn wants_progress(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(accepts_lines)
}

/// Whether an item of `Accept` names the lines, with a weight over 0.
fn accepts_lines(item: &str) -> bool {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/x-ndjson")) {
        return false;
    }
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    weight.is_none_or(|weight| header::weight(weight.as_bytes()).is_some_and(|weight| weight > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_whoever_accepts_them() {
        let wants =
            |accept: &'static str| wants_progress(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        for accept in ["application/x-ndjson", "text/html, Application/X-NDJSON ; q=0.1", "application/x-ndjson;v=1"] {
            assert!(wants(accept), "{accept}");
        }
        for accept in ["application/x-ndjson;q=0", "application/x-ndjson; q=0.000", "application/x-ndjsonx", "*/*", ""]
        {
            assert!(!wants(accept), "{accept}");
        }
    }
}
