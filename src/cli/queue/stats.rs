//! `queue stats`: shows the state of both queues.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::place;
use crate::api::{QueueState, QueueStatus};
use crate::cli::client::{AdminArgs, read};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::told::NOTHING;
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
LENGTH is the number of live items: READY for a consumer, LEASED to one, or DELAYED after a failed delivery. DEAD items
are not delivered any more; they count against the LIMIT, too. FIRST is the lowest index of a live item and AGE the time
since its put, LAST the highest index so far. The consumers are those that are connected or left within a minute; the
service's workers are one of them.

With --json, `length`, `delivered` and `dead` are those of the input queue, and `delivered` is the number of its items
that were delivered and are not finished: leased and delayed ones. `input` and `sink` have everything.

Examples:
  bulkhead queue stats resize
  bulkhead queue stats resize --json | jq .length")]
pub(super) struct StatsArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn stats(args: &StatsArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let answer = args.admin.client()?.get(&place(&args.name))?;
    if screen.is_json() {
        screen.json(&with_sums(answer))?;
        return Ok(Exit::Ok);
    }
    let QueueStatus { input, sink, .. } = read(answer)?;
    let header = ["QUEUE", "LENGTH", "READY", "LEASED", "DELAYED", "DEAD", "LIMIT", "FIRST", "LAST", "AGE", "STATE"];
    screen.table(header, [("input", &input), ("sink", &sink)].map(cells))?;
    if input.ready.iter().chain(&sink.ready).any(|ready| ready.priority > 0) {
        screen.line("")?;
        let rows = [("input", &input), ("sink", &sink)].into_iter().flat_map(|(name, queue)| {
            queue.ready.iter().map(move |ready| [name.to_owned(), ready.priority.to_string(), ready.items.to_string()])
        });
        screen.table(["QUEUE", "PRIORITY", "READY"], rows)?;
    }
    if !input.consumers.is_empty() || !sink.consumers.is_empty() {
        screen.line("")?;
        let rows = [("input", &input), ("sink", &sink)].into_iter().flat_map(|(name, queue)| {
            queue.consumers.iter().map(move |consumer| {
                let pending = format!("{}/{}", consumer.pending, consumer.window);
                let (index, idle) = (consumer.index.to_string(), seconds(consumer.idle_s));
                [name.to_owned(), consumer.id.clone(), consumer.status.to_string(), pending, index, idle]
            })
        });
        screen.table(["QUEUE", "CONSUMER", "STATUS", "PENDING", "INDEX", "IDLE"], rows)?;
    }
    Ok(Exit::Ok)
}

/// Adds the numbers of the input queue that scripts use to the answer of the host.
fn with_sums(mut answer: Value) -> Value {
    let number = |key: &str| answer["input"][key].as_u64().unwrap_or(0);
    let (length, delivered, dead) = (number("length"), number("leased") + number("delayed"), number("dead"));
    for (key, number) in [("length", length), ("delivered", delivered), ("dead", dead)] {
        answer[key] = number.into();
    }
    answer
}

fn cells((name, queue): (&str, &QueueState)) -> [String; 11] {
    let ready: u64 = queue.ready.iter().map(|ready| ready.items).sum();
    let age = if queue.length == 0 { NOTHING.to_owned() } else { seconds(queue.oldest_age_s) };
    [
        name.to_owned(),
        queue.length.to_string(),
        ready.to_string(),
        queue.leased.to_string(),
        queue.delayed.to_string(),
        queue.dead.to_string(),
        queue.limits.length.to_string(),
        queue.first.to_string(),
        queue.last.to_string(),
        age,
        if queue.ended { "Ended" } else { "Open" }.to_owned(),
    ]
}

/// A time without spaces, so that a row has as many words as columns.
fn seconds(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string().replace(' ', "")
}
