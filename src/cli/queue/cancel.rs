//! `queue cancel`: cancels the item of a request.

use clap::Args;

use super::place;
use crate::api::{CancelBody, CancelledIn, CancelledItem};
use crate::cli::client::{AdminArgs, read};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
If the processor works on the item, it is stopped, and the sink gets a result with the tag lastCode=499. An item that
waits, or that an external consumer has, is removed without a result. If the request has no such item, because it is
finished or dead, the exit code is 5.

Examples:
  bulkhead queue cancel resize 4f6d
  bulkhead queue cancel resize 4f6d --json")]
pub(super) struct CancelArgs {
    /// The service
    name: ServiceName,
    /// The request id that the put has printed
    #[arg(value_name = "REQUEST_ID")]
    request_id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn cancel(args: &CancelArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let body = CancelBody { request_id: args.request_id.clone() };
    let answer = args.admin.client()?.post_json(&format!("{}/cancel", place(&args.name)), &body)?;
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let CancelledItem { cancelled, index } = read(answer)?;
    match cancelled == CancelledIn::Running {
        true => screen.line(format_args!("item {index} was running: its processor is stopped"))?,
        false => screen.line(format_args!("item {index} was waiting: it is removed"))?,
    }
    Ok(Exit::Ok)
}
