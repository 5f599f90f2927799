//! The commands `list`, `desc`, `stop`, `start` and `delete`.

use clap::Args;
use serde_json::{Value, json};

use super::client::{AdminArgs, Client, path, read};
use super::description;
use super::failure::{Exit, Failure};
use super::group;
use super::interrupt::UnderWay;
use super::screen::Screen;
use super::told::{self, NOTHING, capitalised, part};
use crate::api::{PhaseName, ServiceRow};
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
INSTANCE is the number of instances. STATUS is Degraded if workers of the service have no guest; `bulkhead w` says why.
WEIGHT is the service's weight in its GROUP, if it is in one. CANARY is the version beside the current VERSION, and its
share of the requests. TYPE is Async for a service that is called by a put into its queue. REGION has no meaning here.

Examples:
  bulkhead ls
  bulkhead ls --state failed
  bulkhead ls --json | jq -r '.services[].name'")]
pub(super) struct ListArgs {
    /// Only services whose names begin with TEXT
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: Option<String>,
    /// Only services in this state
    #[arg(long, value_parser = ["starting", "running", "stopped", "failed"])]
    state: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The name of a service, and the server that has it. The examples of commands that take nothing else are set in
/// `Command`.
#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// The service
    name: ServiceName,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The service is deleted with its versions and its tokens. Requests for its name then get 404. The name can be used again.
An asynchronous service whose queues have items is deleted only with --drop-items. Its dead letters and the results in
its sink count as well; `bulkhead queue stats` shows all of them.

Examples:
  bulkhead delete digits
  bulkhead delete digits -y
  bulkhead delete resize --drop-items")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Delete an asynchronous service with the items of its queues
    #[arg(long)]
    drop_items: bool,
}

impl ServiceArgs {
    pub(super) fn name(&self) -> &ServiceName {
        &self.name
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.admin.client()
    }
}

pub(super) fn list(args: &ListArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let services = args.services()?;
    if screen.is_json() {
        screen.json(&json!({ "services": services }))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<ServiceRow> = read(services.into())?;
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
        "CANARY",
        "WORKERS",
        "TYPE",
        "URL",
    ];
    screen.table(header, rows.into_iter().map(cells))?;
    Ok(Exit::Ok)
}

impl ListArgs {
    /// The note that is printed instead of an empty list.
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
        client.services(&format!("{prefix}{state}"))
    }
}

/// Parses the beginning of a name. Its characters need no encoding in a query.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.bytes().all(plain) { Ok(text.to_owned()) } else { Err("names consist of a-z, 0-9, `-` and `_`".to_owned()) }
}

fn cells(row: ServiceRow) -> [String; 14] {
    let is_degraded = row.state == PhaseName::Running && row.degraded > 0;
    let canary = row.canary.map(|canary| format!("{}:{}%", canary.version, canary.weight));
    let (group, weight) = part(row.group, row.weight, &row.traffic_state);
    let path = format!("/api/predict/{}", row.name);
    let of_type = row.service_type.to_string();
    [
        row.name,
        NOTHING.to_owned(),
        row.instances.to_string(),
        row.created_at,
        row.updated_at,
        if is_degraded { told::DEGRADED.to_owned() } else { capitalised(row.state.as_str()) },
        weight,
        path,
        group,
        row.version.to_string(),
        canary.unwrap_or_else(|| NOTHING.to_owned()),
        row.workers.to_string(),
        if of_type.is_empty() { NOTHING.to_owned() } else { of_type },
        row.url,
    ]
}

pub(super) fn desc(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let answer = client.get(&path(&args.name)).map_err(|failure| group::or_group(&client, &args.name, failure))?;
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    description::show(read(answer)?, screen)?;
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
        let items = if args.drop_items { ", and all items of its queues" } else { "" };
        let question = format!("delete service `{name}`, with its versions and its token{items}?");
        match screen.confirm(&question)? {
            None => {
                return Err(Failure::Usage(format!(
                    "`{name}` is not deleted: there is no terminal to ask for confirmation; pass -y"
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
    let query = if args.drop_items { "?drop_items=true" } else { "" };
    let answer = client.delete(&format!("{}{query}", path(name)))?;
    settled(name, &answer, screen)
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
