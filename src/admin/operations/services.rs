//! The list of services, and the operations on one.

use std::sync::Arc;

use http::StatusCode;

use crate::admin::api::{empty_reply, json_body, json_reply};
use crate::admin::deploy::Deploy;
use crate::admin::operation::{Answer, Asked, Content, Operation, Parameter};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{
    ARTIFACT_DAMAGED, ARTIFACT_MISSING, CANARY_TOKEN, CANARY_UNDER_WAY, HOST_UNFIT, INVALID_SERVICE_FILE,
    MIRROR_REFUSED, NAME_TAKEN, NO_PROCESSOR, NO_ROOM, NOT_RUNNING, OTHER_TYPE, PROCESSOR_REFUSED, QUEUE_NOT_EMPTY,
    SERVICE_EXISTS, SERVICE_NOT_FOUND, VERSION_NOT_FOUND,
};
use crate::admin::query::{CURSOR, LIMIT};
use crate::admin::{Reply, conditions, view};
use crate::api::{Changed, CreateBody, Deployed, Description, Event, ModifyBody, ServiceList};
use crate::config::ServiceName;
use crate::registry::Service;

pub(super) const PROGRESS: &str = "If `Accept` names `application/x-ndjson`, the answer has a line for each step as it \
    begins, and a last line with the outcome. Its status is then 200, whatever the outcome.";

