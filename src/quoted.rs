//! Client input escaped for responses and log lines: printable ASCII in quotation marks, shortened.
//!
//! Any input is safe in this form: it cannot end a line or a string, control a terminal, pass for the host's own text,
//! or fill a log.

use std::fmt;

/// Most bytes shown; real names are shorter.
const SHOWN: usize = 64;

/// Shows bytes as `"text"`, a byte that is not printable ASCII as `\xe9`, and a long text by its beginning and its
/// length.
pub(crate) struct Quoted<T>(pub(crate) T);

impl<T: AsRef<[u8]>> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_ref();
        let shown = &bytes[..bytes.len().min(SHOWN)];
        write!(f, "\"{}", shown.escape_ascii())?;
        match bytes.len() > SHOWN {
            false => f.write_str("\""),
            true => write!(f, "…\" ({} bytes)", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_little_printable_ascii_is_shown() {
        for (given, shown) in [
            (&b""[..], r#""""#),
            (b"br", r#""br""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x1b[2J\r\n\0", r#""\x1b[2J\r\n\x00""#),
            ("é\u{202e}".as_bytes(), r#""\xc3\xa9\xe2\x80\xae""#),
            (b"\xff", r#""\xff""#),
        ] {
            assert_eq!(Quoted(given).to_string(), shown);
        }
        assert_eq!(Quoted("a".repeat(64)).to_string(), format!("\"{}\"", "a".repeat(64)));
        assert_eq!(Quoted("a".repeat(65)).to_string(), format!("\"{}…\" (65 bytes)", "a".repeat(64)));
        assert!(Quoted(vec![0xff; 30_000]).to_string().len() < 300);
    }
}
