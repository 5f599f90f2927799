//! The line of a service file that a syntax error is about, fit to be shown: short, and without its secrets.

/// Enough to recognise the place; a file may well be one very long line.
const WIDTH: usize = 100;

/// Keys whose values are secrets. A text that does not parse has no structure to go by, so whatever follows these words
/// is covered.
const SECRET: [&str; 2] = ["token", "value"];

/// The line (from 1), around the column (in bytes, from 1).
pub(super) fn line(text: &str, line: usize, column: usize) -> String {
    let covered = cover(text);
    let line = covered.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    let at = line.char_indices().take_while(|(at, _)| *at < column).count();
    let start = at.saturating_sub(WIDTH / 2);
    let shown: String = line.chars().skip(start).take(WIDTH).collect();
    let (before, after) = (start > 0, line.chars().nth(start + WIDTH).is_some());
    format!("{}{shown}{}", if before { "…" } else { "" }, if after { "…" } else { "" })
}

/// The text with secrets starred out byte by byte, so that lines and columns stay where they are.
fn cover(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut bytes = text.as_bytes().to_vec();
    for word in SECRET {
        // What was starred is not looked at again, so the work is in proportion to the text.
        let mut covered = 0;
        for (at, _) in lower.match_indices(word) {
            if at >= covered {
                covered = star_value(&mut bytes, at + word.len());
            }
        }
    }
    // Whole characters are starred or none of them, because a secret ends at an ASCII character.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Stars out the value that follows a key ending at `from`, whichever of its quotes and colon are missing. Says where
/// the value ends.
fn star_value(bytes: &mut [u8], from: usize) -> usize {
    let name_ends = from + count(&bytes[from..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let after_quote = name_ends + usize::from(bytes.get(name_ends) == Some(&b'"'));
    let start =
        after_quote + count(&bytes[after_quote..], |byte| byte.is_ascii_whitespace() || matches!(byte, b':' | b'='));
    let quoted = bytes.get(start) == Some(&b'"');
    let mut escaped = false;
    let mut at = start + usize::from(quoted);
    while let Some(byte) = bytes.get_mut(at) {
        let ends = match *byte {
            b'\n' => true,
            b'"' => quoted && !escaped,
            b',' | b'}' => !quoted,
            _ => false,
        };
        if ends {
            break;
        }
        escaped = *byte == b'\\' && !escaped;
        *byte = b'*';
        at += 1;
    }
    at
}

fn count(bytes: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| matches(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let shown = line(&text, 1, 501);
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("aHEREb"), "{shown}");
        assert_eq!(shown.chars().count(), WIDTH + 2);
        assert_eq!(line("one\ntwo\n", 2, 1), "two");
        assert_eq!(line("one", 9, 9), "", "a line that is not there shows nothing");
    }

    #[test]
    fn a_secret_is_covered_however_the_line_is_broken() {
        for broken in [
            r#"{"token": "s3cret" "name": "a"}"#,
            r#"{"token" "s3cret"}"#,
            r#"{"token: "s3cret"}"#,
            r#"{token: s3cret}"#,
            r#"{"token": "s3cret"#,
            r#"{"Token":"a\"s3cret", x}"#,
            r#"{"token": s3cret, "a": 1}"#,
            r#"[{"name": "K", "value": "s3cret"]"#,
            "{\"token\":\n\"s3cret\" x}",
            "{\"token\": \"sä-s3cret-ß\" x}",
        ] {
            for number in 1..=2 {
                let shown = line(broken, number, 1);
                assert!(!shown.contains("cret"), "{broken} shows {shown}");
            }
        }
        assert_eq!(line(r#"{"token": "abc", "name": "a"}"#, 1, 1), r#"{"token": "***", "name": "a"}"#);
    }
}
