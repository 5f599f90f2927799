//! `man`: manual pages, made from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgAction, Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::Cli;
use super::failure::{Exit, Failure};
use super::screen::Screen;

const SOURCE: &str = concat!("Bulkhead ", env!("CARGO_PKG_VERSION"));
/// Headings of help texts, and the sections that manual pages have for them.
const SECTIONS: [(&str, &str); 3] =
    [("Exit codes:", "EXIT STATUS"), ("A first tour:", "EXAMPLES"), ("Examples:", "EXAMPLES")];
/// The section for a help text without a heading.
const NOTES: &str = "NOTES";

#[derive(Args, Debug)]
#[command(after_help = "\
Every command has a page of its own: `man bulkhead-create`.

Examples:
  bulkhead man > bulkhead.1
  bulkhead man --dir ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write the page of bulkhead and of each command to this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn man(args: &ManArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    // `bulkhead help` shows the same texts as the pages.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => screen.bytes(&page(&command).map_err(Failure::Output)?)?,
        Some(directory) => {
            let written = fs::create_dir_all(directory).and_then(|()| write(&command, directory));
            written.with_context(|| format!("cannot write the pages to `{}`", directory.display()))?;
        }
    }
    Ok(Exit::Ok)
}

/// Writes the pages of a command and of those below it.
fn write(command: &Command, directory: &Path) -> io::Result<()> {
    fs::write(directory.join(Man::new(command.clone()).get_filename()), page(command)?)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| write(below, directory))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(SOURCE).manual("Bulkhead");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    sections(&text).to_writer(&mut page)?;
    Ok(page)
}

/// Renders the synopsis. Clap's own leaves out the names of the options' values.
fn synopsis(command: &Command) -> Roff {
    let required: Vec<Vec<&Arg>> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .map(|group| command.get_arguments().filter(|arg| group.get_args().any(|id| id == arg.get_id())).collect())
        .collect();
    let in_group = |arg: &Arg| required.iter().flatten().any(|member| member.get_id() == arg.get_id());
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && !in_group(arg)).partition(|arg| arg.is_positional());
    let mut line = vec![bold(command.get_bin_name().unwrap_or_else(|| command.get_name()))];
    for arg in options.into_iter().chain(positional) {
        let (open, close) = if arg.is_required_set() { (" <", ">") } else { (" [", "]") };
        line.push(roman(open));
        line.extend(shown(arg));
        line.push(roman(if matches!(arg.get_action(), ArgAction::Append) {
            format!("{close}...")
        } else {
            close.into()
        }));
    }
    for members in &required {
        for (at, member) in members.iter().enumerate() {
            line.push(roman(if at == 0 { " <" } else { "|" }));
            line.extend(shown(member));
        }
        line.push(roman(">"));
    }
    if command.has_subcommands() {
        line.extend([roman(" <"), italic("command"), roman(">")]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(line);
    roff
}

/// The names of an option, and its value; of a positional argument, the value.
fn shown(arg: &Arg) -> Vec<Inline> {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut shown = Vec::new();
    for name in short.into_iter().chain(long) {
        if !shown.is_empty() {
            shown.push(roman("|"));
        }
        shown.push(bold(name));
    }
    if arg.get_num_args().is_some_and(|values| values.takes_values()) {
        if !shown.is_empty() {
            shown.push(roman(" "));
        }
        let value = arg.get_value_names().map(|names| names.join(" "));
        shown.push(italic(value.unwrap_or_else(|| arg.get_id().as_str().to_uppercase())));
    }
    shown
}

/// Renders the text at the end of a help page. Indented lines keep their line ends, others are filled.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let (mut in_section, mut in_block) = (false, false);
    for line in text.lines() {
        let is_block = line.starts_with(' ');
        if is_block != in_block {
            roff.control(if is_block { "nf" } else { "fi" }, []);
            in_block = is_block;
        }
        let section = SECTIONS.iter().find(|(heading, _)| *heading == line).map(|(_, section)| *section);
        let section = section.or_else(|| (!in_section).then_some(NOTES));
        if let Some(section) = section {
            roff.control("SH", [section]);
            in_section = true;
        }
        match line {
            "" => _ = roff.control("PP", []),
            _ if section.is_none_or(|section| section == NOTES) => _ = roff.text([roman(line)]),
            _ => {}
        }
    }
    roff
}
