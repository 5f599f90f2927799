//! The fields of an event in a line of text: `key=value`, with quotes only if the value is not one word.

use std::fmt::Debug;

use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

/// Writes the message as it is, and fields in the format of the request lines.
pub(super) fn text() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let write = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name => write!(writer, "{name}={}", written(value)),
    });
    write.delimited(" ")
}

/// Returns the written form of a value: without quotes if it is one word, however it was formatted.
fn written(value: &dyn Debug) -> String {
    let debugged = format!("{value:?}");
    let bare = debugged.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&debugged);
    let is_word = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\=".contains(&b));
    match is_word {
        true => bare.to_owned(),
        // The value is text, and has its quotes already.
        false if bare.len() < debugged.len() => debugged,
        false => format!("{debugged:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is formatted as with `%` in an event.
    struct Shown(&'static str);

    impl Debug for Shown {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    #[test]
    fn a_value_looks_the_same_whichever_way_it_was_given() {
        for (text, expected) in [
            ("svc", "svc"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("two words", "\"two words\""),
            ("a\"b", "\"a\\\"b\""),
            ("a=b", "\"a=b\""),
            ("", "\"\""),
        ] {
            assert_eq!((written(&text), written(&Shown(text))), (expected.to_owned(), expected.to_owned()));
        }
        assert_eq!(written(&7), "7");
        assert_eq!(written(&std::time::Duration::from_millis(1500)), "1.5s");
        assert_eq!(written(&Some(7)), "Some(7)");
    }
}
