//! `list`, `desc`, `stop`, `start` and `delete`: what is there, and the switches.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::client::AdminArgs;
use super::failure::{Exit, Failure};
use super::screen::Screen;
use super::versions::Canary;
use crate::config::ServiceName;

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    state: String,
    version: u64,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    weight: u64,
    #[serde(default)]
    traffic_state: String,
    instances: u64,
    workers: u64,
    url: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct Description {
    name: String,
    state: String,
    #[serde(default)]
    message: Option<String>,
    version: u64,
    #[serde(default)]
    canary: Option<Canary>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    weight: u64,
    #[serde(default)]
    traffic_state: String,
    url: String,
    token: Option<String>,
    #[serde(default)]
    previous_token: Option<String>,
    created_at: String,
    updated_at: String,
    processor: Artifact,
    #[serde(default)]
    model: Vec<Value>,
    #[serde(default)]
    ignored: Vec<String>,
    #[serde(default)]
    snapshot: Option<Snapshot>,
    #[serde(default)]
    recycled: BTreeMap<String, u64>,
    #[serde(default)]
    instances: Vec<Instance>,
    spec: Value,
}

#[derive(Deserialize)]
struct Snapshot {
    taken: bool,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Artifact {
    sha256: String,
    bytes: u64,
}

#[derive(Deserialize)]
struct Instance {
    index: u64,
    workers: u64,
    busy: u64,
    queued: u64,
    max_queue_size: u64,
    restarts: u64,
}

pub(super) fn list(args: &ListArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let answer = args.admin.client()?.get("/api/v1/services")?;
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Row> = read(answer.get("services").cloned().unwrap_or_default())?;
    if rows.is_empty() {
        screen.note("no services yet; `bulkhead create FILE` makes one");
        return Ok(Exit::Ok);
    }
    let header = ["NAME", "STATE", "VERSION", "INSTANCES", "WORKERS", "GROUP", "WEIGHT", "UPDATED", "URL"];
    let cells = |row: Row| {
        let (instances, workers) = (row.instances.to_string(), row.workers.to_string());
        let (group, weight) = part(row.group, row.weight, &row.traffic_state);
        [row.name, row.state, row.version.to_string(), instances, workers, group, weight, row.updated_at, row.url]
    };
    screen.table(header, rows.into_iter().map(cells))?;
    Ok(Exit::Ok)
}

pub(super) fn desc(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let answer = args.admin.client()?.get(&path(&args.name))?;
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let service: Description = read(answer)?;
    service.show(screen)?;
    Ok(Exit::Ok)
}

pub(super) fn stop(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    switch(args, "stop", screen)
}

pub(super) fn start(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    switch(args, "start", screen)
}

fn switch(args: &ServiceArgs, verb: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    let answer = args.admin.client()?.post(&format!("{}/{verb}", path(&args.name)))?;
    settled(&args.name, &answer, screen)
}

pub(super) fn delete(args: &DeleteArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let name = &args.service.name;
    let client = args.service.admin.client()?;
    if !args.yes {
        let question = format!("delete service `{name}`, with its versions and its token?");
        match screen.confirm(&question)? {
            None => {
                return Err(Failure::Usage(format!(
                    "not deleting `{name}` unasked: there is no terminal to ask at; pass -y"
                )));
            }
            Some(false) => {
                screen.note("nothing deleted");
                return Ok(Exit::Failed);
            }
            Some(true) => {}
        }
    }
    let answer = client.delete(&path(name))?;
    settled(name, &answer, screen)
}

/// The group of a service and what it has of its requests; dashes where there is none.
fn part(group: Option<String>, weight: u64, traffic_state: &str) -> (String, String) {
    match group {
        None => ("-".to_owned(), "-".to_owned()),
        Some(group) if traffic_state == "standalone" => (group, "standalone".to_owned()),
        Some(group) => (group, weight.to_string()),
    }
}

fn settled(name: &ServiceName, answer: &Value, screen: &mut Screen) -> Result<Exit, Failure> {
    if screen.is_json() {
        screen.json(answer)?;
    } else {
        let state = answer.get("state").and_then(Value::as_str).unwrap_or("in an unknown state");
        screen.line(format_args!("service `{name}` is {state}"))?;
    }
    Ok(Exit::Ok)
}

impl Description {
    fn show(self, screen: &mut Screen) -> Result<(), Failure> {
        let state = match self.message.as_deref() {
            None | Some("") => self.state,
            Some(message) => format!("{} ({message})", self.state),
        };
        let version = match self.canary {
            None => self.version.to_string(),
            Some(canary) => format!("{}; {}", self.version, canary.told()),
        };
        let digest = self.processor.sha256.get(..12).unwrap_or(&self.processor.sha256);
        let mut rows = vec![
            ["name".to_owned(), self.name],
            ["state".to_owned(), state],
            ["version".to_owned(), version],
            ["url".to_owned(), self.url],
            ["token".to_owned(), self.token.unwrap_or_else(|| "none: anybody may call it".to_owned())],
        ];
        if let Some(previous) = self.previous_token {
            rows.push(["previous token".to_owned(), previous]);
        }
        rows.extend([
            ["created".to_owned(), self.created_at],
            ["updated".to_owned(), self.updated_at],
            ["processor".to_owned(), format!("{digest}…, {} bytes", self.processor.bytes)],
            ["model".to_owned(), format!("{} files", self.model.len())],
        ]);
        if let (group, weight) = part(self.group, self.weight, &self.traffic_state)
            && group != "-"
        {
            rows.push(["group".to_owned(), format!("{group}, weight {weight}")]);
        }
        if let Some(snapshot) = self.snapshot {
            rows.push(["snapshot".to_owned(), snapshot.told()]);
        }
        if !self.recycled.is_empty() {
            let told = self.recycled.iter().map(|(reason, count)| format!("{count} for their {reason}"));
            rows.push(["recycled".to_owned(), told.collect::<Vec<_>>().join(", ")]);
        }
        if !self.ignored.is_empty() {
            rows.push(["ignored".to_owned(), self.ignored.join(", ")]);
        }
        screen.pairs(rows)?;
        if !self.instances.is_empty() {
            screen.line("")?;
            let header = ["INSTANCE", "WORKERS", "BUSY", "QUEUED", "RESTARTS"];
            screen.table(header, self.instances.into_iter().map(Instance::cells))?;
        }
        screen.line(format_args!("\nservice file:\n{:#}", self.spec))
    }
}

impl Snapshot {
    fn told(self) -> String {
        if self.taken {
            "taken: guests start from it".to_owned()
        } else {
            format!("none: {}; `initialize` runs for each worker", self.reason)
        }
    }
}

impl Instance {
    fn cells(self) -> [String; 5] {
        let queued = format!("{} of {}", self.queued, self.max_queue_size);
        [self.index.to_string(), self.workers.to_string(), self.busy.to_string(), queued, self.restarts.to_string()]
    }
}

pub(super) fn path(name: &ServiceName) -> String {
    format!("/api/v1/services/{name}")
}

pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    let read = serde_json::from_value(answer);
    Ok(read.map_err(|error| anyhow::anyhow!("the server's answer cannot be read: {error}; --json shows it as it is"))?)
}
