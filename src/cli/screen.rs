//! The output of commands: results on standard output, everything else on standard error.
//!
//! Progress is drawn only if standard error is a terminal and `--quiet` is not given. Control characters are escaped,
//! so that a service's message or a guest's log line cannot control the terminal.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, TableStyle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;

#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct ScreenArgs {
    /// Print results as JSON, for scripts; errors too, on standard error
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Print no progress and no notes
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
}

pub(crate) struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    json: bool,
    quiet: bool,
    /// True if progress is drawn.
    live: bool,
    /// True if standard output is a terminal.
    shown: bool,
    /// True if the last line on standard output has not been ended. Both outputs may go to one place, as with `2>&1`, so
    /// that text on standard error must begin a line of its own.
    mid_line: bool,
    /// True if a user can be asked: standard input and standard error are terminals.
    answers: bool,
}

impl Screen {
    pub(super) fn new(args: ScreenArgs) -> Self {
        Self {
            live: !args.quiet && io::stderr().is_terminal(),
            shown: io::stdout().is_terminal(),
            answers: io::stdin().is_terminal() && io::stderr().is_terminal(),
            ..Self::with(args, io::stdout(), io::stderr())
        }
    }

    /// A screen that draws no progress and asks no questions.
    pub(super) fn with(args: ScreenArgs, out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            json: args.json,
            quiet: args.quiet,
            live: false,
            shown: false,
            mid_line: false,
            answers: false,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// True if only results are to be printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        let text = text.to_string();
        self.mid_line = false;
        writeln!(self.out, "{}", printable(&text)).map_err(Failure::Output)
    }

    /// Writes bytes unchanged.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.mid_line = bytes.last().map_or(self.mid_line, |last| *last != b'\n');
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }

    /// Writes the body of an answer. On a terminal, control characters are escaped and the last line is ended;
    /// otherwise the bytes are unchanged.
    pub(crate) fn body(&mut self, body: &[u8]) -> Result<(), Failure> {
        if !self.shown || body.is_empty() {
            return self.bytes(body);
        }
        match std::str::from_utf8(body) {
            Ok(text) => self.line(text.strip_suffix('\n').unwrap_or(text)),
            Err(_) => self.line("(not text; redirect standard output to keep it)"),
        }
    }

    /// Ends the last line on standard output, if that has not been done.
    pub(crate) fn end_line(&mut self) -> Result<(), Failure> {
        if self.mid_line { self.bytes(b"\n") } else { Ok(()) }
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::Output(error.into()))?;
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    /// Writes a remark to standard error. A failed write is ignored.
    pub(crate) fn note(&mut self, text: impl Display) {
        if !self.quiet {
            self.remark(&text.to_string());
        }
    }

    pub(super) fn failure(&mut self, failure: &Failure) {
        let text = if self.json { failure.to_json().to_string() } else { format!("error: {failure}") };
        self.remark(&text);
    }

    /// Writes a line to standard error. A failed write is ignored.
    fn remark(&mut self, text: &str) {
        let end = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
        let _ = writeln!(self.err, "{end}{}", printable(text));
    }

    /// Asks for confirmation; `None` if there is no terminal to ask at.
    pub(super) fn confirm(&mut self, question: &str) -> Result<Option<bool>, Failure> {
        if !self.answers {
            return Ok(None);
        }
        write!(self.err, "{} [y/N] ", printable(question)).and_then(|()| self.err.flush()).map_err(Failure::Output)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(Failure::Output)?;
        Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    pub(crate) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table.set_header(header);
        self.columns(table, rows)
    }

    /// Writes names and values, one pair on a line.
    pub(crate) fn pairs(&mut self, rows: impl IntoIterator<Item = [String; 2]>) -> Result<(), Failure> {
        self.columns(Table::new(), rows)
    }

    /// Writes columns without borders, which people and `awk` can read.
    fn columns<const N: usize>(
        &mut self,
        mut table: Table,
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        table.load_style(TableStyle::new());
        table.add_rows(rows.into_iter().map(|row| row.map(one_line)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(table.trim_fmt())
    }

    /// A progress bar over a number of bytes; hidden unless progress is drawn.
    pub(crate) fn bar(&self, label: impl Into<Cow<'static, str>>, bytes: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(
            "{msg:14} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
        ProgressBar::with_draw_target(Some(bytes), self.draw_target()).with_style(style).with_message(label)
    }

    /// A progress bar over a number of things; hidden unless progress is drawn.
    pub(crate) fn count(&self, label: impl Into<Cow<'static, str>>, total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg:14} [{bar:30}] {pos}/{len} {per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        ProgressBar::with_draw_target(Some(total), self.draw_target()).with_style(style).with_message(label)
    }

    /// A spinner for a step of unknown length; hidden unless progress is drawn.
    pub(crate) fn spinner(&self, label: impl Into<Cow<'static, str>>) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg:14} {spinner} {elapsed} {prefix}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::with_draw_target(None, self.draw_target()).with_style(style).with_message(label);
        // The ticks need a thread, which is started only if there is something to draw.
        if self.live {
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        spinner
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if self.live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }
}

/// Escapes all control characters except line ends and tabs.
fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) {
            clean.push(c);
        } else {
            let _ = write!(clean, "{}", c.escape_default());
        }
    }
    Cow::Owned(clean)
}

/// Joins the lines of a cell, so that a table's row is one line.
fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text }
}

/// Formats a time in s, ms or µs, depending on its size.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.0} µs", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jx\r"), "\\u{1b}[2Jx\\r");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_micros(37)), "37 µs");
        assert_eq!(duration(Duration::from_micros(3_140)), "3.1 ms");
        assert_eq!(duration(Duration::from_millis(12_345)), "12.3 s");
    }
}
