//! The table of the demo: the request, the answer, and a mark if it is as documented.

const CODE_WIDTH: usize = 26;
const DONE_WIDTH: usize = 36;
const CAME_WIDTH: usize = 52;

/// One answer.
pub(super) struct Row {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) done: String,
    pub(super) came: String,
    pub(super) is_expected: bool,
}

pub(super) fn print(rows: &[Row]) {
    println!("Every answer that a caller can get:\n");
    line("", "status", "code", "what was done", "what came back");
    for row in rows {
        let mark = if row.is_expected { "✓" } else { "✗" };
        let (done, came) = (wrap(&row.done, DONE_WIDTH), wrap(&row.came, CAME_WIDTH));
        let empty = String::new();
        for index in 0..done.len().max(came.len()) {
            let (done, came) = (done.get(index).unwrap_or(&empty), came.get(index).unwrap_or(&empty));
            match index {
                0 => line(mark, &row.status.to_string(), &row.code, done, came),
                _ => line("", "", "", done, came),
            }
        }
    }
}

fn line(mark: &str, status: &str, code: &str, done: &str, came: &str) {
    let text = format!("{mark:1} {status:6} {code:CODE_WIDTH$} {done:DONE_WIDTH$} {came}");
    println!("{}", text.trim_end());
}

/// Wraps at spaces; a word that is longer than a line is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let last = lines.last_mut().unwrap_or_else(|| unreachable!("there is always a line"));
            let used = last.chars().count();
            let space = usize::from(used > 0);
            if used + space + word.len() <= width {
                last.extend(std::iter::repeat_n(' ', space).chain(word.drain(..)));
            } else if used == 0 {
                last.extend(word.drain(..width));
            } else {
                lines.push(String::new());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces_and_long_words_are_cut() {
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefgh i", 4), ["a", "abcd", "efgh", "i"]);
    }
}
