//! Versions of a service, and what share of its requests each gets.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::services::PROGRESS;
use crate::admin::Reply;
use crate::admin::api::{json_body, json_reply, parse};
use crate::admin::deploy::{Deploy, Event, Release};
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::{
    ARTIFACT_DAMAGED, ARTIFACT_MISSING, CANARY_UNDER_WAY, INVALID_SERVICE_FILE, NAME_TAKEN, NO_CANARY, NO_ROOM,
    NO_SHARE, PROCESSOR_REFUSED, Problem, SERVICE_NOT_FOUND, VERSION_INCOMPLETE, VERSION_NOT_FOUND,
};
use crate::admin::view::{Deployed, service_file};
use crate::config::TrafficState;
use crate::registry::Part;
use crate::storage::{self, Digest, ModelFile, Record, VersionRecord};

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services/{name}/versions", "listVersions", |asked| Box::pin(versions(asked)))
        .says("List the versions of a service", "Those that are kept, the newest first: the last ten.")
        .answers(&[Answer::ok("The versions.", &[Content::json::<Versions>()])])
        .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::post("/api/v1/services/{name}/version", "setVersion", |asked| Box::pin(set_version(asked)))
        .changes("version")
        .tagged()
        .says("Make an earlier version current again", PROGRESS)
        .takes(&[Content::json::<VersionBody>()])
        .answers(&[Answer::ok(
            "That version answers, and no other: a canary has ended.",
            &[Content::json::<Deployed>(), Content::lines::<Event>()],
        )])
        .refuses(&[
            &SERVICE_NOT_FOUND,
            &VERSION_NOT_FOUND,
            &VERSION_INCOMPLETE,
            &NAME_TAKEN,
            &INVALID_SERVICE_FILE,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
        ]),
    Operation::post("/api/v1/services/{name}/release", "release", |asked| Box::pin(release(asked)))
        .changes("release")
        .tagged()
        .says("Change the share of a canary, make it current, or drop it; or a service's part in its group", PROGRESS)
        .takes(&[Content::json::<ReleaseBody>()])
        .answers(&[Answer::ok("It is so now.", &[Content::json::<Deployed>(), Content::lines::<Event>()])])
        .refuses(&[
            &SERVICE_NOT_FOUND,
            &NO_CANARY,
            &NO_SHARE,
            &CANARY_UNDER_WAY,
            &NAME_TAKEN,
            &VERSION_NOT_FOUND,
            &VERSION_INCOMPLETE,
            &INVALID_SERVICE_FILE,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
        ]),
];

/// The versions that are kept of a service.
#[derive(Serialize, JsonSchema)]
struct Versions {
    name: String,
    current_version: u64,
    /// The highest number that a version has been given.
    latest_version: u64,
    versions: Vec<Version>,
}

/// A version of a service.
#[derive(Serialize, JsonSchema)]
struct Version {
    version: u64,
    created_at: String,
    current: bool,
    /// Percent of the requests, where it is a canary.
    canary_weight: Option<u8>,
    processor: storage::Artifact,
    model: Vec<ModelFile>,
    warm_up: Option<Digest>,
    /// The service file in its canonical form.
    #[schemars(schema_with = "service_file")]
    spec: Value,
    /// How it came to be.
    note: String,
}

/// The version to go back to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VersionBody {
    version: u64,
}

/// What is to become of a canary or, where there is none, of the service's part in its group. `abort` stands alone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    /// Of a canary, percent of the requests; with 100 it becomes the current version. In a group, the share relative to
    /// those of the other members, up to 1000.
    #[schemars(range(max = 1000))]
    weight: Option<u64>,
    /// Whether the service shares its group's requests.
    traffic_state: Option<TrafficState>,
    /// The canary is dropped.
    #[serde(default)]
    abort: bool,
}

async fn versions(asked: Asked) -> Result<Reply, Problem> {
    let service = asked.service()?;
    let history = asked.admin.registry.history(service.name()).await?;
    let record = &service.state().record;
    let versions = history.versions().iter().rev().map(|version| Version::of(version, record)).collect();
    let (name, current_version, latest_version) = (record.name.clone(), record.version, record.latest);
    json_reply(StatusCode::OK, &Versions { name, current_version, latest_version, versions })
}

impl Version {
    fn of(version: &VersionRecord, record: &Record) -> Self {
        let canary = record.canary.filter(|canary| canary.version == version.number);
        Self {
            version: version.number,
            created_at: version.created_at.clone(),
            current: version.number == record.version,
            canary_weight: canary.map(|canary| canary.weight),
            processor: version.processor.clone(),
            model: version.model.clone(),
            warm_up: version.warm_up.clone(),
            spec: version.file.clone(),
            note: version.note.clone(),
        }
    }
}

async fn set_version(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?.to_string(), asked.order().clone());
    let VersionBody { version } = parse(&json_body(&asked.headers, asked.body).await?)?;
    Deploy::Return { name, number: version }.answer(asked.admin, order, &asked.headers).await
}

async fn release(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?.to_string(), asked.order().clone());
    let release = match parse(&json_body(&asked.headers, asked.body).await?)? {
        ReleaseBody { weight: None, traffic_state: None, abort: true } => Release::Abort,
        ReleaseBody { weight: None, traffic_state: None, abort: false } | ReleaseBody { abort: true, .. } => {
            let expected = "expected `weight` or `traffic_state` or both, or {\"abort\": true} alone";
            return Err(Problem::bad_request(expected));
        }
        ReleaseBody { weight, traffic_state: state, abort: false } => Release::Set(Part { weight, state }),
    };
    Deploy::Release { name, release }.answer(asked.admin, order, &asked.headers).await
}
