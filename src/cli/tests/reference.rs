//! The reference page of the command line, made from clap's definition.

use bulkhead_pages::generated::{check, code, prose, table};
use clap::{Arg, Command, CommandFactory};

use super::help::commands;
use crate::cli::Cli;

/// The heading of the options that every command has.
const OUTPUT: &str = "Output";
/// The heading of the options that every command has which talks to a server.
const SERVER: &str = "Server";

#[test]
fn the_page_is_what_the_code_says() {
    let commands: Vec<(String, Command)> = commands().into_iter().filter(|(words, _)| words != "bulkhead").collect();
    let names = commands.iter().map(|(words, command)| {
        let anchor = words.replace(' ', "-");
        [format!("[{}](#{anchor})", code(words)), also(command), prose(&about(command))]
    });
    let sections: Vec<String> = commands.iter().map(|(words, command)| section(words, command)).collect();
    let root = Cli::command();
    let help = root.get_after_help().map(ToString::to_string).unwrap_or_default();
    let exit_codes = help.split("\n\n").next().unwrap_or_default().lines().skip(1);
    let exit_codes = exit_codes.filter_map(|line| line.trim().split_once("  "));
    let parts = [
        ("commands", table(["command", "also", "purpose"], names)),
        ("options of every command", shared(&commands, OUTPUT)),
        ("options for a server", shared(&commands, SERVER)),
        (
            "exit codes",
            table(["code", "meaning"], exit_codes.map(|(exit, text)| [exit.to_owned(), prose(text.trim())])),
        ),
        ("sections", sections.join("\n")),
    ];
    check("docs/reference/cli.md", &parts);
}

fn section(words: &str, command: &Command) -> String {
    let own: Vec<&Arg> =
        arguments(command).filter(|arg| ![Some(OUTPUT), Some(SERVER)].contains(&heading(arg))).collect();
    let usage = command.clone().render_usage().to_string();
    let mut section =
        format!("### {}\n\n{}.\n\n```text\n{}\n```\n", code(words), prose(&about(command)), usage.trim_end());
    if !own.is_empty() {
        section.push_str(&format!("\n{}", arguments_table(own)));
    }
    if arguments(command).any(|arg| heading(arg) == Some(SERVER)) {
        section.push_str("\nIt has the [options for a server](#options-for-a-server).\n");
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    section.push_str(&format!("\n```text\n{}\n```\n", after.trim()));
    section
}

/// The options under a heading, which must be the same in all commands that have them.
fn shared(commands: &[(String, Command)], under: &str) -> String {
    let mut found: Vec<&Arg> = Vec::new();
    for (words, command) in commands {
        for arg in arguments(command).filter(|arg| heading(arg) == Some(under)) {
            match found.iter().find(|known| known.get_id() == arg.get_id()) {
                Some(known) => assert_eq!(row(known), row(arg), "the option {} of {words}", arg.get_id()),
                None => found.push(arg),
            }
        }
    }
    arguments_table(found)
}

fn heading(arg: &Arg) -> Option<&str> {
    arg.get_help_heading()
}

/// The arguments that help shows, without `--help` itself.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
}

fn arguments_table(arguments: Vec<&Arg>) -> String {
    table(["argument", "default", "variable", "meaning"], arguments.into_iter().map(row))
}

fn row(arg: &Arg) -> [String; 4] {
    let (help, default) = help(arg);
    let variable = arg.get_env().map(|name| code(name.to_string_lossy())).unwrap_or_default();
    [name(arg), default, variable, help]
}

/// The argument as it is written on a command line, in each of its forms.
fn name(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str());
    let values = if arg.get_action().takes_values() { values.collect::<Vec<_>>().join(" ") } else { String::new() };
    if arg.is_positional() {
        return code(values);
    }
    let short = arg.get_short_and_visible_aliases().unwrap_or_default().into_iter().map(|short| format!("-{short}"));
    let long = arg.get_long_and_visible_aliases().unwrap_or_default().into_iter().map(|long| format!("--{long}"));
    let forms = short.chain(long).map(|form| code(format!("{form} {values}").trim_end()));
    forms.collect::<Vec<_>>().join(", ")
}

/// The meaning of an argument, and its default, which clap knows or the end of the help text tells.
fn help(arg: &Arg) -> (String, String) {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, told) = match help.rsplit_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let takes_values = arg.get_action().takes_values();
    let values: Vec<String> = arg.get_possible_values().iter().map(|value| code(value.get_name())).collect();
    let help = match values.is_empty() || !takes_values || arg.is_hide_possible_values_set() {
        true => prose(&help),
        false => format!("{}: {}", prose(&help), values.join(", ")),
    };
    let defaults = arg.get_default_values().iter().filter(|value| takes_values && !value.is_empty());
    let defaults: Vec<String> = defaults.map(|value| code(value.to_string_lossy())).collect();
    let default = match (defaults.is_empty(), arg.is_required_set()) {
        (false, _) => defaults.join(", "),
        (true, true) => "required".to_owned(),
        (true, false) => prose(&told),
    };
    (help, default)
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn also(command: &Command) -> String {
    command.get_visible_aliases().map(code).collect::<Vec<_>>().join(", ")
}
