//! The commands `w`, `dw` and `restart` for the instances of a service.

use clap::Args;
use serde_json::Value;

use super::client::{AdminArgs, path, read};
use super::failure::{Exit, Failure};
use super::interrupt::UnderWay;
use super::screen::Screen;
use super::services::{ServiceArgs, settled};
use super::told::{self, NOTHING, capitalised};
use crate::api::{Instance, InstanceList};
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
READY is the number of workers that can take a request: those that have a guest or can get one. It leaves out workers
whose guest cannot be replaced, and workers that runtime.enable_crash_block keeps empty. If READY is 0, the instance
takes no requests. RESTARTS counts for the whole service. REASON is the reason why an instance is degraded, or the kind
of its last fault. LASTSTATE is that fault, with its request and its time. VERSION shows which instances are a
canary's. --json also has the busy workers and the queue.

Examples:
  bulkhead w digits
  bulkhead w digits --json | jq '.instances[].busy'")]
pub(super) struct WorkersArgs {
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Each instance is replaced by a new one, one after the other, without a gap: requests go to the old one until the new one
is ready. The old one then finishes its running requests.

Examples:
  bulkhead dw digits digits-0
  bulkhead dw digits 0,1")]
pub(super) struct DeleteWorkersArgs {
    /// The service
    name: ServiceName,
    /// The instances, by name or by number, as `bulkhead w` lists them
    #[arg(required = true, value_delimiter = ',', value_name = "INSTANCE")]
    instances: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn workers(args: &WorkersArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let name = args.service.name();
    let client = args.service.client()?;
    let answer = client.get(&format!("{}/instances", path(name)))?;
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let InstanceList { instances, .. } = read(answer)?;
    if instances.is_empty() {
        let service = client.get(&path(name))?;
        let text = |key: &str| service[key].as_str().unwrap_or_default().to_owned();
        let why = match text("message") {
            message if message.is_empty() => String::new(),
            message => format!(": {message}"),
        };
        screen.note(format_args!("no instance of `{name}` is running: the service is {}{why}", text("state")));
        return Ok(Exit::Ok);
    }
    let header = [
        "INSTANCENAME",
        "INNERIP",
        "HOSTIP",
        "STARTAT",
        "RESTARTS",
        "STATUS",
        "READY",
        "REASON",
        "LASTSTATE",
        "VERSION",
    ];
    screen.table(header, instances.into_iter().map(|instance| cells(instance, name)))?;
    Ok(Exit::Ok)
}

pub(super) fn delete_workers(args: &DeleteWorkersArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    // All instances are checked before the first is replaced.
    let indices: Vec<usize> = args.instances.iter().map(|text| index(&args.name, text)).collect::<Result<_, _>>()?;
    let client = args.admin.client()?;
    let there: InstanceList = read(client.get(&format!("{}/instances", path(&args.name)))?)?;
    let is_missing = |index: &&usize| !there.instances.iter().any(|instance| instance.index == **index);
    if let Some(missing) = indices.iter().find(is_missing) {
        let (name, count) = (&args.name, there.instances.len());
        return Err(Failure::Missing(format!(
            "there is no instance `{name}-{missing}`; the service has {count}, counted from 0\nnothing was replaced"
        )));
    }
    let mut answer = Value::Null;
    let _under_way = UnderWay::say("the replacement", args.name.as_str(), screen);
    for (done, index) in indices.iter().enumerate() {
        let replaced = client.post(&format!("{}/instances/{index}/restart", path(&args.name)));
        answer = replaced.map_err(|failure| args.broken_off(failure, &indices, done))?;
        if !screen.is_json() {
            screen.line(format_args!("instance `{}-{index}` has been replaced", args.name))?;
        }
    }
    if screen.is_json() {
        screen.json(&answer)?;
    }
    Ok(Exit::Ok)
}

impl DeleteWorkersArgs {
    /// Adds to the failure which instances had been replaced and which had not.
    fn broken_off(&self, failure: Failure, indices: &[usize], done: usize) -> Failure {
        let names = |indices: &[usize]| {
            let names: Vec<_> = indices.iter().map(|index| format!("`{}-{index}`", self.name)).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let (replaced, left) = indices.split_at(done);
        let told = format!("replaced before that: {}; not replaced: {}", names(replaced), names(left));
        match failure {
            Failure::Refused(mut problem) => {
                problem.detail = format!("{}; {told}", problem.detail).into();
                Failure::Refused(problem)
            }
            Failure::Unreachable { what, hint } => Failure::Unreachable { what: format!("{what}; {told}"), hint },
            other => other,
        }
    }
}

pub(super) fn restart(args: &ServiceArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.client()?;
    let _under_way = UnderWay::say("the restart", args.name().as_str(), screen);
    let answer = client.post(&format!("{}/restart", path(args.name())))?;
    settled(args.name(), &answer, screen)
}

/// Parses the name or the number of an instance: `digits-0`, or `0`.
fn index(service: &ServiceName, text: &str) -> Result<usize, Failure> {
    let text = text.trim();
    let number = text.strip_prefix(service.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(text);
    number.parse().map_err(|_| {
        Failure::Usage(format!(
            "`{text}` is no instance of `{service}`; expected a name such as `{service}-0`, or a number such as 0"
        ))
    })
}

fn cells(instance: Instance, service: &ServiceName) -> [String; 10] {
    let ready = format!("[{}/{}]", instance.ready(), instance.workers);
    let blocked_by = instance.crashes.last().map(|crash| format!("blocked: {}", crash.error));
    let last_kind = instance.last_fault.as_ref().map(|fault| fault.kind.clone());
    let nothing = || NOTHING.to_owned();
    [
        format!("{service}-{}", instance.index),
        instance.address,
        nothing(),
        instance.started_at,
        instance.restarts.to_string(),
        capitalised(instance.state.as_str()),
        ready,
        blocked_by.or(instance.trouble.map(|trouble| trouble.error)).or(last_kind).unwrap_or_else(nothing),
        told::last_fault(instance.last_fault.as_ref()),
        instance.version.map_or_else(nothing, |version| version.to_string()),
    ]
}
