//! Tests of all help texts: they are complete and of one style.

use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::cli::failure::Exit;

/// Collects a command and its subcommands, each with the words that call it.
fn all(command: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    found.push((words.to_owned(), command.clone()));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        all(below, &format!("{words} {}", below.get_name()), found);
    }
}

pub(super) fn commands() -> Vec<(String, Command)> {
    let mut cli = Cli::command();
    cli.build();
    let mut found = Vec::new();
    all(&cli, "bulkhead", &mut found);
    // `bulkhead help` is clap's own, and so is everything below it.
    found.retain(|(words, _)| !words.starts_with("bulkhead help"));
    found
}

#[test]
fn every_command_and_option_is_explained() {
    let commands = commands();
    assert!(commands.len() > 15, "{}", commands.len());
    for (words, command) in commands {
        let about = command.get_about().unwrap_or_else(|| panic!("{words} is not explained")).to_string();
        assert!(!about.ends_with('.') && about.starts_with(char::is_uppercase), "{words}: {about}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{words}: {id} is not explained");
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // The README promises that the help of every command has examples. Only `bulkhead` itself has a tour instead.
        let heading = if words == "bulkhead" { "A first tour:\n" } else { "Examples:\n" };
        let examples = after.split_once(heading).map_or("", |(_, examples)| examples);
        assert!(examples.contains("bulkhead "), "{words} has no examples");
    }
    let help = Cli::command().render_help().to_string();
    let codes =
        [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Refused, Exit::Unreachable, Exit::NotFound, Exit::Interrupted];
    for code in codes.map(|exit| exit as u8) {
        assert!(help.contains(&format!("\n  {code:>3}  ")), "exit code {code} is not explained");
    }
}
