//! The instances of a service: their state, and their replacement.

use http::StatusCode;

use crate::admin::api::json_reply;
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{
    ARTIFACT_DAMAGED, ARTIFACT_MISSING, HOST_UNFIT, INSTANCE_NOT_FOUND, INVALID_SERVICE_FILE, NO_ROOM, NOT_RUNNING,
    PROCESSOR_REFUSED, SERVICE_NOT_FOUND, VERSION_NOT_FOUND,
};
use crate::admin::{Reply, view};
use crate::api::{Changed, InstanceList};
use crate::quoted::Quoted;

const WITHOUT_A_GAP: &str = "Requests go to the old instance until the new one is ready. The old one then finishes its \
    running requests. The service itself does not change, so its tag stays the same.";

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services/{name}/instances", "listInstances", |asked| Box::pin(async move { list(&asked) }))
        .says(
            "List the instances of a service",
            "The instances of the current version come first, then those of a canary. The answer shows their present \
             state.",
        )
        .answers(&[Answer::ok("The instances.", &[Content::json::<InstanceList>()])])
        .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::post("/api/v1/services/{name}/restart", "restartService", |asked| Box::pin(restart(asked)))
        .changes("restart")
        .tagged()
        .says("Replace every instance of a service", WITHOUT_A_GAP)
        .answers(&[Answer::ok("All instances have been replaced.", &[Content::json::<Changed>()])])
        .refuses(&[
            &SERVICE_NOT_FOUND,
            &NOT_RUNNING,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &HOST_UNFIT,
            &INVALID_SERVICE_FILE,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
            &VERSION_NOT_FOUND,
        ]),
    Operation::post("/api/v1/services/{name}/instances/{index}/restart", "restartInstance", |asked| {
        Box::pin(restart_instance(asked))
    })
    .changes("restart_instance")
    .tagged()
    .says("Replace one instance of a service", WITHOUT_A_GAP)
    .answers(&[Answer::ok("The instance has been replaced.", &[Content::json::<Changed>()])])
    .refuses(&[&SERVICE_NOT_FOUND, &INSTANCE_NOT_FOUND, &NOT_RUNNING, &PROCESSOR_REFUSED, &NO_ROOM, &HOST_UNFIT]),
];

fn list(asked: &Asked) -> Result<Reply, Problem> {
    json_reply(StatusCode::OK, &view::instances(&*asked.service()?, &asked.admin.data_url))
}

async fn restart(asked: Asked) -> Result<Reply, Problem> {
    let restarted = asked.admin.registry.restart(asked.name()?.as_str(), asked.order()).await?;
    view::changed(&restarted)
}

async fn restart_instance(asked: Asked) -> Result<Reply, Problem> {
    let index = asked.place("index");
    let index = index.parse().map_err(|_| {
        Problem::bad_request(format!("instances are numbered from 0, and {} is not a number", Quoted(index)))
    })?;
    let restarted = asked.admin.registry.restart_instance(asked.name()?.as_str(), asked.order(), index).await?;
    view::changed(&restarted)
}
