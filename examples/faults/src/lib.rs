//! Misbehaves on request, to show every answer of the host.
//!
//! The body says what to do: `{"do": "panic"}`. `deed.rs` lists all actions. `model_config` can make `initialize` fail
//! in the same ways.

mod deed;
mod inspect;
mod outside;
mod strain;
mod streaming;

use std::{fs, thread, time::Duration};

use bulkhead_guest::{BatchProcessor, Error, Level, Model, Processor, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::deed::{Deed, Shape};

struct Faults {
    model: Model,
    /// The number of calls of this instance, including the current one.
    calls: u64,
    /// The number of calls in the current batch; 0 outside a batch.
    batch: usize,
}

/// The service file's `model_config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    initialize: Start,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    #[default]
    Ok,
    Fail,
    Panic,
    Loop,
    /// Succeeds only while the model's entry can be read.
    Model,
    /// Counts its runs in the key-value store.
    Count,
    /// Sends a request to `localhost:1`, and does not mind if there is no answer.
    Ask,
}

impl Processor for Faults {
    fn initialize(model: &Model) -> Result<Self, Error> {
        let config = match model.config.trim() {
            "" => Config::default(),
            text => serde_json::from_str(text)?,
        };
        match config.initialize {
            Start::Ok => Ok(Self::new(model)),
            Start::Fail => Err(Error::new(0, "initialize failed because model_config says so")),
            Start::Panic => panic!("initialize panicked because model_config says so"),
            Start::Loop => strain::spin(),
            Start::Model => match model.entry_path().map(fs::read) {
                Some(Ok(_)) => Ok(Self::new(model)),
                Some(Err(error)) => Err(Error::new(0, format_args!("the model cannot be read: {error}"))),
                None => Err(Error::new(0, "there is no model to read")),
            },
            Start::Count => outside::count().map(|()| Self::new(model)),
            Start::Ask => outside::ask().map(|()| Self::new(model)),
        }
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        self.calls += 1;
        let deed = match request.query.as_deref() {
            Some("do=inspect") if request.body.is_empty() => Deed::Inspect,
            _ => serde_json::from_slice(&request.body)
                .map_err(|error| Error::new(422, format_args!("the body does not say what to do: {error}")))?,
        };
        match deed {
            Deed::Panic { message } => panic!("{message}"),
            Deed::Trap => strain::trap(),
            Deed::Loop => strain::spin(),
            Deed::Recurse { large: false } => answer(&json!({ "depth": strain::descend(0) })),
            Deed::Recurse { large: true } => answer(&json!({ "depth": strain::descend_with_room(0) })),
            Deed::Alloc { mib } => answer(&json!({ "mib": strain::allocate(mib) })),
            Deed::Burn { rounds } => answer(&json!({ "value": strain::burn(rounds) })),
            Deed::Sleep { ms } => {
                thread::sleep(Duration::from_millis(ms));
                answer(&json!({ "slept_ms": ms }))
            }
            Deed::Status { status, message, shape: Shape::Error } => Err(Error::new(status, message)),
            Deed::Status { status, message, shape: Shape::Response } => Ok(Response::text(message).with_status(status)),
            Deed::Headers { headers, status, body } => Ok(Response { status, headers, ..Response::text(body) }),
            Deed::Body { bytes } => Ok(Response::new(vec![b'x'; bytes]).with_content_type("application/octet-stream")),
            Deed::Log { lines, bytes } => {
                for _ in 0..lines {
                    request.log(Level::Info, "x".repeat(bytes));
                }
                answer(&json!({ "lines": lines }))
            }
            Deed::Batch { .. } => answer(&json!({ "batch": self.batch, "request_id": request.request_id() })),
            Deed::Stream { pieces, bytes, pause_ms, end } => {
                streaming::stream(pieces, bytes, Duration::from_millis(pause_ms), end)
            }
            Deed::Flag => answer(&json!({ "calls": self.calls })),
            Deed::Inspect => answer(&inspect::sight(&self.model, &request)),
        }
    }
}

impl BatchProcessor for Faults {
    /// Answers the calls one after the other: this example shows how batches fail, not how they save time.
    fn process_batch(&mut self, requests: Vec<Request>) -> Vec<Result<Response, Error>> {
        self.batch = requests.len();
        let miscounts =
            |request: &Request| matches!(serde_json::from_slice(&request.body), Ok(Deed::Batch { miscount: true }));
        let miscounted = requests.iter().any(miscounts);
        let mut answers: Vec<_> = requests.into_iter().map(|request| self.process(request)).collect();
        if miscounted {
            answers.pop();
        }
        self.batch = 0;
        answers
    }
}

impl Faults {
    fn new(model: &Model) -> Self {
        Self { model: model.clone(), calls: 0, batch: 0 }
    }
}

fn answer(value: &impl Serialize) -> Result<Response, Error> {
    Ok(Response::json_bytes(serde_json::to_vec(value)?))
}

bulkhead_guest::export_batch!(Faults);

#[cfg(test)]
mod tests;
