//! `list`, `desc`, `stop`, `start` and `delete`: what is there, and the switches.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{AdminArgs, Client};
use super::description::Description;
use super::failure::{Exit, Failure};
use super::group;
use super::interrupt::UnderWay;
use super::screen::Screen;
use crate::config::ServiceName;

/// What stands where a column of EAS's tables has no meaning here.
pub(super) const NOTHING: &str = "-";
/// What a server gives at once, whatever it would give by itself.
const PAGE: u16 = 1000;

#[derive(Args, Debug)]
#[command(after_help = "\
INSTANCE is how many run; WEIGHT is the service's part in its GROUP, if it is in one. REGION has no meaning here.

Examples:
  bulkhead ls
  bulkhead ls --state failed
  bulkhead ls --json | jq -r '.services[].name'")]
pub(super) struct ListArgs {
    /// Only services whose names begin with this
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: Option<String>,
    /// Only services in this state
    #[arg(long, value_parser = ["starting", "running", "stopped", "failed"])]
    state: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The name of a service, and the server that has it. Where a command takes no more, its examples stand with the command.
#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The service ends with its versions and its token; requests for its name then get 404. Its name can be used anew.

Examples:
  bulkhead delete digits
  bulkhead delete digits -y")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl ServiceArgs {
    pub(super) fn name(&self) -> &ServiceName {
        &self.name
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.admin.client()
    }
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
    created_at: String,
    updated_at: String,
}

pub(super) fn list(args: &ListArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let services = args.services()?;
    if screen.is_json() {
        screen.json(&json!({ "services": services }))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Row> = read(services.into())?;
    if rows.is_empty() {
        screen.note(args.nothing());
        return Ok(Exit::Ok);
    }
    let header = [
        "SERVICENAME",
        "REGION",
        "INSTANCE",
        "CREATETIME",
        "UPDATETIME",
        "STATUS",
        "WEIGHT",
        "SERVICEPATH",
        "GROUP",
        "VERSION",
        "WORKERS",
        "URL",
    ];
    screen.table(header, rows.into_iter().map(Row::cells))?;
    Ok(Exit::Ok)
}

impl ListArgs {
    /// What is said instead of an empty list.
    fn nothing(&self) -> String {
        let state = self.state.as_ref().map(|state| format!("in the state {state}"));
        let prefix = self.prefix.as_ref().map(|prefix| format!("with a name that begins with `{prefix}`"));
        let asked: Vec<String> = state.into_iter().chain(prefix).collect();
        match asked.is_empty() {
            true => "no services; `bulkhead create FILE` makes one".to_owned(),
            false => format!("no service {}", asked.join(" and ")),
        }
    }

    fn services(&self) -> Result<Vec<Value>, Failure> {
        let client = self.admin.client()?;
        let state = self.state.as_ref().map(|state| format!("&state={state}")).unwrap_or_default();
        let prefix = self.prefix.as_ref().map(|prefix| format!("&prefix={prefix}")).unwrap_or_default();
        all(&client, &format!("{prefix}{state}"))
    }
}

/// The services that a query selects: all pages, one after the other.
pub(super) fn all(client: &Client, query: &str) -> Result<Vec<Value>, Failure> {
    let mut services = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = client.get(&format!("/api/v1/services?limit={PAGE}{query}{cursor}"))?;
        match page["services"].take() {
            Value::Array(rows) => services.extend(rows),
            _ => return Err(anyhow::anyhow!("the server's answer has no services in it").into()),
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(services),
        }
    }
}

/// What a name may begin with; in a query it needs no encoding.
fn prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.bytes().all(plain) { Ok(text.to_owned()) } else { Err("names are of a-z, 0-9, `-` and `_`".to_owned()) }
}

impl Row {
    fn cells(self) -> [String; 12] {
        let (group, weight) = part(self.group, self.weight, &self.traffic_state);
        let path = format!("/api/predict/{}", self.name);
        [
            self.name,
            NOTHING.to_owned(),
            self.instances.to_string(),
            self.created_at,
            self.updated_at,
            capitalised(&self.state),
            weight,
            path,
            group,
            self.version.to_string(),
            self.workers.to_string(),
            self.url,
        ]
    }
}

pub(super) fn desc(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let answer = client.get(&path(&args.name)).map_err(|failure| group::or_group(&client, &args.name, failure))?;
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
    let client = args.admin.client()?;
    let _under_way = UnderWay::say(&format!("the {verb}"), args.name.as_str(), screen);
    let answer = client.post(&format!("{}/{verb}", path(&args.name)))?;
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
    let _under_way = UnderWay::say("the deletion", name.as_str(), screen);
    let answer = client.delete(&path(name))?;
    settled(name, &answer, screen)
}

/// The group of a service and what it has of its requests; dashes where there is none.
pub(super) fn part(group: Option<String>, weight: u64, traffic_state: &str) -> (String, String) {
    match group {
        None => (NOTHING.to_owned(), NOTHING.to_owned()),
        Some(group) if traffic_state == "standalone" => (group, "standalone".to_owned()),
        Some(group) => (group, weight.to_string()),
    }
}

pub(super) fn settled(name: &ServiceName, answer: &Value, screen: &mut Screen) -> Result<Exit, Failure> {
    if screen.is_json() {
        screen.json(answer)?;
    } else {
        let state = answer.get("state").and_then(Value::as_str).unwrap_or("in an unknown state");
        screen.line(format_args!("service `{name}` is {state}"))?;
    }
    Ok(Exit::Ok)
}

/// A state as EAS writes it.
pub(super) fn capitalised(state: &str) -> String {
    let mut chars = state.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

pub(super) fn path(name: &ServiceName) -> String {
    format!("/api/v1/services/{name}")
}

pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    let read = serde_json::from_value(answer);
    Ok(read.map_err(|error| anyhow::anyhow!("the server's answer cannot be read: {error}; --json shows it as it is"))?)
}
