//! Properties of all answers that a processor may give. See [`crate::fuzz`].

use http::header::{CONNECTION, CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};

use super::bindings::bulkhead::processor::types::Response;
use super::entry;
use crate::call::Body;

/// Most bytes of an answer's body.
const MAX_BODY: usize = 200;

/// Makes a response from bytes: two for the status, one for the body's length, then names and values of headers, each
/// ended by a zero. An accepted response can be sent: no value breaks a line, and no header frames the message.
pub fn processor_answer(bytes: &[u8]) {
    let [low, high, length, rest @ ..] = bytes else { return };
    let mut words = rest.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let content_type = (length % 2 == 1).then(|| words.next()).flatten();
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        headers.push((name, value));
    }
    let status = u16::from_le_bytes([*low, *high]);
    let response = Response { status, content_type, headers, body: vec![b'x'; (*length).into()] };
    let Ok(answer) = entry::check(response, MAX_BODY) else { return };

    assert!((200..600).contains(&answer.status.as_u16()), "{}", answer.status);
    let Body::Whole(body) = &answer.body else { panic!("an answer of bytes is no stream") };
    assert!(body.len() <= MAX_BODY && answer.headers.len() <= 64);
    for ours in [CONNECTION, CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING, UPGRADE] {
        assert!(!answer.headers.contains_key(&ours), "{ours} passed");
    }
    for value in answer.headers.values().chain(&answer.content_type) {
        let splits = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(splits), "{value:?} passed");
    }
}
