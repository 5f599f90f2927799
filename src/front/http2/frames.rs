//! Follows the frames that a client sends on an HTTP/2 connection, and ends a connection that floods.
//!
//! A ping or a change of settings costs its sender nine bytes and the host an answer. A request that is reset as soon
//! as it is sent costs the host its work. Honest clients send few of these frames, so their number is limited. Source:
//! RFC 9113 §4.1, §10.5.

use std::io;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(10);
/// Most pings, settings and priorities in a window.
const MAX_CONTROL: u32 = 200;
/// Most resets of requests in a window.
const MAX_RESETS: u32 = 100;

const HEADER: usize = 9;
const ACK: u8 = 1;

/// Types of frames that are counted: RFC 9113 §6.
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

#[derive(Debug)]
pub(super) struct Frames {
    /// The header of the current frame, as far as it has arrived.
    header: [u8; HEADER],
    got: usize,
    /// Bytes of its payload still to come.
    payload: usize,
    since: Instant,
    control: u32,
    resets: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; HEADER], got: 0, payload: 0, since: Instant::now(), control: 0, resets: 0 }
    }
}

impl Frames {
    /// Counts the frames in `bytes`, which the client sent after its preface.
    ///
    /// # Errors
    /// The client floods. The connection must be closed.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let more = (HEADER - self.got).min(bytes.len());
            self.header[self.got..self.got + more].copy_from_slice(&bytes[..more]);
            self.got += more;
            bytes = &bytes[more..];
            if self.got == HEADER {
                self.got = 0;
                self.begin_frame()?;
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
        let count = match kind {
            PING | SETTINGS if flags & ACK == 0 => &mut self.control,
            PRIORITY => &mut self.control,
            RST_STREAM => &mut self.resets,
            _ => return Ok(()),
        };
        *count += 1;
        if self.control <= MAX_CONTROL && self.resets <= MAX_RESETS {
            return Ok(());
        }
        if self.since.elapsed() < WINDOW {
            return Err(io::Error::other("the client floods with control frames"));
        }
        (self.since, self.control, self.resets) = (Instant::now(), 0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = (payload as u32).to_be_bytes();
        [vec![a, b, c, kind, flags, 0, 0, 0, 1], vec![0xff; payload]].concat()
    }

    #[test]
    fn floods_end_and_answers_to_the_hosts_own_pings_do_not_count() {
        for (kind, most) in
            [(PING, MAX_CONTROL), (SETTINGS, MAX_CONTROL), (PRIORITY, MAX_CONTROL), (RST_STREAM, MAX_RESETS)]
        {
            let mut frames = Frames::default();
            for _ in 0..most {
                frames.see(&frame(kind, 0, 8)).unwrap();
            }
            assert!(frames.see(&frame(kind, 0, 8)).is_err(), "{kind}");
        }
        let mut frames = Frames::default();
        for _ in 0..10_000 {
            frames.see(&frame(PING, ACK, 8)).unwrap();
            frames.see(&frame(0, 0, 100)).unwrap();
        }
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let mut frames = Frames::default();
        let bytes = [frame(0, 0, 70_000), frame(PING, 0, 8), frame(RST_STREAM, 0, 4), frame(1, 4, 0)].concat();
        for piece in bytes.chunks(7) {
            frames.see(piece).unwrap();
        }
        assert_eq!((frames.control, frames.resets, frames.got, frames.payload), (1, 1, 0, 0));
    }

    #[test]
    fn a_client_that_goes_on_for_long_is_no_flood() {
        let mut frames = Frames::default();
        for _ in 0..50 {
            for _ in 0..MAX_CONTROL {
                frames.see(&frame(PING, 0, 8)).unwrap();
            }
            frames.since -= WINDOW;
        }
    }
}
