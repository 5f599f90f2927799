//! `queue get`: gets items from a queue.

use std::time::Duration;

use clap::Args;

use super::desk::{Desk, Side};
use super::{add, print, remark, tag};
use crate::cli::client::AdminArgs;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::time::span;
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
The data goes to standard output; with several items, each begins a line. The items are removed from the queue, unless
--keep is given. If there is nothing, the exit code is 5.

From the input queue, items are taken in the order of their delivery, and no processor works on them.

Examples:
  bulkhead queue get resize > small.jpg
  bulkhead queue get resize --request-id 4f6d --wait 5m
  bulkhead queue get score -n 100 --json
  bulkhead queue get score --input --keep -n 10")]
pub(super) struct GetArgs {
    /// The service
    name: ServiceName,
    /// Get from the input queue, not from the sink
    #[arg(long)]
    input: bool,
    /// The result of this request, or its item
    #[arg(short, long, value_name = "ID")]
    request_id: Option<String>,
    /// Only items with this tag; may be repeated
    #[arg(short, long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Only items with this index or a higher one
    #[arg(short, long, value_name = "INDEX", default_value_t = 0)]
    index: u64,
    /// Most items
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    count: u64,
    /// Wait this long for the first item, as 30s or 5m
    #[arg(short, long, value_name = "TIME", default_value = "0s", value_parser = span)]
    wait: Duration,
    /// Leave the items in the queue, and also print those that a consumer works on
    #[arg(short, long)]
    keep: bool,
    /// The token to send, instead of the service's own
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn get(args: &GetArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.admin, &args.name, args.token.as_deref())?;
    let side = if args.input { Side::Input } else { Side::Sink };
    let mut query = String::new();
    for (name, value) in &args.tags {
        add(&mut query, name, value);
    }
    if let Some(id) = &args.request_id {
        add(&mut query, "requestId", id);
    }
    add(&mut query, "_index_", &args.index.to_string());
    add(&mut query, "_length_", &args.count.to_string());
    add(&mut query, "_auto_delete_", if args.keep { "false" } else { "true" });
    let frames = desk.get(side, &query, args.wait)?;
    match frames.as_slice() {
        [] => {
            let queue = if args.input { "input queue" } else { "sink" };
            screen.note(format_args!("there is no such item in the {queue} of `{}`", args.name));
            return Ok(Exit::NotFound);
        }
        [only] if !screen.is_json() => {
            screen.body(&only.data)?;
            remark(only, screen);
        }
        frames => frames.iter().try_for_each(|frame| print(frame, screen))?,
    }
    Ok(Exit::Ok)
}
