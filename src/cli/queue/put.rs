//! `queue put`: puts items into the input queue, and may wait for their results.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use ureq::http::header::{HeaderName, HeaderValue};

use super::desk::{Desk, Found, Frame, NewItem, Receipt, Side, header, random_id};
use super::{add, print, remark, status, tag, to_json};
use crate::cli::client::AdminArgs;
use crate::cli::failure::{Exit, Failure};
use crate::cli::invoke;
use crate::cli::payload;
use crate::cli::screen::Screen;
use crate::cli::time::time;
use crate::config::ServiceName;

/// The highest priority of the queue protocol, which a host checks too.
const HIGHEST_PRIORITY: i64 = 100;
/// The first wait for a result before the item itself is looked for, and the later ones.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
// The usage that clap makes names the items before the service.
#[command(override_usage = "bulkhead queue put [OPTIONS] <NAME> <FILE|--body <DATA>|--lines <FILE>>...")]
#[command(after_help = "\
The command ends when the items are on the host's disk. Each put has an idempotency key of its own, so it is repeated
after a broken connection or a full queue without putting an item twice.

With --wait, the command then gets each result from the sink, as `bulkhead queue get --request-id` does, and prints it.
If the status of a result is not 200, the exit code is that of a request with this status. A processor that answers with
status 200 and an empty body makes no result; the command says so.

Examples:
  bulkhead queue put resize -d @photo.jpg --tag size=small
  bulkhead queue put resize photos/a.jpg photos/b.jpg --priority 10
  bulkhead queue put score --lines rows.ndjson --json
  bulkhead queue put score -d '[1, 2]' --wait")]
pub(super) struct PutArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    content: Content,
    /// A tag, by which consumers can choose items; may be repeated. Results have the tags of their items
    #[arg(short, long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// The priority, 0 to 100; items of a higher priority are delivered first
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=HIGHEST_PRIORITY))]
    priority: u8,
    /// The path after the service's name, which the processor gets
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// A header that the processor gets; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = invoke::header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The idempotency key of the put of a single item: within 24 hours, a put with the same key and the same content
    /// puts no second item [default: a random one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait for the results, and print them
    #[arg(short, long)]
    wait: bool,
    /// Longest time to wait for all results
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, requires = "wait")]
    timeout: Duration,
    /// The token to send, instead of the service's own
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Content {
    /// Files, each of which is an item
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An item: text, @FILE, or - for standard input; may be repeated
    #[arg(short = 'd', long = "body", value_name = "DATA")]
    bodies: Vec<String>,
    /// A file of which each line is an item, or - for standard input; empty lines are left out
    #[arg(short, long, value_name = "FILE")]
    lines: Option<PathBuf>,
}

/// The content of an item that is still to be read.
enum Source {
    Read(Vec<u8>),
    File(PathBuf),
}

pub(super) fn put(args: &PutArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let sources = args.content.sources()?;
    if args.idempotency_key.is_some() && sources.len() != 1 {
        return Err(Failure::Usage(format!("--idempotency-key is for one item, and there are {}", sources.len())));
    }
    let desk = Desk::open(&args.admin, &args.name, args.token.as_deref())?;
    let receipts = args.put_all(&desk, sources, screen)?;
    match args.wait {
        true => args.wait_for_all(&desk, &receipts, screen),
        false => Ok(Exit::Ok),
    }
}

impl Content {
    fn sources(&self) -> Result<Vec<Source>, Failure> {
        let mut sources: Vec<_> = self.files.iter().cloned().map(Source::File).collect();
        for data in &self.bodies {
            sources.push(Source::Read(payload::read(data)?));
        }
        if let Some(file) = &self.lines {
            let text = match file.to_str() {
                Some("-") => payload::read("-")?,
                _ => fs::read(file).with_context(|| format!("cannot read the lines of `{}`", file.display()))?,
            };
            let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
            sources.extend(lines.filter(|line| !line.is_empty()).map(|line| Source::Read(line.to_vec())));
        }
        Ok(sources)
    }
}

impl Source {
    fn read(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Read(data) => Ok(data),
            Self::File(file) => Ok(fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?),
        }
    }
}