const MODIFY: &str = "A change that makes no difference makes no version, and its answer has `unchanged`. A change of \
    the token alone, or of the paths that files were uploaded from, makes no version either. If `Accept` names \
    `application/x-ndjson`, the answer has a line for each step as it begins, and a last line with the outcome. Its \
    status is then 200, whatever the outcome.";

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services", "listServices", |asked| Box::pin(async move { list(&asked) }))
        .says("List the services", "Sorted by name, a page at a time.")
        .query(&[
            LIMIT,
            CURSOR,
            Parameter::text("prefix", "Only services whose names begin with this."),
            Parameter::word("state", "Only services in this state.", &["starting", "running", "stopped", "failed"]),
        ])
        .answers(&[Answer::ok("The services.", &[Content::json::<ServiceList>()])]),
    Operation::post("/api/v1/services", "createService", |asked| Box::pin(create(asked)))
        .changes("create")
        .tagged()
        .says("Create a service", PROGRESS)
        .takes(&[Content::json::<CreateBody>()])
        .answers(&[
            Answer::new(StatusCode::CREATED, "The service is ready.", &[Content::json::<Deployed>()]),
            Answer::ok("The steps of the deploy, as they begin.", &[Content::lines::<Event<'_, Deployed>>()]),
        ])
        .refuses(&[
            &INVALID_SERVICE_FILE,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &HOST_UNFIT,
            &SERVICE_EXISTS,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
            &NAME_TAKEN,
            &MIRROR_REFUSED,
        ]),
    Operation::get("/api/v1/services/{name}", "getService", |asked| Box::pin(async move { describe(&asked) }))
        .tagged()
        .says(
            "Describe a service",
            "The tag, and so 304, is about the changes that operators make. The present state of the instances does \
             not affect it; the list of instances shows that state.",
        )
        .answers(&[
            Answer::ok("The service.", &[Content::json::<Description>()]),
            Answer::new(StatusCode::NOT_MODIFIED, "The service still has a tag that the client knows.", &[]),
        ])
        .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::put("/api/v1/services/{name}", "modifyService", |asked| Box::pin(modify(asked)))
        .changes("modify")
        .tagged()
        .says("Change a service", MODIFY)
        .takes(&[Content::json::<ModifyBody>()])
        .answers(&[Answer::ok(
            "The new version has taken over, or none was needed.",
            &[Content::json::<Deployed>(), Content::lines::<Event<'_, Deployed>>()],
        )])
        .refuses(&[
            &INVALID_SERVICE_FILE,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &HOST_UNFIT,
            &SERVICE_NOT_FOUND,
            &ARTIFACT_DAMAGED,
            &ARTIFACT_MISSING,
            &CANARY_UNDER_WAY,
            &CANARY_TOKEN,
            &NAME_TAKEN,
            &MIRROR_REFUSED,
            &NOT_RUNNING,
            &NO_PROCESSOR,
            &OTHER_TYPE,
        ]),
    Operation::delete("/api/v1/services/{name}", "deleteService", |asked| Box::pin(delete(asked)))
        .changes("delete")
        .says(
            "Delete a service",
            "Its versions and tokens are deleted with it. Its files are removed once no other service needs them.",
        )
        .query(&[Parameter::text(
            "drop_items",
            "`true` deletes an asynchronous service with the items of its queues. Otherwise it must have none.",
        )])
        .answers(&[Answer::ok("The service is deleted.", &[Content::json::<Changed>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &QUEUE_NOT_EMPTY]),
    Operation::post("/api/v1/services/{name}/stop", "stopService", |asked| Box::pin(stop(asked)))
        .changes("stop")
        .tagged()
        .says("Stop a service", "The service is kept, and its requests get 503. Running requests are finished.")
        .answers(&[Answer::ok("The service is stopped.", &[Content::json::<Changed>()])])
        .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::post("/api/v1/services/{name}/start", "startService", |asked| Box::pin(start(asked)))
        .changes("start")
        .tagged()
        .says("Start a service", "The service may be stopped or have failed. A running service keeps running.")
        .answers(&[Answer::ok("The service is running.", &[Content::json::<Changed>()])])
        .refuses(&[
            &SERVICE_NOT_FOUND,
            &PROCESSOR_REFUSED,
            &NO_ROOM,
            &HOST_UNFIT,
            &INVALID_SERVICE_FILE,
            &ARTIFACT_DAMAGED,
            &NO_PROCESSOR,
            &ARTIFACT_MISSING,
            &VERSION_NOT_FOUND,
        ]),
];

fn list(asked: &Asked) -> Result<Reply, Problem> {
    let after = asked.query.parsed::<ServiceName>("cursor", "the `next` of the previous page")?;
    let (prefix, state) = (asked.query.text("prefix").unwrap_or_default(), asked.query.text("state"));
    let is_wanted = |service: &Arc<Service>| {
        let is_after = after.as_ref().is_none_or(|after| service.name() > after.as_str());
        let is_in = |state| service.state().phase.name() == state;
        is_after && service.name().starts_with(prefix) && state.is_none_or(is_in)
    };
    let mut wanted = asked.admin.registry.list().into_iter().filter(is_wanted);
    let services: Vec<_> = wanted.by_ref().take(asked.query.limit()).collect();
    let next = wanted.next().and(services.last()).map(|last| last.name().to_owned());
    let services = services.iter().map(|service| asked.admin.row(service)).collect();
    json_reply(StatusCode::OK, &ServiceList { services, next })
}

async fn create(asked: Asked) -> Result<Reply, Problem> {
    let order = asked.order().clone();
    let body = json_body(&asked.headers, asked.body).await?;
    Deploy::create(&body)?.answer(asked.admin, order, &asked.headers).await
}

fn describe(asked: &Asked) -> Result<Reply, Problem> {
    let service = asked.service()?;
    let described = asked.admin.description(&service);
    let revision = described.revision;
    if conditions::is_known(&asked.headers, revision)? {
        return Ok(conditions::tagged(empty_reply(StatusCode::NOT_MODIFIED), revision));
    }
    Ok(conditions::tagged(json_reply(StatusCode::OK, &described)?, revision))
}

async fn modify(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?, asked.order().clone());
    let body = json_body(&asked.headers, asked.body).await?;
    Deploy::modify(name.as_str(), &body)?.answer(asked.admin, order, &asked.headers).await
}

async fn delete(asked: Asked) -> Result<Reply, Problem> {
    let name = asked.name()?;
    let drops_items = asked.query.parsed::<bool>("drop_items", "true or false")?.unwrap_or(false);
    asked.admin.registry.delete(name.as_str(), asked.order(), drops_items).await?;
    tracing::info!(service = name.as_str(), "service deleted");
    json_reply(StatusCode::OK, &Changed { name: name.to_string(), state: "deleted".to_owned() })
}

async fn stop(asked: Asked) -> Result<Reply, Problem> {
    view::changed(&*asked.admin.registry.stop(asked.name()?.as_str(), asked.order()).await?)
}

async fn start(asked: Asked) -> Result<Reply, Problem> {
    view::changed(&*asked.admin.registry.start(asked.name()?.as_str(), asked.order()).await?)
}
