//! The operations that start versions. They take a JSON body and answer once at the end, or with a line for each step.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::channel::Channel;
use tokio::sync::mpsc;

use super::api::{json_reply, parse};
use super::problem::Problem;
use super::undertaking::undertake;
use super::{Admin, Reply, conditions};
use crate::api::{CreateBody, Deployed, Event, ListedModelFile, ModifyBody, Sha256};
use crate::config::ServiceFile;
use crate::front::Content;
use crate::header;
use crate::registry::{Change, ChangeError, ChangeRequest, Effect, Files, Part, Progress, Report};
use crate::storage::{Digest, ListedFile, Manifest, ModelFile};

/// Most lines of progress that wait for a slow reader. A deploy has far fewer.
const MAX_LINES: usize = 32;

/// A change of the share of a canary, or of a member of a group.
pub(super) enum Release {
    Set(Part),
    Abort,
}

/// A parsed deploy, which can begin.
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
        let warm_up = body.warm_up.as_ref().map(|sha256| digest("warm_up", sha256)).transpose()?;
        let processor = body.processor.as_ref().map(|sha256| digest("processor", sha256)).transpose()?;
        if processor.is_some() != file.spec().processor_path().is_some() {
            return Err(mistaken("processor: the body needs it if `spec` has a `processor_path`, and only then")
                .with_hint("`processor` is the SHA-256 of the uploaded file"));
        }
        let files = Files { processor, model: files(body.model)?, warm_up };
        Ok(Self::Create { file: Box::new(file), files })
    }

    pub(super) fn modify(name: &str, body: &[u8]) -> Result<Self, Problem> {
        let ModifyBody { spec, processor, model, warm_up, canary } = parse(body)?;
        let processor = processor.map(|sha256| digest("processor", &sha256)).transpose()?;
        let model = model.map(files).transpose()?;
        let warm_up = match warm_up {
            None => None,
            Some(None) => Some(None),
            Some(Some(sha256)) => Some(Some(digest("warm_up", &sha256)?)),
        };
        let change = Change { patch: spec, processor, model, warm_up, canary };
        Ok(Self::Modify { name: name.to_owned(), change })
    }

    /// The name of the service.
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
            return Ok(conditions::tagged(json_reply(status, &deployed)?, deployed.revision));
        }
        let name = self.name().to_owned();
        let (mut sender, body) = Channel::new(MAX_LINES);
        let (reports, mut told) = mpsc::channel(MAX_LINES);
        let (host, wanted) = (Arc::clone(&admin), order.clone());
        let work = undertake(host, wanted, name, async move {
            let tell = move |report: Report| {
                // A line of progress is dropped if the reader is too slow; the last line is not.
                let _ = reports.try_send(report);
            };
            self.carry_out(&admin, &order, &tell).await
        });
        tokio::spawn(async move {
            while let Some(report) = told.recv().await {
                let event = match report {
                    Report::Begun(step) => Event::Progress { step: step.name().into() },
                    Report::Notice(text) => Event::Notice { text },
                };
                if sender.send_data(line(&event)).await.is_err() {
                    return;
                }
            }
            let outcome = work.await.unwrap_or_else(|error| Err(Problem::internal(&error)));
            let last = match &outcome {
                Ok(result) => line(&Event::Done { result }),
                Err(problem) => line(&Event::Failed { problem: problem.document().into() }),
            };
            let _ = sender.send_data(last).await;
        });
        let mut reply = Response::new(Content::Stream(Box::new(body)));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        Ok(reply)
    }
}

fn line(event: &Event<'_, &Deployed>) -> Bytes {
    let line = serde_json::to_string(event).expect("events are plain JSON");
    Bytes::from(line + "\n")
}

/// Parses a SHA-256. `key` is its place in the body, for the error.
fn digest(key: &str, sha256: &Sha256) -> Result<Digest, Problem> {
    Digest::try_from(sha256.as_str().to_owned()).map_err(|expected| mistaken(format_args!("{key}: {expected}")))
}

/// Checks the files of a model, which must fit into one directory.
fn files(listed: Vec<ListedModelFile>) -> Result<Vec<ModelFile>, Problem> {
    let listed_file = |(index, file): (usize, ListedModelFile)| {
        let ListedModelFile { path, sha256, size, directory } = file;
        let sha256 = sha256.map(|sha256| digest(&format!("model[{index}].sha256"), &sha256)).transpose()?;
        Ok(ListedFile { path, sha256, size, directory })
    };
    let listed: Vec<_> = listed.into_iter().enumerate().map(listed_file).collect::<Result<_, Problem>>()?;
    Ok(Manifest::try_from(listed).map_err(mistaken)?.into_files())
}

/// The refusal of a body that is valid JSON but not as expected.
fn mistaken(why: impl Display) -> Problem {
    Problem::bad_request(format!("the body is not as expected: {why}"))
}

fn wants_progress(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(accepts_lines)
}

/// True for an item of `Accept` that names `application/x-ndjson` with a weight over 0.
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
    use serde_json::{Value, json};

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

    #[test]
    fn a_name_that_is_none_is_told_with_its_place() {
        let (good, bad) = ("ab".repeat(32), "AB".repeat(32));
        let file = |sha256: &str| json!([{ "path": "a", "sha256": good, "size": 1 }, { "path": "b", "sha256": sha256, "size": 1 }]);
        let refused =
            |body: &Value| Deploy::modify("a", body.to_string().as_bytes()).err().map(|problem| problem.reason());
        assert_eq!(refused(&json!({ "processor": good, "model": file(&good), "warm_up": null })), None);
        for (body, place) in [
            (json!({ "processor": bad }), "processor"),
            (json!({ "warm_up": bad }), "warm_up"),
            (json!({ "model": file(&bad) }), "model[1].sha256"),
        ] {
            let expected = "a SHA-256 is 64 lower-case hexadecimal digits";
            assert_eq!(refused(&body), Some(format!("the body is not as expected: {place}: {expected}")));
        }
    }
}