impl PutArgs {
    /// Puts the items in their order, and prints a line for each.
    fn put_all(&self, desk: &Desk, sources: Vec<Source>, screen: &mut Screen) -> Result<Vec<Receipt>, Failure> {
        let target = self.target();
        let total = sources.len();
        // A single item is put before a bar could be read.
        let bar = (total > 1).then(|| screen.count("put", total as u64));
        let mut receipts = Vec::with_capacity(total);
        for source in sources {
            let key = self.idempotency_key.clone().unwrap_or_else(random_id);
            let put = source.read().and_then(|data| {
                desk.put(&NewItem { target: target.clone(), headers: self.headers.clone(), data, key: header(&key)? })
            });
            let receipt = put.inspect_err(|_| {
                if total > 1 {
                    screen.note(format_args!("{} of {total} items were put before this failed", receipts.len()));
                }
            })?;
            // With --wait, only the results are printed.
            if !self.wait {
                above(bar.as_ref(), || told(&receipt, screen))?;
            }
            if let Some(bar) = &bar {
                bar.inc(1);
            }
            receipts.push(receipt);
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(receipts)
    }

    /// The path and the query of the puts.
    fn target(&self) -> String {
        let slash = if self.path.is_empty() || self.path.starts_with('/') { "" } else { "/" };
        let mut query = String::new();
        for (name, value) in &self.tags {
            add(&mut query, name, value);
        }
        if self.priority > 0 {
            add(&mut query, "_priority_", &self.priority.to_string());
        }
        format!("{slash}{}{query}", self.path)
    }

    /// Gets and prints the results in the order of the items. Returns the first exit code that is not 0.
    fn wait_for_all(&self, desk: &Desk, receipts: &[Receipt], screen: &mut Screen) -> Result<Exit, Failure> {
        let until = Instant::now() + self.timeout;
        let bar = (receipts.len() > 1).then(|| screen.count("results", receipts.len() as u64));
        let mut exit = Exit::Ok;
        for receipt in receipts {
            let result = wait_for(desk, receipt, until, self.timeout)?;
            above(bar.as_ref(), || show(receipt, result.as_ref(), receipts.len(), screen))?;
            if exit == Exit::Ok {
                exit = Exit::of_status(result.as_ref().map_or(200, status));
            }
            if let Some(bar) = &bar {
                bar.inc(1);
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(exit)
    }
}

/// Prints while a bar is drawn.
fn above(bar: Option<&ProgressBar>, print: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    match bar {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Prints the result of one of `total` items.
fn show(receipt: &Receipt, result: Option<&Frame>, total: usize, screen: &mut Screen) -> Result<(), Failure> {
    let Receipt { index, request_id, .. } = receipt;
    match result {
        _ if screen.is_json() => {
            screen.json(&json!({ "index": index, "request_id": request_id, "result": result.map(to_json) }))?;
        }
        Some(result) if total == 1 => {
            screen.body(&result.data)?;
            remark(result, screen);
        }
        Some(result) => print(result, screen)?,
        None => screen.note(format_args!("item {index} is finished, and has no result: the answer was empty")),
    }
    Ok(())
}

/// Prints the answer to a put.
fn told(receipt: &Receipt, screen: &mut Screen) -> Result<(), Failure> {
    let Receipt { index, request_id, repeated } = receipt;
    if screen.is_json() {
        return screen.json(&json!({ "index": index, "request_id": request_id }));
    }
    if *repeated {
        screen.note(format_args!("item {index} had been put before, with the same idempotency key"));
    }
    screen.line(format_args!("item {index}, request {request_id}"))
}

/// Waits for the result of an item and takes it out of the sink; `None` if the item is finished without a result.
fn wait_for(desk: &Desk, receipt: &Receipt, until: Instant, whole: Duration) -> Result<Option<Frame>, Failure> {
    let (name, index, id) = (desk.name(), receipt.index, receipt.request_id.as_str());
    let mut query = String::new();
    add(&mut query, "requestId", id);
    let mut look = FIRST_LOOK;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if let Some(result) = desk.get(Side::Sink, &query, left.min(look))?.into_iter().next() {
            return Ok(Some(result));
        }
        match desk.find(index)? {
            Found::Live => {}
            Found::Dead => {
                return Err(Failure::Missing(format!(
                    "item {index} is dead: it will have no result\n\
                     hint: `bulkhead queue dead {name} {index}` has the reason and the data"
                )));
            }
            // The result is put as the item is removed. It may have come after the first look.
            Found::Nowhere => return Ok(desk.get(Side::Sink, &query, Duration::ZERO)?.into_iter().next()),
        }
        if left.is_zero() {
            let told = humantime::format_duration(whole);
            return Err(Failure::Unreachable {
                what: format!(
                    "no result of item {index} within {told}; it stays in the queue\n\
                     hint: `bulkhead queue get {name} --request-id {id} --wait 1h` gets the result"
                ),
                hint: None,
            });
        }
        look = LOOK;
    }
}
