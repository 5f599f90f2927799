//! The command `token`: shows the tokens of a service, and changes them without a gap.

use clap::Args;
use serde_json::json;

use super::client::{AdminArgs, path, read};
use super::failure::{Exit, Failure};
use super::interrupt::UnderWay;
use super::screen::Screen;
use crate::api::{TokenBody, Tokens};
use crate::config::{ServiceName, Token};

#[derive(Args, Debug)]
#[command(after_help = "\
Without an option, shows the tokens. A change of the token makes no version and replaces no guest. A rotation has three
steps: --rotate makes a new token, and the previous one stays valid; you give the new token to every caller; --retire
makes the previous token invalid.

Examples:
  bulkhead token digits
  bulkhead token digits --rotate
  bulkhead token digits --retire
  curl -H \"Authorization: $(bulkhead token digits --plain)\" …")]
pub(super) struct TokenArgs {
    /// The service
    name: ServiceName,
    /// Make a new token the current one; the previous one stays valid
    #[arg(long, conflicts_with = "retire")]
    rotate: bool,
    /// The new token [default: a generated one]
    #[arg(long, value_name = "TOKEN", requires = "rotate", allow_hyphen_values = true, value_parser = Token::parse)]
    token: Option<Token>,
    /// Make the previous token invalid
    #[arg(long)]
    retire: bool,
    /// Print the current token and nothing else; for a public service, nothing
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn token(args: &TokenArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    let client = args.admin.client()?;
    let change = match (&args.token, args.rotate, args.retire) {
        (Some(token), ..) => Some(TokenBody::Rotate { token: Some(token.reveal().to_owned()) }),
        (None, true, _) => Some(TokenBody::Rotate { token: None }),
        (None, false, true) => Some(TokenBody::Retire {}),
        (None, false, false) => None,
    };
    let answer = match change {
        Some(change) => {
            let _under_way = UnderWay::say("the change of the token", args.name.as_str(), screen);
            client.post_json(&format!("{}/token", path(&args.name)), &change)?
        }
        None => {
            let service = client.get(&path(&args.name))?;
            json!({"name": service["name"], "token": service["token"], "previous_token": service["previous_token"]})
        }
    };
    if screen.is_json() {
        screen.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let Tokens { token, previous_token, .. } = read(answer)?;
    if args.plain {
        let Some(token) = token else {
            // A script that sends what it gets sends nothing, which a public service accepts.
            screen.note(format_args!("service `{}` is public: it has no token, and calls need none", args.name));
            return Ok(Exit::Ok);
        };
        screen.line(token)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["token".to_owned(), token.unwrap_or_else(|| "none: calls need no token".to_owned())]];
    rows.extend(previous_token.map(|previous| ["previous token".to_owned(), previous]));
    screen.pairs(rows)?;
    Ok(Exit::Ok)
}
