//! Who changed what, and when.

use http::StatusCode;

use crate::admin::api::json_reply;
use crate::admin::operation::{Answer, Asked, Content, Operation, Parameter};
use crate::admin::problem::Problem;
use crate::admin::query::{CURSOR, LIMIT};
use crate::admin::{Reply, view};
use crate::api::AuditPage;
use crate::config::ServiceName;

pub(super) static ROWS: &[Operation] = &[Operation::get("/api/v1/audit", "audit", |asked| Box::pin(audit(asked)))
    .says(
        "List who asked for which change",
        "The newest first, a page at a time; the last 10,000 are kept. A change that was refused is there with the code \
         of the refusal, unless its token or its query was. What was made is written down together with its entry. \
         Uploads change no service and are not there.",
    )
    .query(&[LIMIT, CURSOR, Parameter::text("service", "Only changes of this service, which may be gone.")])
    .answers(&[Answer::ok("The entries.", &[Content::json::<AuditPage>()])])];

async fn audit(asked: Asked) -> Result<Reply, Problem> {
    let service = asked.query.parsed::<ServiceName>("service", ServiceName::ACCEPTED)?;
    let before = asked.query.parsed::<u64>("cursor", "the `next` of the page before")?;
    let limit = asked.query.limit();
    // One more than is shown tells whether there is another page.
    let service = service.as_ref().map(ServiceName::as_str);
    let mut entries = asked.admin.storage.catalog().entries(service, before, limit + 1).await?;
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| is_more).map(|last| last.number.to_string());
    let entries = entries.into_iter().map(view::audit_entry).collect();
    json_reply(StatusCode::OK, &AuditPage { entries, next })
}
