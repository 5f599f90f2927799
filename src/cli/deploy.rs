//! The commands `create` and `modify`: upload files, then deploy and show each step.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{AdminArgs, Client, path, read};
use super::failure::{Exit, Failure};
use super::interrupt::UnderWay;
use super::screen::{Screen, duration};
use super::service_file::{LocalFile, OverrideArgs, anchor, read_patch, remark};
use super::told;
use super::upload::{self, Change, Upload};
use crate::api::{Deployed, Event, PhaseName};
use crate::config::{self, ServiceFile, ServiceName};

#[derive(Args, Debug)]
#[command(after_help = "\
Paths in the service file are relative to its directory. The command ends when the service is ready, or with an error.

Examples:
  bulkhead create digits.json
  bulkhead create digits.json -Dname=digits-test -Dmetadata.instance=2
  token=$(bulkhead create digits.json --json | jq -r .token)")]
pub(super) struct CreateArgs {
    /// The service file
    file: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The new version replaces the old one when it is ready; if it does not become ready, the old one stays. null removes a
key. A change that makes no difference makes no version, and the command says so. A change of the token alone makes no
version either.

If another user changes the service while the command runs, nothing is overwritten: the command ends with code 3 and
names that user.

Examples:
  bulkhead modify digits -s changes.json
  bulkhead modify digits -s changes.json -Dmetadata.instance=2
  bulkhead modify digits -Dmetadata.instance=2 -Dmetadata.rpc.keepalive=10000
  bulkhead modify digits -Dprocessor_path=target/digits.wasm
  bulkhead modify digits -Dwarm_up_data_path=null
  bulkhead modify digits -Dmetadata.instance=2 --if-match $(bulkhead desc digits --json | jq .revision)
  bulkhead modify digits -Dprocessor_path=target/digits.wasm --canary 10")]
pub(super) struct ModifyArgs {
    /// The service to change
    name: ServiceName,
    #[command(flatten)]
    change: ChangeArgs,
    /// Deploy the new version beside the current one and give it this share of the requests, in percent; `bulkhead
    /// release` changes the share, makes the version current, or drops it
    #[arg(long, value_name = "WEIGHT")]
    canary: Option<u64>,
    /// Change the service only if it still has this revision, as `desc --json` shows it: 16. The admin API's ETag is
    /// the same in quotes, '"16"', and is accepted as well [default: the revision that the service has when the command
    /// begins]
    #[arg(long, value_name = "REVISION", value_parser = tag)]
    if_match: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// A service file with the keys that change; paths in the file are relative to its directory
    #[arg(short = 's', long = "spec", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set one key, by its dotted path; it takes precedence over FILE; file paths are relative to the current
    /// directory; may be repeated
    #[arg(short = 'D', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(super) fn create(args: &CreateArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let local = LocalFile::read(&args.file, &args.overrides)?;
    local.remark(screen);
    let client = args.admin.client()?;
    let spec = local.file().normalised();
    let upload = Upload::gather(&spec, local.base(), screen).map_err(Failure::of_gathering)?;
    upload::send(&client, &upload.artifacts(), screen)?;
    let name = local.file().spec().name().as_str();
    let answer = deploy(&client, name, Method::POST, "/api/v1/services", &upload.body(spec), screen)?;
    let deployed: Deployed = read(answer)?;
    if screen.is_json() {
        let Deployed { name, url, sink_url, token, version, .. } = deployed;
        let mut printed = json!({ "name": name, "url": url, "token": token, "version": version });
        if let Some(sink_url) = sink_url {
            printed["sink_url"] = json!(sink_url);
        }
        screen.json(&printed)?;
    } else {
        screen.line(announcement(&deployed))?;
        if !screen.is_quiet() {
            screen.line(format_args!("\ntry it:\n  {}", call(&deployed)))?;
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn modify(args: &ModifyArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let (patch, base) = args.change.read()?;
    let client = args.admin.client()?;
    let path = path(&args.name);
    let Seen { tag, version: before } = check(&client, &path, &patch, screen)?;
    // If the service is changed in the meantime, the server refuses this change.
    let client = client.only_if(args.if_match.clone().or(tag));
    let change = Change::gather(&patch, &base, screen).map_err(Failure::of_gathering)?;
    upload::send(&client, &change.artifacts(), screen)?;
    let mut body = change.body(patch);
    body.canary = args.canary;
    let answer = deploy(&client, args.name.as_str(), Method::PUT, &path, &body, screen)?;
    let deployed: Deployed = read(answer)?;
    // The token is left out, since the command does not ask for it; `desc` shows it.
    if screen.is_json() {
        let Deployed { name, state, url, version, canary, unchanged, .. } = deployed;
        let mut printed =
            json!({ "name": name, "state": state, "url": url, "version": version, "unchanged": unchanged });
        if let Some(canary) = canary {
            printed["canary"] = json!(canary);
        }
        screen.json(&printed)?;
    } else if deployed.unchanged {
        screen.line(format_args!(
            "service `{}` stays version {}: nothing was different",
            deployed.name, deployed.version
        ))?;
    } else if let Some(canary) = deployed.canary {
        screen.line(format_args!(
            "service `{}` stays version {}; {}",
            deployed.name,
            deployed.version,
            told::canary(canary)
        ))?;
    } else if deployed.state == PhaseName::Stopped {
        screen.line(told::stopped(&deployed))?;
    } else if before == Some(deployed.version) {
        screen.line(format_args!("service `{}` is changed and stays version {}", deployed.name, deployed.version))?;
    } else {
        screen.line(format_args!("service `{}` is ready as version {}", deployed.name, deployed.version))?;
    }
    Ok(Exit::Ok)
}

impl ChangeArgs {
    /// The change as a patch, and the directory that its paths are relative to.
    fn read(&self) -> Result<(Value, PathBuf), Failure> {
        let overrides = config::parse_overrides(&self.overrides);
        let mut overrides =
            overrides.map_err(|mistakes| Failure::Mistakes { origin: "what -D sets".to_owned(), mistakes })?;
        let Some(file) = &self.file else { return Ok((overrides, PathBuf::new())) };
        let (mut patch, base) = read_patch(file)?;
        anchor(&mut overrides)?;
        lay_over(&mut patch, overrides);
        Ok((patch, base))
    }
}

/// Lays `overrides` over `patch`. Unlike in a merge, null stays, because it removes a key of the service.
fn lay_over(patch: &mut Value, overrides: Value) {
    match (patch, overrides) {
        (Value::Object(patch), Value::Object(overrides)) => {
            for (key, value) in overrides {
                lay_over(patch.entry(key).or_insert(Value::Null), value);
            }
        }
        (patch, overrides) => *patch = overrides,
    }
}

/// Turns a revision into the admin API's `ETag`. An `ETag` stays as it is.
fn tag(text: &str) -> Result<String, String> {
    match text.parse::<u64>() {
        Ok(number) => Ok(format!("\"{number}\"")),
        Err(_) if text.contains('"') || text == "*" => Ok(text.to_owned()),
        Err(_) => {
            Err("expected a revision as `desc --json` shows it, such as 16, or \"16\" with its quotes".to_owned())
        }
    }
}

/// A service as it was before the change.
struct Seen {
    tag: Option<String>,
    version: Option<u64>,
}

/// Merges the change into the present service file, so that mistakes show before anything is uploaded. The server
/// checks the change again. If the present file has keys that this program does not know, the check is skipped.
///
/// Prints a note for each key of the change that has no effect. Returns the tag and the version of the service.
fn check(client: &Client, path: &str, patch: &Value, screen: &mut Screen) -> Result<Seen, Failure> {
    let (present, tag) = client.get_tagged(path)?;
    let seen = Seen { tag, version: present["version"].as_u64() };
    let Some(Ok(present)) = present.get("spec").map(ServiceFile::from_value) else { return Ok(seen) };
    match present.merge(patch) {
        Ok(changed) => {
            let in_patch = config::leaves(patch);
            remark(&changed, |key| in_patch.contains_key(key), screen);
            Ok(seen)
        }
        Err(mistakes) => Err(Failure::Mistakes { origin: "the changed service file".to_owned(), mistakes }),
    }
}

/// Requests a deploy and shows its steps. Returns the server's description of the deployed service.
pub(super) fn deploy(
    client: &Client,
    service: &str,
    method: Method,
    path: &str,
    body: &impl Serialize,
    screen: &mut Screen,
) -> Result<Value, Failure> {
    let _under_way = UnderWay::say("the deploy", service, screen);
    let mut steps = Steps { screen, current: None };
    let result = client.deploy(method, path, body, |event| steps.hear(event));
    steps.end();
    result
}

/// Shows the steps of a deploy: a spinner for the current step, and a line with the time for each finished one.
struct Steps<'a> {
    screen: &'a mut Screen,
    current: Option<(ProgressBar, &'static str, Instant)>,
}

impl Steps<'_> {
    fn hear(&mut self, event: &Event<'_, Value>) {
        match event {
            Event::Progress { step } => self.begin(step),
            Event::Notice { text } => {
                self.end();
                self.screen.note(text);
            }
            Event::Done { .. } | Event::Failed { .. } | Event::Other => {}
        }
    }

    fn begin(&mut self, name: &str) {
        self.end();
        let label = match name {
            "check" => "check",
            "compile" => "compile",
            "initialize" => "initialize",
            "snapshot" => "snapshot",
            "warm_up" => "warm up",
            "swap" => "switch over",
            _ => "prepare",
        };
        self.current = Some((self.screen.spinner(label), label, Instant::now()));
    }

    fn end(&mut self) {
        if let Some((spinner, label, since)) = self.current.take() {
            spinner.finish_and_clear();
            if self.screen.is_live() {
                self.screen.note(format_args!("{label:14} {}", duration(since.elapsed())));
            }
        }
    }
}

fn announcement(deployed: &Deployed) -> String {
    let Deployed { name, url, sink_url, token, version, .. } = deployed;
    let token = token.as_deref().unwrap_or("none: calls need no token");
    let sink = sink_url.as_ref().map(|sink| format!("\n  sink   {sink}")).unwrap_or_default();
    let what = if sink_url.is_some() { "asynchronous service" } else { "service" };
    format!("{what} `{name}` is ready as version {version}\n  url    {url}{sink}\n  token  {token}")
}

/// The command lines that call the service: for an asynchronous one, a put, and a get of the result.
fn call(deployed: &Deployed) -> String {
    let authorization = |token: &String| format!(" -H {}", shell_quoted(&format!("Authorization: {token}")));
    let header = deployed.token.as_ref().map(authorization).unwrap_or_default();
    let call = format!("curl{header} --data hello {}", shell_quoted(&deployed.url));
    match &deployed.sink_url {
        None => call,
        Some(sink) => format!("{call}\n  curl{header} {}", shell_quoted(&format!("{sink}?_timeout_=30s"))),
    }
}

/// Quotes a word for a shell if it needs quotes.
fn shell_quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_survives_a_shell() {
        assert_eq!(shell_quoted("http://127.0.0.1:8080/api/predict/a"), "http://127.0.0.1:8080/api/predict/a");
        assert_eq!(shell_quoted("Authorization: a'b$c"), r"'Authorization: a'\''b$c'");
    }

    #[test]
    fn an_open_service_has_no_token_to_show() {
        let answer = json!({ "name": "echo", "url": "http://h/api/predict/echo", "token": "t0k", "version": 1 });
        let mut deployed: Deployed = read(answer).unwrap();
        assert_eq!(call(&deployed), "curl -H 'Authorization: t0k' --data hello http://h/api/predict/echo");
        deployed.token = None;
        assert_eq!(call(&deployed), "curl --data hello http://h/api/predict/echo");
        assert!(announcement(&deployed).ends_with("token  none: calls need no token"));
    }

    #[test]
    fn an_asynchronous_service_is_put_into_and_its_result_is_got_from_the_sink() {
        let url = "http://h/api/predict/resize";
        let sink = format!("{url}/sink");
        let answer = json!({ "name": "resize", "url": url, "sink_url": sink, "token": "t0k", "version": 1 });
        let deployed: Deployed = read(answer).unwrap();
        assert_eq!(
            call(&deployed),
            format!(
                "curl -H 'Authorization: t0k' --data hello {url}\n  \
                 curl -H 'Authorization: t0k' '{sink}?_timeout_=30s'"
            )
        );
        assert!(announcement(&deployed).contains(&format!("url    {url}\n  sink   {sink}\n  token  t0k")));
    }
}
