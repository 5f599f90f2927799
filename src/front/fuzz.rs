//! What holds of the guard's judgement whatever comes off a socket. See [`crate::fuzz`].

use super::framing::Framing;
use super::head::{MAX_HEAD, Scan, Scanner};

/// The first byte says how the others are cut into pieces. However they are cut, the guard judges them alike; a head it
/// lets through is one that hyper cannot read in another way, and its body ends in one place.
pub fn request_guard(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let step = usize::from(*cut % 61) + 1;
    let whole = Scanner::default().scan(bytes);
    let in_pieces = scan_in_pieces(bytes, step);
    match (&whole, &in_pieces) {
        (Scan::Partial, Scan::Partial) | (Scan::Refused(_), Scan::Refused(_)) => return,
        (Scan::Complete(a), Scan::Complete(b)) if a == b => {}
        differ => panic!("the judgement depends on how the bytes come: {differ:?}"),
    }
    let Scan::Complete(head) = whole else { return };
    let text = &bytes[..head.len];
    assert!(head.len <= MAX_HEAD && text.ends_with(b"\r\n\r\n"));
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        assert_eq!(text[at - 1], b'\r', "a bare line feed was let through");
    }
    let lower = text.to_ascii_lowercase();
    let has = |name: &[u8]| memchr::memmem::find(&lower, &[b"\r\n", name, b":"].concat()).is_some();
    assert!(!(has(b"content-length") && has(b"transfer-encoding")), "two lengths were let through");

    let rest = &bytes[head.len..];
    let mut framing = Framing::from(head.body);
    let taken = framing.take(rest);
    assert!(taken <= rest.len());
    let mut cut = Framing::from(head.body);
    let mut sum = 0;
    for piece in rest.chunks(step) {
        let count = cut.take(piece);
        sum += count;
        if count < piece.len() {
            break;
        }
    }
    assert_eq!((sum, cut), (taken, framing), "where the body ends depends on how the bytes come");
}

fn scan_in_pieces(bytes: &[u8], step: usize) -> Scan {
    let mut scanner = Scanner::default();
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        match scanner.scan(&bytes[..end]) {
            Scan::Partial => {}
            judged => return judged,
        }
    }
    Scan::Partial
}
