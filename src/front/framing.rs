//! Follows a request's body so that the guard knows where the request ends: RFC 9112 §6 and §7.1.

use super::head::BodyLength;

/// Where in a body the bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Ended,
    Exactly(u64),
    Chunked(Chunk),
    /// The chunks are malformed; where the body ends cannot be known.
    Broken,
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
}

/// Bytes of extensions and trailers of one chunk are hyper's to bound; it refuses more than 16 KiB.
const MAX_SIZE_DIGITS: u8 = 16;

impl From<BodyLength> for Framing {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Ended,
            BodyLength::Exactly(length) => Self::Exactly(length),
            BodyLength::Chunked => Self::Chunked(Chunk::Size { digits: 0, size: 0 }),
        }
    }
}

impl Framing {
    /// Takes what belongs to the body from the front of `bytes`; returns how many bytes that are.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Ended | Self::Broken => 0,
            Self::Exactly(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                taken
            }
            Self::Chunked(_) => self.take_chunks(bytes),
        }
    }

    fn take_chunks(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let Self::Chunked(chunk) = self else { break };
            if let Chunk::Data { left } = chunk {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= taken as u64;
                at += taken;
                if *left == 0 {
                    *chunk = Chunk::DataCr;
                }
                continue;
            }
            match chunk.step(bytes[at]) {
                Step::To(next) => *chunk = next,
                Step::End => *self = Self::Ended,
                // The byte that broke the chunks stays behind, and so does everything after it.
                Step::Broken => {
                    *self = Self::Broken;
                    break;
                }
            }
            at += 1;
        }
        at
    }
}

enum Step {
    To(Chunk),
    End,
    Broken,
}

impl Chunk {
    fn step(self, byte: u8) -> Step {
        let next = match (self, byte) {
            (Self::Size { digits, size }, byte) if byte.is_ascii_hexdigit() => {
                if digits == MAX_SIZE_DIGITS {
                    return Step::Broken;
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { digits: 1.., size }, b';') => Self::Extension { size },
            (Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { .. } | Self::Trailer, b'\n') => return Step::Broken,
            (Self::Extension { .. } | Self::Trailer, byte) if byte != b'\r' => self,
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Line,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Line, b'\r') => Self::LastLf,
            (Self::Line, byte) if byte != b'\n' => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::Line,
            (Self::LastLf, b'\n') => return Step::End,
            _ => return Step::Broken,
        };
        Step::To(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Framing {
        Framing::from(BodyLength::Chunked)
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut framing = Framing::from(BodyLength::Exactly(5));
        assert_eq!(framing.take(b"abc"), 3);
        assert_eq!(framing, Framing::Exactly(2));
        assert_eq!(framing.take(b"deGET /"), 2);
        assert_eq!(framing, Framing::Ended);
    }

    #[test]
    fn chunks_end_at_the_empty_line_however_they_are_cut() {
        let body = b"4;ext=1\r\nWiki\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\n\r\n";
        let mut whole = chunked();
        let mut with_next = body.to_vec();
        with_next.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(whole.take(&with_next), body.len());
        assert_eq!(whole, Framing::Ended);
        let mut cut = chunked();
        for byte in body {
            assert_eq!(cut.take(&[*byte]), 1);
        }
        assert_eq!(cut, Framing::Ended);
    }

    #[test]
    fn malformed_chunks_are_noticed() {
        for bad in [
            "4\nWiki\r\n0\r\n\r\n",
            "4\r\nWikiX",
            "4\r\nWiki\n",
            "0x4\r\n",
            "+4\r\n",
            " 4\r\n",
            "\r\n",
            "4 \r\n",
            "4;a\nb\r\n",
            "10000000000000000\r\n",
            "0\r\nTrailer: x\n",
            "0\n\r\n",
        ] {
            let mut framing = chunked();
            framing.take(bad.as_bytes());
            assert_eq!(framing, Framing::Broken, "{bad:?}");
        }
    }
}
