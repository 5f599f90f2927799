//! `queue dead`, `queue requeue` and `queue purge`: dead letters.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::place;
use crate::api::{DeadChoice, DeadLetter, Purged, Requeued};
use crate::cli::client::{AdminArgs, Client, read};
use crate::cli::failure::{Exit, Failure};
use crate::cli::payload;
use crate::cli::screen::Screen;
use crate::cli::told::NOTHING;
use crate::config::ServiceName;

/// The largest page that a server gives.
const PAGE: usize = 1000;
/// Most indexes in one request, so that they fit into a query.
const AT_ONCE: usize = 500;

#[derive(Args, Debug)]
#[command(after_help = "\
An item is dead after its last delivery has failed (queue.max_delivery). It is kept for an operator until it is too old
(queue.retention_s): `bulkhead queue requeue` makes it ready again, `bulkhead queue purge` removes it.

With INDEX, prints the data of that dead letter, which is the body of the put.

Examples:
  bulkhead queue dead resize
  bulkhead queue dead resize 17 > photo.jpg
  bulkhead queue dead resize 17 --output photo.jpg
  bulkhead queue dead resize --json | jq '.dead[].reason.code'")]
pub(super) struct DeadArgs {
    /// The service
    name: ServiceName,
    /// The index of a dead letter
    index: Option<u64>,
    /// Write the data to this file, and print what is known of the dead letter
    #[arg(short, long, value_name = "FILE", requires = "index")]
    output: Option<PathBuf>,
    /// Most dead letters to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// The dead letters of the sink, not of the input queue
    #[arg(long)]
    sink: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(override_usage = "bulkhead queue requeue [OPTIONS] <NAME> <INDEX...|--all>")]
#[command(after_help = "\
The deliveries of the items are counted anew. Items that are not dead are passed over.

Examples:
  bulkhead queue requeue resize 17 18
  bulkhead queue requeue resize --all")]
pub(super) struct RequeueArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    choice: Choice,
    /// The dead letters of the sink, not of the input queue
    #[arg(long)]
    sink: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(override_usage = "bulkhead queue purge [OPTIONS] <NAME> <INDEX...|--all>")]
#[command(after_help = "\
Their data cannot be restored. Items that are not dead are passed over.

Examples:
  bulkhead queue purge resize 17 18
  bulkhead queue purge resize --all -y")]
