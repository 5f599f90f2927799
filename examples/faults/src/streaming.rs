use std::{thread, time::Duration};

use bulkhead_guest::{Error, Response, stream::Stream};

use crate::deed::StreamEnd;
use crate::strain;

/// Streams pieces of letters, each piece of another letter.
pub(crate) fn stream(pieces: u64, bytes: usize, pause: Duration, end: StreamEnd) -> Result<Response, Error> {
    let mut stream = Response::text("").stream()?;
    for (_, letter) in (0..pieces).zip((b'a'..=b'z').cycle()) {
        stream.write(vec![letter; bytes])?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    end_with(stream, end)
}

fn end_with(stream: Stream, end: StreamEnd) -> Result<Response, Error> {
    match end {
        StreamEnd::Ok => {}
        StreamEnd::Panic => panic!("asked to panic in the middle of an answer"),
        StreamEnd::Trap => strain::trap(),
        StreamEnd::Error => return Err(Error::new(422, "asked to fail in the middle of an answer")),
        StreamEnd::Loop => strain::spin(),
        StreamEnd::Linger => {
            while !stream.is_abandoned() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        StreamEnd::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        StreamEnd::Body => return Ok(Response::text("a body that nobody expects")),
        StreamEnd::Twice => drop(Response::text("").stream()?),
    }
    Ok(stream.finish())
}
