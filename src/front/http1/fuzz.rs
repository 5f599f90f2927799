//! Properties of parsing a request that hold for any input. See [`crate::fuzz`].

use bytes::Bytes;
use http::HeaderName;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

use super::framing::Framing;
use super::head::{Head, Scan, Scanner};
use crate::front::head::MOST_BYTES;

/// Checks the properties for `bytes`. The first byte sets the size of the pieces into which the others are cut. The cuts
/// must not change the verdict. An accepted head has only one reading, and its body ends in one place.
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
    let Scan::Complete(len) = whole else { return };
    let text = &bytes[..len];
    assert!(len <= MOST_BYTES && text.ends_with(b"\r\n\r\n"));
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        assert_eq!(text[at - 1], b'\r', "a bare line feed was let through");
    }
    let Ok(head) = Head::read(&Bytes::copy_from_slice(text)) else { return };
    let count = |name: HeaderName| head.headers.get_all(name).iter().count();
    let (lengths, codings) = (count(CONTENT_LENGTH), count(TRANSFER_ENCODING));
    assert!(lengths + codings <= 1, "two lengths were let through");
    assert!(head.is_old || count(HOST) == 1, "no host, or two of them, were let through");
    let target = crate::front::route::target(&head.uri);
    assert!(head.uri.authority().is_none() && (target.starts_with('/') || target == "*"), "{target} is no path");

    let rest = &bytes[len..];
    let whole = data(Framing::from(head.body), [rest].into_iter());
    let in_pieces = data(Framing::from(head.body), rest.chunks(step));
    assert_eq!(whole, in_pieces, "the body depends on how the bytes come");
}

/// Returns the data of a body, the number of bytes that it takes, the framing after it, and its trailers.
pub(super) fn data<'a>(
    mut framing: Framing,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, usize, Framing, Vec<u8>) {
    let (mut data, mut taken, mut trailers) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        let mut rest = piece;
        loop {
            rest = &rest[framing.skip(rest, &mut trailers)..];
            let count = framing.ahead().min(rest.len() as u64) as usize;
            if count == 0 {
                break;
            }
            data.extend_from_slice(&rest[..count]);
            framing.took(count);
            rest = &rest[count..];
        }
        taken += piece.len() - rest.len();
        if !rest.is_empty() {
            break;
        }
    }
    (data, taken, framing, trailers)
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
