//! Functions that several readers of headers share.

use http::{HeaderMap, HeaderName};

/// Parses a weight into thousandths: `0`, `0.5`, `1.000`, with at most three digits after the point (RFC 9110 §12.4.2).
pub(crate) fn weight(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let mut value = digit(whole)? * 1000;
    for (place, byte) in [100, 10, 1].into_iter().zip(fraction) {
        value += digit(byte)? * place;
    }
    (value <= 1000).then_some(value)
}

/// Removes headers and keeps the others in order. `HeaderMap::remove` would move the last header into the place of the
/// removed one.
pub(crate) fn remove(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&is_removed) {
        return;
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut last = None;
    // Further values of a header come without its name.
    for (name, value) in headers.drain() {
        if let Some(name) = name {
            last = (!is_removed(&name)).then_some(name);
        }
        if let Some(name) = &last {
            kept.append(name.clone(), value);
        }
    }
    *headers = kept;
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_weight_is_a_number_up_to_one() {
        for (text, expected) in [("0", Some(0)), ("0.", Some(0)), ("0.5", Some(500)), ("1.000", Some(1000))] {
            assert_eq!(weight(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "2", "1.001", "0.1234", "-0", "+1", ".5", "x", "1e0"] {
            assert_eq!(weight(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_stays_keeps_its_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("x", "2"), ("b", "3"), ("y", "4"), ("c", "5"), ("b", "6"), ("x", "7")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove(&mut headers, |name| name == "x" || name == "y");
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("a", "1"), ("b", "3"), ("b", "6"), ("c", "5")]);
    }
}
