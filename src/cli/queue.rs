//! The command `queue`: the queues of an asynchronous service.
//!
//! `put`, `get` and `watch` send the requests of a caller, with the service's token, to the data listener: see [`desk`].
//! The other commands are those of an operator, and use the admin API.

mod cancel;
mod dead;
mod desk;
mod get;
mod put;
mod stats;
mod watch;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::desk::Frame;
use super::client::path;
use super::failure::{Exit, Failure};
use super::payload;
use super::screen::Screen;
use crate::config::ServiceName;

#[derive(Args, Debug)]
// `bulkhead help queue` shows the same.
#[command(
    disable_help_subcommand = true,
    after_help = "\
An asynchronous service (metadata.type: Async) has two queues. Callers put items into its input queue, the processor
works on each of them, and its answers are put into the sink, from which callers get them. An item keeps its request id
on this way.

Examples:
  bulkhead queue put resize -d @photo.jpg --wait > small.jpg
  bulkhead queue stats resize
  bulkhead queue dead resize"
)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Subcommand, Debug)]
enum QueueCommand {
    /// Put items into the input queue
    Put(put::PutArgs),
    /// Get results from the sink, or items from the input queue, and remove them
    Get(get::GetArgs),
    /// Print results as they come
    Watch(watch::WatchArgs),
    /// Show the state of both queues and their consumers
    Stats(stats::StatsArgs),
    /// List the dead letters, or print the data of one
    Dead(dead::DeadArgs),
    /// Make dead letters ready again
    Requeue(dead::RequeueArgs),
    /// Remove dead letters
    Purge(dead::PurgeArgs),
    /// Cancel the item of a request
    Cancel(cancel::CancelArgs),
}

pub(super) fn queue(args: &QueueArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    match &args.command {
        QueueCommand::Put(args) => put::put(args, screen),
        QueueCommand::Get(args) => get::get(args, screen),
        QueueCommand::Watch(args) => watch::watch(args, screen),
        QueueCommand::Stats(args) => stats::stats(args, screen),
        QueueCommand::Dead(args) => dead::dead(args, screen),
        QueueCommand::Requeue(args) => dead::requeue(args, screen),
        QueueCommand::Purge(args) => dead::purge(args, screen),
        QueueCommand::Cancel(args) => cancel::cancel(args, screen),
    }
}

/// The path of the queues of a service in the admin API.
fn place(name: &ServiceName) -> String {
    format!("{}/queue", path(name))
}

/// Parses a tag.
fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, _)) if name.starts_with('_') => {
            Err("names that begin with `_` are parameters of the protocol".to_owned())
        }
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a tag is written NAME=VALUE".to_owned()),
    }
}

/// Adds a name and a value to a query.
fn add(query: &mut String, name: &str, value: &str) {
    use std::fmt::Write as _;
    query.push(if query.is_empty() { '?' } else { '&' });
    for (place, text) in [name, value].into_iter().enumerate() {
        if place == 1 {
            query.push('=');
        }
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
                // Writing to a string does not fail.
                other => drop(write!(query, "%{other:02X}")),
            }
        }
    }
}

/// The status of a result: that of the tag `lastCode`, which a result with status 200 does not have.
fn status(frame: &Frame) -> u16 {
    frame.tags.get("lastCode").and_then(|code| code.parse().ok()).unwrap_or(200)
}

/// An item as JSON.
fn to_json(frame: &Frame) -> Value {
    let (name, body) = payload::member(&frame.data);
    json!({
        "index": frame.index,
        "request_id": frame.request_id(),
        "status": status(frame),
        "tags": frame.tags,
        name: body,
    })
}

/// Prints the data of one of several items. Each ends its line.
fn print(frame: &Frame, screen: &mut Screen) -> Result<(), Failure> {
    if screen.is_json() {
        return screen.json(&to_json(frame));
    }
    screen.body(&frame.data)?;
    screen.end_line()?;
    remark(frame, screen);
    Ok(())
}

/// Notes the status of a result if it is not 200.
fn remark(frame: &Frame, screen: &mut Screen) {
    let status = status(frame);
    if status == 200 {
        return;
    }
    let what = frame.tags.get("lastError").map(|code| format!(", {code}")).unwrap_or_default();
    screen.note(format_args!("item {} (request {}): status {status}{what}", frame.index, frame.request_id()));
}

/// Decodes the data of an item in JSON.
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_a_name_and_a_value() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(tag("a="), Ok(("a".to_owned(), String::new())));
        for wrong in ["a", "=b", "", "_index_=5"] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        let mut query = String::new();
        add(&mut query, "a b", "c&d=é");
        add(&mut query, "_index_", "5");
        assert_eq!(query, "?a%20b=c%26d%3D%C3%A9&_index_=5");
    }

    #[test]
    fn the_status_of_a_result_is_in_a_tag() {
        let mut frame = Frame { index: 7, tags: [("requestId".to_owned(), "r".to_owned())].into(), data: b"x".into() };
        assert_eq!(
            to_json(&frame),
            json!({"index": 7, "request_id": "r", "status": 200, "tags": {"requestId": "r"}, "body": "x"})
        );
        frame.tags.insert("lastCode".to_owned(), "499".to_owned());
        assert_eq!(status(&frame), 499);
    }
}
