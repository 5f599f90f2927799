//! The command `audit`: lists changes, their authors and times.

use clap::Args;

use super::client::{AdminArgs, path, read};
use super::failure::{Exit, Failure};
use super::screen::Screen;
use super::told::NOTHING;
use crate::api::{AuditEntry, AuditPage};
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
The newest change comes first. WHO is the name that the client gave, the name of its admin token, and its address.
A refused change is listed with the code of the refusal and the reason. OUTCOME is `unchanged` if the change made
no difference. Only the changed keys are listed, never their values.

Examples:
  bulkhead audit
  bulkhead audit digits --limit 5
  bulkhead audit --json | jq -r '.entries[] | select(.outcome != \"done\") | .actor'")]
pub(super) struct AuditArgs {
    /// Only changes of this service
    name: Option<ServiceName>,
    /// The number of entries to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn audit(args: &AuditArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let of = args.name.as_ref().map(|name| format!("&service={name}")).unwrap_or_default();
    let client = args.admin.client()?;
    let answer = client.get(&format!("/api/v1/audit?limit={}{of}", args.limit))?;
    if let (Some(name), Some([])) = (&args.name, answer["entries"].as_array().map(Vec::as_slice)) {
        // A deleted service has entries. A name without entries may be misspelt; the server's 404 then names the
        // nearest one.
        client.get(&path(name))?;
    }
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let AuditPage { entries, .. } = read(answer)?;
    if entries.is_empty() {
        screen.note("nothing has been changed yet");
        return Ok(Exit::Ok);
    }
    let header = ["TIME", "WHO", "ACTION", "SERVICE", "VERSION", "OUTCOME", "CHANGED", "REASON"];
    screen.table(header, entries.into_iter().map(cells))?;
    Ok(Exit::Ok)
}

fn cells(entry: AuditEntry) -> [String; 8] {
    let version = match (entry.version_before, entry.version_after) {
        (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
        (None, None) => NOTHING.to_owned(),
        (before, after) => after.or(before).map(|version| version.to_string()).unwrap_or_default(),
    };
    let who = format!("{} ({}, {})", entry.actor.as_deref().unwrap_or("unnamed"), entry.token, entry.peer);
    let changed = if entry.changed.is_empty() { NOTHING.to_owned() } else { entry.changed.join(" ") };
    [
        entry.at,
        who,
        entry.action,
        entry.service,
        version,
        entry.outcome,
        changed,
        entry.reason.unwrap_or_else(|| NOTHING.to_owned()),
    ]
}
