//! The gateway within a host: the routes for names that are not services of this host.

use http::StatusCode;

use crate::admin::Reply;
use crate::admin::api::json_reply;
use crate::admin::operation::{Answer, Asked, Content, Operation};
use crate::admin::problem::Problem;
use crate::api::GatewayView;
use crate::gateway::Gateway;

pub(super) static ROWS: &[Operation] =
    &[Operation::get("/api/v1/upstreams", "listUpstreams", |asked| Box::pin(async move { list(&asked) }))
        .says(
            "List the routes to other hosts, and the state of these hosts",
            "Empty if the host was started without `--gateway`.",
        )
        .answers(&[Answer::ok("Clusters with their upstreams, and routes.", &[Content::json::<GatewayView>()])])];

fn list(asked: &Asked) -> Result<Reply, Problem> {
    let view = asked.admin.gateway.as_deref().map(Gateway::description).unwrap_or_default();
    json_reply(StatusCode::OK, &view)
}
