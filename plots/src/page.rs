//! The frame of a page: head, sections, and text that cannot become markup.

use std::fmt::{Display, Formatter, Result as Formatted};

const STYLE: &str = include_str!("style.css");

/// Makes a whole page of these parts.
pub fn document(title: &str, parts: &[String]) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        Text(title),
        parts.concat()
    )
}

/// Makes a part with a heading, and with a note if that is not empty.
pub fn section(title: &str, note: &str, content: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", Text(note)) };
    format!("<section>\n<h2>{}</h2>\n{note}{content}</section>\n", Text(title))
}

/// Lists the names of a chart's lines, each marked in the colour and pattern of its class. Shown on screens too narrow
/// for the names at the ends of the lines.
pub(crate) fn legend<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let names = lines.map(|(class, name)| format!("<span class=\"{class}\">{}</span>", Text(name)));
    format!("<p class=\"legend\">{}</p>\n", names.collect::<Vec<_>>().join(" "))
}

/// Text that is escaped when written, because it may contain HTML markup.
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => write!(f, "{other}"),
        })
    }
}

/// Formats a time as `2026-11-24 18:50 UTC`. The computation lets years begin in March, so that a leap day is the last
/// day of its year.
pub fn moment(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let day = days + 719_468; // since the first of March of the year 0
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{}-{month:02}-{day:02} {hour:02}:{minute:02} UTC", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_795_546_259), "2026-11-24 18:50 UTC");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Text("a <b> & \"c\"").to_string(), "a &lt;b&gt; &amp; &quot;c&quot;");
        let page = document("<title>", &[section("<h>", "<n>", "<p>content</p>")]);
        assert!(page.contains("&lt;h&gt;") && page.contains("&lt;n&gt;") && page.contains("<p>content</p>"), "{page}");
    }
}
