//! The mistakes of a service file, each with its place, in one value.

use std::{error, fmt};

use serde::Serialize;

/// Most mistakes that are kept. A hostile file must not determine the length of the answer.
const MOST: usize = 100;
/// Most characters of a path that are kept. Keys come from the file, so a path may be long.
const LONGEST_PATH: usize = 160;

/// One mistake. The path is dotted (`metadata.rpc.keepalive`, `processor_envs[0].name`), and empty for the file as a
/// whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    path: String,
    message: String,
}

/// The mistakes of one file, sorted by path, none twice. As an error it is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(Vec<Mistake>);

impl Mistake {
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Mistakes {
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, path: &str, message: impl Into<String>) {
        let mistake = match self.0.len() {
            0..MOST => Mistake { path: one_line(path, LONGEST_PATH), message: one_line(&message.into(), usize::MAX) },
            MOST => Mistake { path: String::new(), message: format!("there are more mistakes than these {MOST}") },
            _ => return,
        };
        if !self.0.contains(&mistake) {
            let place = self.0.partition_point(|earlier| earlier.path <= mistake.path);
            self.0.insert(place, mistake);
        }
    }

    /// Adds the mistakes of a part of the file, which is at `place`.
    pub(super) fn absorb(&mut self, place: &str, part: Self) {
        for mistake in part.0 {
            let path = if mistake.path.is_empty() { place.to_owned() } else { format!("{place}.{}", mistake.path) };
            self.add(&path, mistake.message);
        }
    }

    /// True if further mistakes are dropped, so that their messages need not be made.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() > MOST
    }

    /// True if there is a mistake at this path or inside it. Mistakes that follow from it need no message.
    pub(super) fn at(&self, path: &str) -> bool {
        self.0.iter().any(|mistake| {
            mistake.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    pub(super) fn settle<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Displays one mistake per line.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl error::Error for Mistakes {}

/// Cuts a text, and escapes line breaks, control characters and direction characters. Text from the file goes to
/// terminals and logs, where it must not forge lines.
fn one_line(text: &str, most: usize) -> String {
    let mut line: String =
        text.chars().take(most).flat_map(|c| if forges(c) { c.escape_default().collect() } else { vec![c] }).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

fn forges(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_sorted_one_to_a_line_and_none_is_said_twice() {
        let mut mistakes = Mistakes::default();
        mistakes.add("token", "b");
        mistakes.add("name", "a");
        mistakes.add("token", "b");
        assert_eq!(mistakes.to_string(), "name: a\ntoken: b");
        assert_eq!(
            serde_json::to_string(&mistakes).unwrap(),
            r#"[{"path":"name","message":"a"},{"path":"token","message":"b"}]"#
        );
    }

    #[test]
    fn a_mistake_inside_a_key_is_a_mistake_at_the_key() {
        let mut mistakes = Mistakes::default();
        mistakes.add("processor_envs[3].name", "…");
        assert!(mistakes.at("processor_envs"));
        assert!(!mistakes.at("processor"));
    }

    #[test]
    fn keys_from_the_file_forge_no_lines_and_have_an_end() {
        let mut mistakes = Mistakes::default();
        mistakes.add(&format!("a\n\u{1b}[31m\u{202e}{}", "x".repeat(10_000)), "m");
        let shown = mistakes.to_string();
        assert!(shown.starts_with(r"a\n\u{1b}[31m\u{202e}xxx") && shown.len() < 250, "{shown}");
    }

    #[test]
    fn there_are_never_more_than_a_hundred_and_a_word_about_the_rest() {
        let mut mistakes = Mistakes::default();
        for n in 0..1000 {
            mistakes.add(&format!("key{n}"), "m");
        }
        assert_eq!(mistakes.len(), 101);
        assert!(mistakes.is_full() && mistakes.to_string().starts_with("there are more mistakes"));
    }
}
