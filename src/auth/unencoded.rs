//! Recovers the signed text for clients that sign their target before they percent-encode it.
//!
//! The Python SDK signs `/api/predict/svc/größe v1` and leaves the encoding to its HTTP library, which sends
//! `/api/predict/svc/gr%C3%B6%C3%9Fe%20v1`; the Go SDK does the same. So a signature that does not match the target as
//! sent may match the text that the target was encoded from.
//!
//! This makes a stolen signature no more useful. A text is accepted only if one of those libraries encodes it to
//! exactly this target, and each library encodes a text in one way. So a signature is valid for the target that its
//! client sent, and not for another target with the same decoded text: `%2F` and `%3F` stay different from `/` and `?`,
//! `%41` from `A`, `%c3` from `%C3`, because none of the libraries writes a target in that way.

/// Characters of a path that a library does not encode, besides letters, digits and `-._~`.
type Kept = &'static [u8];

/// The characters of a path that Python's urllib3 and Go's net/url do not encode.
const PATHS: [Kept; 2] = [b"/:@!$&'()*+,;=", b"/:@$&+,;="];
/// The characters of a query that urllib3 does not encode. Go sends a query unchanged.
const QUERY: Kept = b"/:@!$&'()*+,;=?";

/// Returns the text that `target` was encoded from; `None` if no SDK's HTTP library writes such a target, or if nothing
/// in it is encoded.
pub(super) fn unencoded(target: &str) -> Option<Vec<u8>> {
    if !target.contains('%') {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut text = PATHS.iter().find_map(|kept| before(path, kept))?;
    if let Some(query) = query {
        text.push(b'?');
        text.extend(before(query, QUERY)?);
    }
    (text != target.as_bytes()).then_some(text)
}

/// Returns the text that a library encodes to `part`, if the library leaves the characters in `kept` unencoded.
fn before(part: &str, kept: Kept) -> Option<Vec<u8>> {
    let text = decode(part.as_bytes())?;
    // The library would have ended the part at a `#` or `?`.
    let is_one_part = !text.contains(&b'#') && (kept.contains(&b'?') || !text.contains(&b'?'));
    let is_text = is_one_part && str::from_utf8(&text).is_ok();
    (is_text && encode(&text, kept) == part.as_bytes()).then_some(text)
}

/// Decodes percent-encoding; `None` if a `%` is not followed by two hexadecimal digits.
fn decode(part: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(part.len());
    let mut rest = part.iter();
    while let Some(byte) = rest.next() {
        text.push(match byte {
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            _ => *byte,
        });
    }
    Some(text)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Encodes as the libraries do: if every `%` in the text begins an encoded byte, each `%` is kept.
fn encode(text: &[u8], kept: Kept) -> Vec<u8> {
    let is_encoded = |at: usize| matches!(text.get(at + 1..at + 3), Some([a, b]) if digit(*a).and(digit(*b)).is_some());
    let percents = || text.iter().enumerate().filter(|(_, byte)| **byte == b'%').map(|(at, _)| at);
    let keeps_percent = percents().all(is_encoded);
    let mut part = Vec::with_capacity(text.len());
    for byte in text {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte);
        if is_plain || (*byte == b'%' && keeps_percent) {
            part.push(*byte);
        } else {
            part.push(b'%');
            part.extend([byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(target: &str) -> Option<String> {
        unencoded(target).map(|text| String::from_utf8(text).unwrap())
    }

    /// The pairs come from urllib3 2.8, the last one from the rules of Go.
    #[test]
    fn what_an_sdk_sends_leads_to_what_it_signed() {
        for (signed, sent) in [
            ("/api/predict/svc/a b", "/api/predict/svc/a%20b"),
            ("/api/predict/svc/größe", "/api/predict/svc/gr%C3%B6%C3%9Fe"),
            ("/api/predict/svc/模型/v1", "/api/predict/svc/%E6%A8%A1%E5%9E%8B/v1"),
            ("/api/predict/svc/100%", "/api/predict/svc/100%25"),
            ("/api/predict/svc/100% 50%20", "/api/predict/svc/100%25%2050%2520"),
            ("/api/predict/svc/a b(1)!'*", "/api/predict/svc/a%20b(1)!'*"),
            ("/api/predict/svc/[x]|\"<>^`{}\\", "/api/predict/svc/%5Bx%5D%7C%22%3C%3E%5E%60%7B%7D%5C"),
            ("/api/predict/svc/a b?q=c d&e=/?", "/api/predict/svc/a%20b?q=c%20d&e=/?"),
            ("/api/predict/svc?q=ü", "/api/predict/svc?q=%C3%BC"),
            ("/api/predict/svc/a b(1)!'*", "/api/predict/svc/a%20b%281%29%21%27%2A"),
        ] {
            assert_eq!(text(sent).as_deref(), Some(signed), "{sent}");
        }
    }

    /// Each of these would make a signature of one target valid for another target.
    #[test]
    fn what_no_library_writes_is_no_other_spelling_of_a_target() {
        for sent in [
            "/api/predict/svc/a/b",
            "/api/predict/svc/a%2Fb",
            "/api/predict/svc/a%2fb",
            "/api/predict/svc%2Fa%20b",
            "/api/predict/svc/a%3Fx=1",
            "/api/predict/svc/a%20b%3Fx=1",
            "/api/predict/svc/a%20b%23x",
            "/api/predict/svc/a?x=%20%23",
            "/api/predict/svc/%2E%2E/x%20y",
            "/api/predict/svc/%41%20",
            "/api/predict/s%76c/a%20b",
            "/api/predict/svc/gr%c3%b6%c3%9fe",
            "/api/predict/svc/a%2541",
            "/api/predict/svc/a%20b%2541",
            "/api/predict/svc/%FF",
            "/api/predict/svc/100%",
            "/api/predict/svc/%2",
            "/api/predict/svc/%zz%20",
            "/api/predict/svc/a%3Ab%20",
            "/api/predict/svc/a%20b(1)%21",
            "/api/predict/svc?q=%26%20",
        ] {
            assert_eq!(text(sent), None, "{sent}");
        }
    }

    #[test]
    fn no_two_targets_of_one_library_come_of_one_text() {
        let pieces = ["a", "%", "%2", "%20", "%25", "%2F", "/", "?", " ", "ö", "%C3%B6", "(", "%28", "+", "2", "0"];
        let mut targets: std::collections::HashMap<Vec<u8>, Vec<String>> = std::collections::HashMap::new();
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let sent = format!("/{a}{b}{c}");
                    if let Some(text) = unencoded(&sent) {
                        targets.entry(text).or_default().push(sent);
                    }
                }
            }
        }
        assert!(targets.len() > 100, "{}", targets.len());
        for (text, sent) in targets {
            let text = String::from_utf8(text).unwrap();
            // Two targets where the two libraries differ: only in which of `!'()*` they encode.
            let plain = |sent: &String| sent.replace("%28", "(");
            assert!(sent.iter().all(|one| plain(one) == plain(&sent[0])), "{text:?}: {sent:?}");
        }
    }
}
