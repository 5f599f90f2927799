//! Shell completions. A shell loads a script of a few lines, and the script runs this program at each press of TAB.
//!
//! Clap's dynamic engine completes commands, options and files from the definition of the command line. Names of services
//! come from the server, within a short time or not at all.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompleteEnv, CompletionCandidate, Shell};

use super::Cli;
use super::client::AdminArgs;
use super::services::prefix;
use crate::config::ServiceName;

const PROGRAM: &str = "bulkhead";
/// The environment variable with which a script asks for completions. Its value is the name of the shell.
const VARIABLE: &str = "BULKHEAD_COMPLETE";
/// The time for the server's answer. The person who pressed TAB waits for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// The first word of an argument that is the name of a service or a URL, as its help shows it.
const NAME_OR_URL: &str = "NAME|URL";

/// Zsh runs a script from its function path at the first TAB. Without these lines, only the second TAB would complete.
const ZSH_FIRST_TAB: &str = "
if [ \"$funcstack[1]\" = _bulkhead ]; then
    _clap_dynamic_completer_bulkhead \"$@\"
fi
";

/// The part of clap's script for bash that collects the words, and what replaces it. Readline also divides words at `:`
/// and `=`, as in URLs and in `--option=value`. Parts without a space between them are one word here.
const BASH_WORDS: [&str; 2] = [
    r#"    local words=("${COMP_WORDS[@]}")
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        words[COMP_CWORD]="$2"
    fi
"#,
    r#"    local words=() rest=$COMP_LINE part
    for part in "${COMP_WORDS[@]:0:COMP_CWORD}" "$2"; do
        if [[ ${#words[@]} -gt 0 && -n $part && $rest == "$part"* ]]; then
            words[${#words[@]}-1]+=$part
        else
            words+=("$part")
        fi
        rest=${rest#*"$part"}
    done
    _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1))
    local before=${words[_CLAP_COMPLETE_INDEX]%"$2"}
"#,
];

/// The end of clap's script for bash, and what replaces it: bash inserts a completion behind the part of the word that
/// readline has divided off.
const BASH_REPLY: [&str; 2] = [
    r#"        unset COMPREPLY
    elif [[ $_CLAP_COMPLETE_SPACE == false ]] && [[ "${COMPREPLY-}" =~ [=/:]$ ]]; then
        compopt -o nospace
    fi
"#,
    r#"        unset COMPREPLY
    else
        if [[ $_CLAP_COMPLETE_SPACE == false ]] && [[ "${COMPREPLY-}" =~ [=/:]$ ]]; then
            compopt -o nospace
        fi
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
"#,
];

/// Returns the script that a shell loads. It finds the program on the PATH.
pub(super) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or_else(|| io::Error::other(format!("no completions for {shell}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    match shell {
        Shell::Bash => with_whole_words(script),
        Shell::Zsh => Ok([script.as_slice(), ZSH_FIRST_TAB.as_bytes()].concat()),
        _ => Ok(script),
    }
}

/// # Errors
/// If the script of clap does not have the parts to replace.
fn with_whole_words(script: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut script = String::from_utf8(script).map_err(io::Error::other)?;
    for [part, replacement] in [BASH_WORDS, BASH_REPLY] {
        if !script.contains(part) {
            return Err(io::Error::other("clap's completion script for bash has changed"));
        }
        script = script.replace(part, replacement);
    }
    Ok(script.into_bytes())
}

/// Answers the script of a shell. `None` if no script has called this process.
pub(super) fn answer() -> Option<ExitCode> {
    // A script passes the words of the command line after `--`.
    let words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let engine = CompleteEnv::with_factory(|| completable(&words)).var(VARIABLE).bin(PROGRAM).completer(PROGRAM);
    match engine.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            // Standard error may be closed, and there is no other place for the message.
            let _ = error.print();
            Some(ExitCode::FAILURE)
        }
    }
}

/// Returns the definition of the command line with what only completions need.
pub(super) fn completable(words: &[OsString]) -> Command {
    let asks_for_option = words.last().is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    let mut command = Cli::command();
    // Adds the options that every command has.
    command.build();
    completed(command, words, asks_for_option)
}

fn completed(command: Command, words: &[OsString], asks_for_option: bool) -> Command {
    // Of a command and its visible aliases, the engine shows only the first in the alphabet.
    let aliases: Vec<_> = command.get_all_aliases().map(str::to_owned).collect();
    let command = command.visible_alias(Resettable::Reset).aliases(aliases);
    let command = command.mut_args(|argument| {
        // The engine shows hidden options only if there is nothing else.
        let hides = !asks_for_option && !argument.is_positional();
        let argument = if hides { argument.hide(true) } else { argument };
        if names_service(&argument) { argument.add(services(words.to_vec())) } else { argument }
    });
    command.mut_subcommands(|below| completed(below, words, asks_for_option))
}

/// True if the argument is the name of a service that exists.
fn names_service(argument: &Arg) -> bool {
    argument.get_value_parser().type_id() == TypeId::of::<ServiceName>()
        || argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == NAME_OR_URL))
}

fn services(words: Vec<OsString>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let (words, typed) = (words.clone(), typed.to_string_lossy().into_owned());
        let (sender, names) = mpsc::sync_channel(1);
        // The process ends with the answer to the shell, and this thread with it.
        thread::spawn(move || sender.send(names_beginning(&typed, words)));
        let names = names.recv_timeout(PATIENCE).ok().flatten().unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// Asks the server that the words name, or else the environment, the client's file or this machine. `None` for any
/// failure: there is nowhere to show it.
fn names_beginning(typed: &str, mut words: Vec<OsString>) -> Option<Vec<String>> {
    // The unfinished word is not valid yet, and a mistake would hide the environment from the parser.
    if let Some(place) = words.iter().rposition(|word| word == typed) {
        words.remove(place);
    }
    let typed = prefix(typed).ok()?;
    let matches = Cli::definition().ignore_errors(true).try_get_matches_from(words).ok()?;
    // The options of `bulkhead queue get` are those of `get`.
    let (_, mut options) = matches.subcommand()?;
    while let Some((_, below)) = options.subcommand() {
        options = below;
    }
    let client = AdminArgs::from_arg_matches(options).ok()?.client_now().ok()?;
    let services = client.services(&format!("&prefix={typed}")).ok()?;
    Some(services.iter().filter_map(|service| service["name"].as_str().map(str::to_owned)).collect())
}
