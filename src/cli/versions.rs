//! The commands `version` and `release`: list versions, go back to one, and set the shares of the requests.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;
use ureq::http::Method;

use super::client::{AdminArgs, path, read};
use super::deploy::deploy;
use super::failure::{Exit, Failure};
use super::group;
use super::screen::Screen;
use super::told;
use crate::api::{Deployed, PhaseName, ReleaseBody, Version, VersionBody, Versions};
use crate::config::{ServiceName, TrafficState};

#[derive(Args, Debug)]
#[command(after_help = "\
Without a number, lists the versions that are kept: the last ten. With a number, makes that version current again. It
is compiled (quickly, because the compiled code is kept), initialised and warmed up while the present version serves,
and then takes over without a gap. A canary is dropped, so that this version then answers all requests. The next modify
changes this version; its number is the highest so far plus one.

Tokens do not change: a retired token does not become valid again with its version.

Examples:
  bulkhead version digits
  bulkhead version digits 3")]
pub(super) struct VersionArgs {
    /// The service
    name: ServiceName,
    /// The version to go back to
    number: Option<u64>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
A canary is deployed with `bulkhead modify NAME … --canary WEIGHT`. Its weight is a percentage. With 100 it becomes the
current version, and the old one finishes its running requests.

Without a canary, the weight is that of the service in its group (`metadata.group`), 0 to 1000. The requests to
/api/predict/GROUP are shared among the running members by their weights: with weights 20 and 100, the first member
gets one sixth and the second the rest. A standalone member is called by its own name alone.

Examples:
  bulkhead modify digits -Dprocessor_path=target/digits.wasm --canary 10
  bulkhead release digits --weight 50
  bulkhead release digits --weight 100
  bulkhead release digits --abort
  bulkhead release digits-new --weight 20 --traffic-state grouping")]
pub(super) struct ReleaseArgs {
    /// The service that has the canary, or the member of a group; not the group
    name: ServiceName,
    #[command(flatten)]
    share: ShareArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct ShareArgs {
    /// Percent of the requests that the canary answers; without a canary, the weight in the group
    #[arg(long)]
    weight: Option<u64>,
    /// `grouping` for a share of the group's requests, `standalone` for none of them
    #[arg(long, value_name = "STATE", value_parser = traffic_state())]
    traffic_state: Option<TrafficState>,
    /// Drop the canary: the current version answers all requests again
    #[arg(long, conflicts_with_all = ["weight", "traffic_state"])]
    abort: bool,
}

/// Parses a traffic state.
fn traffic_state() -> impl TypedValueParser<Value = TrafficState> {
    PossibleValuesParser::new(["grouping", "standalone"]).map(|word| match word.as_str() {
        "standalone" => TrafficState::Standalone,
        _ => TrafficState::Grouping,
    })
}

pub(super) fn version(args: &VersionArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let Some(number) = args.number else {
        let answer = client.get(&format!("{}/versions", path(&args.name)))?;
        if screen.is_json() {
            screen.json(&answer)?;
            return Ok(Exit::Ok);
        }
        let versions: Versions = read(answer)?;
        let header = ["VERSION", "CREATED", "PROCESSOR", "STATE", "NOTE"];
        screen.table(header, versions.versions.into_iter().map(cells))?;
        return Ok(Exit::Ok);
    };
    let target = format!("{}/version", path(&args.name));
    let answer = deploy(&client, args.name.as_str(), Method::POST, &target, &VersionBody { version: number }, screen)?;
    show(&args.name, answer, screen)
}

pub(super) fn release(args: &ReleaseArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let ShareArgs { weight, traffic_state, abort } = args.share;
    let body = ReleaseBody { weight, traffic_state, abort };
    let target = format!("{}/release", path(&args.name));
    let client = args.admin.client()?;
    let answer = deploy(&client, args.name.as_str(), Method::POST, &target, &body, screen)
        .map_err(|failure| group::or_group(&client, &args.name, failure))?;
    show(&args.name, answer, screen)
}

/// Prints which version answers now. The token is left out, since the command does not ask for it.
fn show(name: &ServiceName, mut answer: Value, screen: &mut Screen) -> Result<Exit, Failure> {
    if screen.is_json() {
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("token");
        }
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let deployed: Deployed = read(answer)?;
    let stopped = (deployed.state == PhaseName::Stopped).then(|| told::stopped(&deployed));
    let Deployed { version, canary, group, weight, traffic_state, unchanged, .. } = deployed;
    match canary {
        _ if let Some(text) = stopped => screen.line(text)?,
        // A member of a group gets a share of the group's requests, which the line below shows.
        None if group.is_some() => {
            screen.line(format_args!("version {version} answers all requests that come to service `{name}`"))?;
        }
        None if unchanged => {
            screen.line(format_args!("version {version} of service `{name}` answered all requests already"))?;
        }
        None => screen.line(format_args!("version {version} of service `{name}` answers all requests"))?,
        Some(canary) => screen.line(format_args!("service `{name}` is version {version}; {}", told::canary(canary)))?,
    }
    if let Some(group) = group {
        screen.line(format_args!("service `{name}` has weight {weight} in group `{group}` ({traffic_state})"))?;
    }
    Ok(Exit::Ok)
}

fn cells(version: Version) -> [String; 5] {
    let state = match version.canary_weight {
        Some(weight) => format!("canary, {weight} %"),
        None if version.current => "current".to_owned(),
        None => String::new(),
    };
    let digest = version.processor.map_or_else(|| "none".to_owned(), |processor| processor.sha256.short().to_owned());
    [version.version.to_string(), version.created_at, digest, state, version.note]
}
