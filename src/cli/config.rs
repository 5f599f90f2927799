//! The command `config`: stores the server's address and admin token for the other commands.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::client::{Settings, base, checked, default_path};
use super::failure::{Exit, Failure};
use super::screen::Screen;

/// Most bytes of a token that are read; any token is shorter.
const MAX_TOKEN: u64 = 4096;

#[derive(Args, Debug)]
#[command(after_help = "\
Without an option, shows the stored settings, except for the token. An empty value removes a setting. The token is sent
only to the server that is stored with it.

A command takes each setting from the first place that has it: its options, the environment, this file, and for a server
on this machine the token in bulkhead-data, in the current directory or in a directory above.

Examples:
  bulkhead config -e https://bulkhead.example.org -k - < token.txt
  bulkhead config -i alice
  bulkhead list -c staging.json")]
pub(super) struct ConfigArgs {
    /// The admin listener of the server
    #[arg(short = 'e', long, alias = "endpoint", value_name = "URL")]
    admin: Option<String>,
    /// Its admin token, or - to read it from standard input, where other users cannot see it
    #[arg(short = 'k', long, alias = "access-key", value_name = "TOKEN", allow_hyphen_values = true)]
    admin_token: Option<String>,
    /// The name that the audit log gives for a change
    #[arg(short = 'i', long = "as", alias = "access-id", value_name = "NAME")]
    actor: Option<String>,
    /// A settings file other than the user's own
    #[arg(short, long, value_name = "FILE", env = "BULKHEAD_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) fn config(args: &ConfigArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let path = args.config.clone().or_else(default_path).ok_or_else(|| {
        Failure::Usage(
            "there is no directory for the file: neither HOME nor XDG_CONFIG_HOME is set; pass -c FILE".into(),
        )
    })?;
    let mut settings = if path.exists() { Settings::of(&path)? } else { Settings::default() };
    let given = [&args.admin, &args.admin_token, &args.actor].into_iter().flatten().count();
    if given > 0 {
        if let Some(admin) = &args.admin {
            let admin = if admin.is_empty() { None } else { Some(base(admin)?) };
            // A token belongs to one server, so a new address removes the stored token.
            if admin != settings.admin && settings.admin_token.take().is_some() && args.admin_token.is_none() {
                screen
                    .note("the stored token was for the previous server and is removed; -k stores one for this server");
            }
            settings.admin = admin;
        }
        if let Some(token) = &args.admin_token {
            let token = if token == "-" { from_stdin()? } else { token.clone() };
            settings.admin_token = if token.is_empty() { None } else { Some(checked(&token, "--admin-token")?) };
        }
        if let Some(actor) = &args.actor {
            settings.actor = Some(actor.clone()).filter(|actor| !actor.is_empty());
        }
        settings.write(&path)?;
    }
    let token = if settings.admin_token.is_some() { "set" } else { "none" };
    if screen.is_json() {
        let shown = json!({
            "file": path, "admin": settings.admin, "admin_token": settings.admin_token.is_some(), "as": settings.actor,
        });
        screen.json(&shown)?;
        return Ok(Exit::Ok);
    }
    screen.pairs([
        ["file".to_owned(), path.display().to_string()],
        ["admin".to_owned(), settings.admin.unwrap_or_else(|| "none".into())],
        ["admin token".to_owned(), token.to_owned()],
        ["as".to_owned(), settings.actor.unwrap_or_else(|| "none".into())],
    ])?;
    Ok(Exit::Ok)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_TOKEN).read_to_string(&mut text);
    read.context("cannot read the token from standard input")?;
    Ok(text.trim().to_owned())
}
