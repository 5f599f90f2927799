//! Separates a body's data from its framing: RFC 9112 §6 and §7.1.

use super::head::BodyLength;
use crate::front::head::is_token;
use crate::incoming::BadChunks;

/// The position in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Ended,
    Exactly(u64),
    Chunked {
        chunk: Chunk,
        /// Bytes of extensions and trailers so far.
        extras: usize,
    },
    /// The chunks are malformed. The end of the body is unknown.
    Broken(BadChunks),
}

/// The position in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size {
        digits: u8,
        size: u64,
    },
    /// In the white space before an extension.
    Space {
        size: u64,
    },
    Extension {
        size: u64,
        quoting: Quoting,
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
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
}

/// The position relative to a quoted string of an extension (RFC 9110 §5.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    Outside,
    Inside,
    /// After a backslash, which makes the next character a part of the string.
    Escaped,
}

impl Quoting {
    /// Returns the position after `byte`; `None` if `byte` is not allowed there.
    fn step(self, byte: u8) -> Option<Self> {
        let is_text = matches!(byte, b'\t' | b' '..=b'~');
        match (self, byte) {
            (Self::Outside, b'"') => Some(Self::Inside),
            (Self::Outside, _) => is_text.then_some(Self::Outside),
            (Self::Inside, b'"') => Some(Self::Outside),
            (Self::Inside, b'\\') => Some(Self::Escaped),
            (Self::Inside | Self::Escaped, _) => (is_text || !byte.is_ascii()).then_some(Self::Inside),
        }
    }
}

const MAX_SIZE_DIGITS: u8 = 16;
/// Most bytes of extensions and trailers. Extensions have no meaning here, and few clients send trailers, so a body with
/// more of them is an attack or a mistake.
const MAX_EXTRAS: usize = 16 << 10;

impl From<BodyLength> for Framing {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Ended,
            BodyLength::Exactly(length) => Self::Exactly(length),
            BodyLength::Chunked => Self::Chunked { chunk: Chunk::Size { digits: 0, size: 0 }, extras: 0 },
        }
    }
}

impl Framing {
    /// Skips the framing before the next data, or before the end; returns the number of bytes skipped. Bytes of trailers,
    /// with the ends of their lines, are added to `trailers`.
    pub(super) fn skip(&mut self, bytes: &[u8], trailers: &mut Vec<u8>) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            let Self::Chunked { chunk, extras } = self else { return at };
            if let Chunk::Data { .. } = chunk {
                return at;
            }
            match chunk.step(*byte) {
                Step::To(next) => {
                    if next.is_trailer() || *chunk == Chunk::TrailerLf {
                        trailers.push(*byte);
                    }
                    *extras += usize::from(next.is_extra() || *chunk == Chunk::TrailerLf);
                    *chunk = next;
                    if *extras > MAX_EXTRAS {
                        *self = Self::Broken(BadChunks::TooMuchBeside);
                    }
                }
                Step::End => *self = Self::Ended,
                // The byte that broke the chunks is not skipped, and neither is anything after it.
                Step::Broken => {
                    *self = Self::Broken(chunk.fault(*byte));
                    return at;
                }
            }
        }
        bytes.len()
    }

    /// Returns the number of data bytes that come next, as far as is known.
    pub(super) fn ahead(&self) -> u64 {
        match self {
            Self::Exactly(left) | Self::Chunked { chunk: Chunk::Data { left }, .. } => *left,
            Self::Ended | Self::Chunked { .. } | Self::Broken(_) => 0,
        }
    }

    /// Records that `count` bytes of the data ahead have been taken.
    pub(super) fn took(&mut self, count: usize) {
        debug_assert!(count > 0, "nothing has been taken");
        let left = self.ahead() - count as u64;
        *self = match *self {
            Self::Exactly(_) if left > 0 => Self::Exactly(left),
            Self::Chunked { extras, .. } => {
                Self::Chunked { chunk: if left > 0 { Chunk::Data { left } } else { Chunk::DataCr }, extras }
            }
            Self::Exactly(_) | Self::Ended => Self::Ended,
            Self::Broken(why) => Self::Broken(why),
        };
    }
}