pub(super) struct PurgeArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    choice: Choice,
    /// The dead letters of the sink, not of the input queue
    #[arg(long)]
    sink: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Choice {
    /// The indexes of the dead letters
    #[arg(value_name = "INDEX")]
    indexes: Vec<u64>,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

/// The parameter that names the queue, with a `?` or a `&` before it.
fn queue(sink: bool, before: char) -> String {
    if sink { format!("{before}queue=sink") } else { String::new() }
}

impl Choice {
    /// The choice in parts that fit into a request.
    fn parts(&self) -> Vec<DeadChoice> {
        if self.all {
            return vec![DeadChoice { indexes: None, all: true }];
        }
        let part = |part: &[u64]| DeadChoice { indexes: Some(part.to_vec()), all: false };
        self.indexes.chunks(AT_ONCE).map(part).collect()
    }
}

pub(super) fn dead(args: &DeadArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    match args.index {
        Some(index) => args.inspect(&client, index, screen),
        None => args.list(&client, screen),
    }
}

impl DeadArgs {
    fn list(&self, client: &Client, screen: &mut Screen) -> Result<Exit, Failure> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut dead, mut cursor, of) = (Vec::new(), String::new(), queue(self.sink, '&'));
        let next = loop {
            let page = PAGE.min(limit - dead.len());
            let mut page = client.get(&format!("{}/dead?limit={page}{cursor}{of}", place(&self.name)))?;
            match page["dead"].take() {
                Value::Array(rows) => dead.extend(rows),
                _ => return Err(anyhow::anyhow!("the server's answer has no dead letters in it").into()),
            }
            match page["next"].as_str() {
                Some(next) if dead.len() < limit => cursor = format!("&cursor={next}"),
                next => break next.map(str::to_owned),
            }
        };
        if screen.is_json() {
            screen.json(&json!({ "dead": dead, "next": next }))?;
            return Ok(Exit::Ok);
        }
        let rows: Vec<DeadLetter> = read(dead.into())?;
        if rows.is_empty() {
            screen.note(format_args!("`{}` has no dead letters", self.name));
            return Ok(Exit::Ok);
        }
        screen.table(
            ["INDEX", "REQUEST", "DIED", "DELIVERIES", "BYTES", "CODE", "REASON"],
            rows.into_iter().map(cells),
        )?;
        if next.is_some() {
            screen.note(format_args!("there are more; --limit shows more than {limit}"));
        }
        Ok(Exit::Ok)
    }

    fn inspect(&self, client: &Client, index: u64, screen: &mut Screen) -> Result<Exit, Failure> {
        let place = place(&self.name);
        let data = client.get_bytes(&format!("{place}/dead/{index}{}", queue(self.sink, '?')))?;
        if self.output.is_none() && !screen.is_json() {
            screen.body(&data)?;
            return Ok(Exit::Ok);
        }
        let mut page = client.get(&format!("{place}/dead?limit=1&cursor={index}{}", queue(self.sink, '&')))?;
        let mut known = page["dead"].get_mut(0).map(Value::take).unwrap_or_default();
        if let Some(file) = &self.output {
            fs::write(file, &data).with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        if screen.is_json() {
            if self.output.is_none() {
                let (name, body) = payload::member(&data);
                known[name] = body;
            }
            screen.json(&known)?;
            return Ok(Exit::Ok);
        }
        let known: DeadLetter = read(known)?;
        let tags: Vec<String> = known.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let rows = [
            ("Index", known.index.to_string()),
            ("RequestId", known.request_id.unwrap_or_else(|| NOTHING.to_owned())),
            ("Tags", tags.join(", ")),
            ("Priority", known.priority.to_string()),
            ("Bytes", known.bytes.to_string()),
            ("Put", known.put_at),
            ("Died", known.died_at),
            ("Deliveries", known.deliveries.to_string()),
            ("Reason", format!("{}: {}", known.reason.code, known.reason.text)),
        ];
        screen.pairs(rows.map(|(name, value)| [name.to_owned(), value]))?;
        Ok(Exit::Ok)
    }
}

pub(super) fn requeue(args: &RequeueArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let target = format!("{}/dead/requeue{}", place(&args.name), queue(args.sink, '?'));
    let mut requeued = 0;
    for part in args.choice.parts() {
        let answer: Requeued = read(client.post_json(&target, &part)?)?;
        requeued += answer.requeued;
    }
    if screen.is_json() {
        screen.json(&Requeued { requeued })?;
    } else {
        screen.line(format_args!("{} ready again", letters(requeued)))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn purge(args: &PurgeArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let name = &args.name;
    let client = args.admin.client()?;
    if !args.yes {
        let which = match &args.choice {
            Choice { all: true, .. } => "all dead letters".to_owned(),
            Choice { indexes, .. } if indexes.len() == 1 => format!("dead letter {}", indexes[0]),
            Choice { indexes, .. } => format!("{} dead letters", indexes.len()),
        };
        match screen.confirm(&format!("remove {which} of `{name}`, with their data?"))? {
            None => {
                return Err(Failure::Usage(
                    "nothing is removed: there is no terminal to ask for confirmation; pass -y".to_owned(),
                ));
            }
            Some(false) => {
                screen.note("nothing removed");
                return Ok(Exit::Failed);
            }
            Some(true) => {}
        }
    }
    let mut purged = 0;
    for part in args.choice.parts() {
        let query = match &part.indexes {
            Some(indexes) => {
                format!("indexes={}", indexes.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
            }
            None => "all=true".to_owned(),
        };
        let answer: Purged = read(client.delete(&format!("{}/dead?{query}{}", place(name), queue(args.sink, '&')))?)?;
        purged += answer.purged;
    }
    if screen.is_json() {
        screen.json(&Purged { purged })?;
    } else {
        screen.line(format_args!("{} removed", letters(purged)))?;
    }
    Ok(Exit::Ok)
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter is".to_owned() } else { format!("{count} dead letters are") }
}

fn cells(letter: DeadLetter) -> [String; 7] {
    [
        letter.index.to_string(),
        letter.request_id.unwrap_or_else(|| NOTHING.to_owned()),
        letter.died_at,
        letter.deliveries.to_string(),
        letter.bytes.to_string(),
        letter.reason.code,
        letter.reason.text,
    ]
}
