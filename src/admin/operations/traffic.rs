//! The versions of a service, and the share of its requests that each gets.

use http::StatusCode;

use super::services::PROGRESS;
use crate::admin::api::{json_body, json_reply, parse};
use crate::admin::deploy::{Deploy, Release};
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{
    ARTIFACT_DAMAGED, ARTIFACT_MISSING, CANARY_UNDER_WAY, HOST_UNFIT, INVALID_SERVICE_FILE, NAME_TAKEN, NO_CANARY,
    NO_ROOM, NO_SHARE, PROCESSOR_REFUSED, SERVICE_NOT_FOUND, VERSION_INCOMPLETE, VERSION_NOT_FOUND,
};
use crate::admin::{Reply, view};
use crate::api::{Deployed, Event, ReleaseBody, VersionBody, Versions};
use crate::registry::Part;

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services/{name}/versions", "listVersions", |asked| Box::pin(versions(asked)))
        .says("List the versions of a service", "The last ten versions are kept. The newest comes first.")
        .answers(&[Answer::ok("The versions.", &[Content::json::<Versions>()])])
        .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::post("/api/v1/services/{name}/version", "setVersion", |asked| Box::pin(set_version(asked)))
        .changes("version")
        .tagged()
        .says("Make an earlier version current again", PROGRESS)
        .takes(&[Content::json::<VersionBody>()])
        .answers(&[Answer::ok(
            "The version answers all requests. A canary has been dropped.",
            &[Content::json::<Deployed>(), Content::lines::<Event<'_, Deployed>>()],
        )])
        .refuses(&[
            &SERVICE_NOT_FOUND,
            &VERSION_NOT_FOUND,
            &VERSION_INCOMPLETE,
            &NAME_TAKEN,
            &INVALID_SERVICE_FILE,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &HOST_UNFIT,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
        ]),
    Operation::post("/api/v1/services/{name}/release", "release", |asked| Box::pin(release(asked)))
        .changes("release")
        .tagged()
        .says(
            "Change a canary's share, make it current, or drop it; or change a service's weight in its group",
            PROGRESS,
        )
        .takes(&[Content::json::<ReleaseBody>()])
        .answers(&[Answer::ok(
            "The change is in effect.",
            &[Content::json::<Deployed>(), Content::lines::<Event<'_, Deployed>>()],
        )])
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
            &HOST_UNFIT,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
        ]),
];

async fn versions(asked: Asked) -> Result<Reply, Problem> {
    let service = asked.service()?;
    let history = asked.admin.registry.history(service.name()).await?;
    let record = &service.state().record;
    let versions = history.versions().iter().rev().map(|version| view::version(version, record)).collect();
    let (name, current_version, latest_version) = (record.name.clone(), record.version, record.latest);
    json_reply(StatusCode::OK, &Versions { name, current_version, latest_version, versions })
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