enum Step {
    To(Chunk),
    End,
    Broken,
}

impl Chunk {
    /// True if the byte that led here belongs to an extension or a trailer.
    fn is_extra(self) -> bool {
        matches!(self, Self::Space { .. } | Self::Extension { .. }) || self.is_trailer()
    }

    fn is_trailer(self) -> bool {
        matches!(self, Self::TrailerName | Self::Trailer | Self::TrailerLf)
    }

    /// Returns the rule that `byte` breaks here.
    fn fault(self, byte: u8) -> BadChunks {
        match (self, byte) {
            (Self::DataCr | Self::DataLf, _) => BadChunks::DataNotEnded,
            (Self::SizeEnd { .. } | Self::TrailerLf | Self::LastLf, _) => BadChunks::BareCarriageReturn,
            (Self::Size { digits: 0, .. }, _) => BadChunks::SizeNotHexadecimal,
            (_, b'\n') => BadChunks::BareLineFeed,
            (Self::Size { digits: MAX_SIZE_DIGITS, .. }, byte) if byte.is_ascii_hexdigit() => BadChunks::SizeTooLarge,
            (Self::Size { .. }, _) => BadChunks::SizeNotHexadecimal,
            (Self::Space { .. }, _) => BadChunks::NoExtension,
            (Self::Extension { .. }, _) => BadChunks::BadExtension,
            (Self::Line | Self::TrailerName | Self::Trailer | Self::Data { .. }, _) => BadChunks::BadTrailer,
        }
    }

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
            (Self::Size { digits: 1.., size } | Self::Space { size }, b';') => {
                Self::Extension { size, quoting: Quoting::Outside }
            }
            // Only an extension may follow: parsers disagree about a size that is followed by white space alone.
            (Self::Size { digits: 1.., size } | Self::Space { size }, b' ' | b'\t') => Self::Space { size },
            (Self::Extension { size, quoting: Quoting::Outside }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size, quoting }, byte) => match quoting.step(byte) {
                Some(quoting) => Self::Extension { size, quoting },
                None => return Step::Broken,
            },
            (Self::Trailer, b'\n') => return Step::Broken,
            (Self::Trailer, byte) if byte != b'\r' => self,
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Line,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Line, b'\r') => Self::LastLf,
            // A line that is not a field could be a smuggled request.
            (Self::Line | Self::TrailerName, byte) if is_token(byte) => Self::TrailerName,
            (Self::TrailerName, b':') => Self::Trailer,
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
    use super::super::fuzz::data;
    use super::*;

    fn chunked() -> Framing {
        Framing::from(BodyLength::Chunked)
    }

    /// Reads `bytes` in pieces of `step`; returns the data, and the number of bytes that belong to the body.
    fn read(framing: &mut Framing, bytes: &[u8], step: usize) -> (Vec<u8>, usize) {
        let (data, taken, end, _) = data(*framing, bytes.chunks(step));
        *framing = end;
        (data, taken)
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut framing = Framing::from(BodyLength::Exactly(5));
        assert_eq!(read(&mut framing, b"abc", 9), (b"abc".to_vec(), 3));
        assert_eq!(framing, Framing::Exactly(2));
        assert_eq!(read(&mut framing, b"deGET /", 9), (b"de".to_vec(), 2));
        assert_eq!(framing, Framing::Ended);
    }

    #[test]
    fn chunks_end_at_the_empty_line_however_they_are_cut() {
        let body = b"4;ext=1\r\nWiki\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\n\r\n";
        let with_next = [&body[..], b"GET / HTTP/1.1\r\n"].concat();
        for step in 1..=with_next.len() {
            let mut framing = chunked();
            let (data, taken) = read(&mut framing, &with_next, step);
            assert_eq!((data.as_slice(), taken), (&b"Wikiabcdefghijklmnopqrstuvwxyz"[..], body.len()), "{step}");
            assert_eq!(framing, Framing::Ended);
        }
    }

    #[test]
    fn extensions_are_passed_over_with_the_space_before_them() {
        for extension in [
            ";x",
            ";",
            " ;x=y",
            "\t ;\tx = y ; z",
            ";x=\"a;b\"",
            ";x=\"a\\\"b;\\\\\";y",
            ";x=\"\t é\\é\"",
            " ; x=\"0\\r\" ",
        ] {
            let body = format!("4{extension}\r\nWiki\r\n0{extension}\r\n\r\n");
            for step in 1..=body.len() {
                let mut framing = chunked();
                let read = read(&mut framing, body.as_bytes(), step);
                assert_eq!((read, framing), ((b"Wiki".to_vec(), body.len()), Framing::Ended), "{body:?} {step}");
            }
        }
    }

    #[test]
    fn malformed_chunks_are_noticed_and_the_rule_is_named() {
        use BadChunks::*;
        for (bad, rule) in [
            ("4\nWiki\r\n0\r\n\r\n", BareLineFeed),
            ("4\r\nWikiX", DataNotEnded),
            ("4\r\nWiki\n", DataNotEnded),
            ("4\r\nWiki\rX", DataNotEnded),
            ("0x4\r\n", SizeNotHexadecimal),
            ("+4\r\n", SizeNotHexadecimal),
            (" 4\r\n", SizeNotHexadecimal),
            ("\r\n", SizeNotHexadecimal),
            ("\n", SizeNotHexadecimal),
            ("4\rX", BareCarriageReturn),
            ("4 \r\n", NoExtension),
            ("4 ;a\nb\r\n", BareLineFeed),
            ("4 \t\r\n", NoExtension),
            ("4 x\r\n", NoExtension),
            ("4\x0b;x\r\n", SizeNotHexadecimal),
            ("4;a\rb\r\n", BareCarriageReturn),
            ("4;a=\"b\r\n", BadExtension),
            ("4;a=\"b\\\r\n", BadExtension),
            ("4;a=\"b\nc\"\r\n", BareLineFeed),
            ("4;a=\0\r\n", BadExtension),
            ("4;a=\x7f\r\n", BadExtension),
            ("4;é\r\n", BadExtension),
            ("4;a\nb\r\n", BareLineFeed),
            ("10000000000000000\r\n", SizeTooLarge),
            ("0\r\nTrailer: x\n", BareLineFeed),
            ("0\r\nTrailer: x\rX", BareCarriageReturn),
            ("0\r\n folded\r\n\r\n", BadTrailer),
            ("0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", BadTrailer),
            ("0\r\n\rX", BareCarriageReturn),
            ("0\n\r\n", BareLineFeed),
        ] {
            let mut framing = chunked();
            read(&mut framing, bad.as_bytes(), 3);
            assert_eq!(framing, Framing::Broken(rule), "{bad:?}");
        }
    }

    #[test]
    fn what_is_beside_the_data_is_bounded() {
        let long = "x".repeat(MAX_EXTRAS);
        let broken = Framing::Broken(BadChunks::TooMuchBeside);
        for (body, end) in [
            (format!("1;{long}"), broken),
            (format!("1{}", " ".repeat(MAX_EXTRAS + 1)), broken),
            (format!("0\r\nx:{long}"), broken),
            (format!("0\r\nx:{}\r\n\r\n", &long[4..]), Framing::Ended),
            (format!("0\r\nx:{}\r\n\r\n", &long[3..]), broken),
            (format!("0\r\n{}\r\n", "x:\r\n".repeat(MAX_EXTRAS / 4)), Framing::Ended),
            (format!("0\r\n{}\r\n", "x:\r\n".repeat(MAX_EXTRAS / 4 + 1)), broken),
            (format!("1;{}\r\na\r\n0\r\n{}", &long[..MAX_EXTRAS / 2], &long[MAX_EXTRAS / 2..]), broken),
        ] {
            let mut framing = chunked();
            read(&mut framing, body.as_bytes(), 1000);
            assert_eq!(framing, end);
        }
    }
}
