//! The command `mirror`: copies a service's requests to another service.

use clap::Args;
use ureq::http::Method;

use super::client::{AdminArgs, path, read};
use super::failure::{Exit, Failure};
use super::interrupt::UnderWay;
use super::screen::Screen;
use super::told;
use crate::api::{MirrorBody, MirrorOf};
use crate::config::ServiceName;

#[derive(Args, Debug)]
#[command(after_help = "\
Copies are sent to a service of the same server; its answers to them are dropped. Copies count as requests of that
service, are marked as mirrored in log and metrics, and are not copied again. Callers do not wait for them. At most 16
copies run at once; a further copy, or one that finds the target's queue full, is dropped and counted. Without options,
shows the present mirror.

Examples:
  bulkhead mirror digits --target digits-new --ratio 10
  bulkhead mirror digits
  bulkhead mirror digits --off")]
pub(super) struct MirrorArgs {
    /// The service whose requests are copied
    name: ServiceName,
    /// The service that gets the copies
    #[arg(long, value_name = "SERVICE")]
    target: Option<ServiceName>,
    /// Percentage of the requests that are copied
    #[arg(long, requires = "target", default_value_t = 100)]
    ratio: u64,
    /// Stop copying
    #[arg(long, conflicts_with_all = ["target", "ratio"])]
    off: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn mirror(args: &MirrorArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let place = format!("{}/mirror", path(&args.name));
    let is_change = args.target.is_some() || args.off;
    let _under_way = is_change.then(|| UnderWay::say("the change of the mirror", args.name.as_str(), screen));
    let answer = match &args.target {
        Some(target) => {
            let body = MirrorBody { target: target.to_string(), ratio: args.ratio };
            client.deploy(Method::PUT, &place, &body, |_| {})?
        }
        None if args.off => client.delete(&place)?,
        None => client.get(&place)?,
    };
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let MirrorOf { mirror, .. } = read(answer)?;
    let told = mirror.as_ref().map_or_else(|| "no requests are copied".to_owned(), told::mirror);
    screen.line(format_args!("service `{}`: {told}", args.name))?;
    Ok(Exit::Ok)
}
