//! The messages for command lines that cannot be parsed.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::json;

use super::failure::Exit;

/// Command names of other tools, and the commands here that do the same.
const ELSEWHERE: [(&[&str], &str); 12] = [
    (&["get", "ps", "services", "status"], "list"),
    (&["describe", "show", "inspect", "info"], "desc"),
    (&["deploy", "add", "push"], "create"),
    (&["update", "edit", "set", "patch"], "modify"),
    (&["rm", "remove", "destroy"], "delete"),
    (&["call", "predict", "send", "curl"], "invoke"),
    (&["rollback", "history", "versions"], "version"),
    (&["canary", "weight", "scale"], "release"),
    (&["run", "try"], "test"),
    (&["init", "generate"], "new"),
    (&["server", "daemon", "up"], "serve"),
    (&["instances", "pods"], "workers"),
];

/// Prints a clap error. Help and version are answers and go to standard output; everything else is wrong usage, and is
/// printed as JSON if the command line asks for that.
pub(super) fn explain(error: clap::Error) -> Exit {
    let error = with_suggestion(error);
    if !error.use_stderr() {
        // A failed write is ignored: the pipe may be closed.
        let _ = error.print();
        return Exit::Ok;
    }
    let words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if words.into_iter().any(|word| word == "--json") {
        eprintln!("{}", as_json(&error));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// The error in the form that every failure has with `--json`.
pub(super) fn as_json(error: &clap::Error) -> serde_json::Value {
    let text = error.render().to_string();
    let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    json!({ "error": { "exit": Exit::Usage as u8, "message": message } })
}

/// Suggests the command that another tool calls by the given name. For other words, clap suggests the most similar
/// command.
pub(super) fn with_suggestion(mut error: clap::Error) -> clap::Error {
    let asked = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(asked)) if error.kind() == ErrorKind::InvalidSubcommand => asked.as_str(),
        _ => return error,
    };
    // Clap compares the spelling, and would suggest `test` for `get`.
    let meant = ELSEWHERE.iter().find(|(words, _)| words.contains(&asked)).map(|(_, command)| *command);
    if let Some(command) = meant {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![command.to_owned()]));
    }
    error
}
