//! Mirrors: copies of a service's requests for another service.

use std::sync::Arc;

use http::StatusCode;

use crate::admin::api::{json_body, json_reply, parse};
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{MIRROR_REFUSED, SERVICE_NOT_FOUND};
use crate::admin::{Reply, conditions};
use crate::api::{MirrorBody, MirrorOf};
use crate::registry::Service;

pub(super) static ROWS: &[Operation] = &[
    Operation::get("/api/v1/services/{name}/mirror", "getMirror", |asked| {
        Box::pin(async move { told(&*asked.service()?) })
    })
    .tagged()
    .says("Show where copies of a service's requests go", "")
    .answers(&[Answer::ok("The mirror.", &[Content::json::<MirrorOf>()])])
    .refuses(&[&SERVICE_NOT_FOUND]),
    Operation::put("/api/v1/services/{name}/mirror", "setMirror", |asked| Box::pin(set(asked)))
        .changes("mirror_on")
        .tagged()
        .says(
            "Copy a service's requests to another service",
            "The answers to the copies are dropped. No version is made, and no guest is replaced.",
        )
        .takes(&[Content::json::<MirrorBody>()])
        .answers(&[Answer::ok("The mirror is set.", &[Content::json::<MirrorOf>()])])
        .refuses(&[&SERVICE_NOT_FOUND, &MIRROR_REFUSED]),
    Operation::delete("/api/v1/services/{name}/mirror", "deleteMirror", |asked| Box::pin(end(asked)))
        .changes("mirror_off")
        .tagged()
        .says("Stop copying requests", "It is not an error if there is no mirror.")
        .answers(&[Answer::ok("The service has no mirror.", &[Content::json::<MirrorOf>()])])
        .refuses(&[&SERVICE_NOT_FOUND]),
];

fn told(service: &Service) -> Result<Reply, Problem> {
    let record = Arc::clone(&service.state().record);
    let mirror = record.mirror.clone().map(Into::into);
    let reply = json_reply(StatusCode::OK, &MirrorOf { name: service.name().to_owned(), mirror })?;
    Ok(conditions::tagged(reply, record.revision))
}

async fn set(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?, asked.order().clone());
    let MirrorBody { target, ratio } = parse(&json_body(&asked.headers, asked.body).await?)?;
    told(&*asked.admin.registry.set_mirror(name.as_str(), &order, Some((target, ratio))).await?)
}

async fn end(asked: Asked) -> Result<Reply, Problem> {
    told(&*asked.admin.registry.set_mirror(asked.name()?.as_str(), asked.order(), None).await?)
}
