//! The command lines of the documentation and of the help texts: each is one that the command line accepts.

use bulkhead_pages::shell;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::help::commands;
use crate::cli::Cli;

#[test]
fn every_command_line_of_the_documentation_is_accepted() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for page in bulkhead_pages::all() {
        // Pages that code hosts show first have indented blocks.
        for block in page.blocks().into_iter().filter(|block| block.is("sh") || block.info.is_none()) {
            for words in of_bulkhead(&block.text) {
                seen += 1;
                faults.extend(fault(&words).map(|why| format!("{}:{}: {why}", page.path, block.line)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 50, "the documentation has command lines");
}

#[test]
fn every_example_of_the_help_texts_is_accepted() {
    for (words, command) in commands() {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = after.split_once("Examples:\n").map_or("", |(_, examples)| examples);
        // A remark stands behind some examples, after several spaces.
        let lines = examples.lines().map(|line| line.trim_start().split("   ").next().unwrap_or_default());
        for example in of_bulkhead(&lines.collect::<Vec<_>>().join("\n")) {
            assert_eq!(fault(&example), None, "{words} --help");
        }
    }
}

#[test]
fn a_command_line_that_is_none_is_told() {
    let faults = |script: &str| of_bulkhead(script).iter().filter_map(|words| fault(words)).count();
    assert_eq!(faults("bulkhead ls --stat running | jq\nA=$(bulkhead tokn a)\n# bulkhead none\nbulkhead ls"), 2);
    assert_eq!(faults("bulkhead --help; bulkhead serve --version"), 1);
    assert_eq!(faults("bulkhead serve --grace $TIME; bulkhead serve --grace soon"), 1);
}

/// The command lines of a script that begin with `bulkhead`.
fn of_bulkhead(script: &str) -> Vec<Vec<String>> {
    let mut commands = shell::commands(script);
    commands.retain(|words| words[0] == "bulkhead");
    commands
}

/// The reason why the command line is refused. A value with a variable or a substitution is known to the shell alone.
fn fault(words: &[String]) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    let is_unknown =
        matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.contains('$'));
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let first = error.to_string().lines().next().unwrap_or_default().to_owned();
    (!is_answer && !is_unknown).then(|| format!("`{}`: {first}", words.join(" ")))
}
