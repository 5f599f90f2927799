//! `POST /api/v1/services/{name}/token`: rotates a service's token, or retires the one before.

use http::StatusCode;
use serde::Deserialize;

use super::api::json_reply;
use super::deploy::parse;
use super::problem::Problem;
use super::{Admin, Reply};
use crate::config::Token;
use crate::registry::TokenChange;

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Body {
    Rotate { token: Option<String> },
    // Not a unit: one of those takes keys that nobody knows.
    Retire {},
}

pub(super) async fn change(admin: &Admin, name: &str, body: &[u8]) -> Result<Reply, Problem> {
    let (change, what) = match parse(body)? {
        Body::Rotate { token } => {
            // The text is not shown back: it is nearly a secret.
            let token = token.map(|text| Token::parse(&text)).transpose();
            (TokenChange::Rotate(token.map_err(|error| Problem::bad_request(error.to_string()))?), "rotated")
        }
        Body::Retire {} => (TokenChange::Retire, "retired"),
    };
    let service = admin.registry.change_token(name, change).await?;
    tracing::info!(service = name, "token {what}");
    Ok(json_reply(StatusCode::OK, &Admin::tokens(&service)))
}
