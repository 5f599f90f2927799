//! The tokens that callers of a service send.

use http::StatusCode;

use crate::admin::api::{json_body, json_reply, parse};
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::admin::problem::kinds::{SERVICE_IS_PUBLIC, SERVICE_NOT_FOUND, TWO_TOKENS};
use crate::admin::{Admin, Reply, conditions};
use crate::api::{TokenBody, Tokens};
use crate::config::Token;
use crate::registry::TokenChange;

pub(super) static ROWS: &[Operation] = &[Operation::post("/api/v1/services/{name}/token", "changeToken", |asked| {
    Box::pin(change(asked))
})
.changes("token")
.tagged()
.says(
    "Rotate a service's token, or retire the previous one",
    "After a rotation both tokens are accepted until the previous one is retired. No version is made, and no guest is \
     replaced. A change that is already in effect is not an error.",
)
.takes(&[Content::json::<TokenBody>()])
.answers(&[Answer::ok("The present tokens.", &[Content::json::<Tokens>()])])
.refuses(&[&SERVICE_NOT_FOUND, &SERVICE_IS_PUBLIC, &TWO_TOKENS])];

async fn change(asked: Asked) -> Result<Reply, Problem> {
    let (name, order) = (asked.name()?, asked.order().clone());
    let (change, what) = match parse(&json_body(&asked.headers, asked.body).await?)? {
        TokenBody::Rotate { token } => {
            // The error does not repeat the text, which is nearly a secret.
            let token = token.map(|text| Token::parse(&text)).transpose();
            (TokenChange::Rotate(token.map_err(|error| Problem::bad_request(error.to_string()))?), "rotated")
        }
        TokenBody::Retire {} => (TokenChange::Retire, "retired"),
    };
    let service = asked.admin.registry.change_token(name.as_str(), &order, change).await?;
    tracing::info!(service = name.as_str(), "token {what}");
    let revision = service.state().record.revision;
    Ok(conditions::tagged(json_reply(StatusCode::OK, &Admin::tokens(&service))?, revision))
}
