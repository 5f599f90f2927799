//! The line of a service file with a syntax error, for display: short, and without secrets.

/// Most characters that are shown, which suffice to find the place. A file may be one very long line.
const WIDTH: usize = 100;

/// Words in keys whose values are secrets. A text that cannot be parsed has no structure, so each occurrence of such a
/// word counts as a key, and the value after it is replaced with stars.
const SECRET: [&str; 2] = ["token", "value"];

/// The part of a line around a column. The line counts from 1; the column counts bytes from 1.
pub(super) fn line(text: &str, line: usize, column: usize) -> String {
    let covered = cover(text);
    let line = covered.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    let at = line.char_indices().take_while(|(at, _)| *at < column).count();
    let start = at.saturating_sub(WIDTH / 2);
    let shown: String = line.chars().skip(start).take(WIDTH).collect();
    let (before, after) = (start > 0, line.chars().nth(start + WIDTH).is_some());
    format!("{}{shown}{}", if before { "…" } else { "" }, if after { "…" } else { "" })
}

/// Replaces the bytes of secrets with stars, so that lines and columns do not move.
fn cover(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut bytes = text.as_bytes().to_vec();
    for word in SECRET {
        // Covered text is skipped, so the work is linear in the length of the text.
        let mut covered = 0;
        for (at, _) in lower.match_indices(word) {
            if at >= covered {
                covered = star_value(&mut bytes, at + word.len());
            }
        }
    }
    // No character is covered in part, because a secret ends at an ASCII character.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Covers the value after a key that ends at `from`, even if quotes or the colon are missing. Returns the end of the
/// value.
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
