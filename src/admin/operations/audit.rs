//! The audit log.

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
        "List the requested changes and their authors",
        "Newest first, a page at a time; the last 10,000 are kept. A refused change is listed with the code of the \
         refusal, unless its admin token or its query was refused. A change is stored together with its entry. Uploads \
         change no service and are not listed.",
    )
    .query(&[LIMIT, CURSOR, Parameter::text("service", "Only changes of this service, which may have been deleted.")])
    .answers(&[Answer::ok("The entries.", &[Content::json::<AuditPage>()])])];

async fn audit(asked: Asked) -> Result<Reply, Problem> {
    let service = asked.query.parsed::<ServiceName>("service", ServiceName::ACCEPTED)?;
    let before = asked.query.parsed::<u64>("cursor", "the `next` of the previous page")?;
    let limit = asked.query.limit();
    // One entry more than is shown, to know whether there is another page.
    let service = service.as_ref().map(ServiceName::as_str);
    let mut entries = asked.admin.storage.catalog().entries(service, before, limit + 1).await?;
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| is_more).map(|last| last.number.to_string());
    let entries = entries.into_iter().map(view::audit_entry).collect();
    json_reply(StatusCode::OK, &AuditPage { entries, next })
}
