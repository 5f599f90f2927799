//! Content codings: compression and decompression of bodies.
//!
//! Decoders get untrusted input. They are safe Rust, except for zstd: there only the reference library, in C, refuses
//! every frame that other receivers refuse. Output is bounded while it is produced, and long work checks the deadline.
//! Nothing here knows HTTP, except for the names of the codings.

mod decode;
mod effort;
mod encode;
mod form;

pub use self::decode::{Fault, decode};
pub use self::effort::Effort;
pub use self::encode::{encode, snappy};

/// The compression of a body.
///
/// The first three are registered (RFC 9110 §8.4.1, RFC 8878 §7.1); the last two are called raw Snappy and LZ4 by
/// clients of EAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950. Decoding also accepts bare RFC 1951, which some senders call by this name.
    Deflate,
    /// RFC 8878, one frame or several.
    Zstd,
    /// The raw format: a length and a block, without framing.
    Snappy,
    /// Frames. Decoding also accepts a bare block, which has no magic number.
    Lz4,
}

impl Coding {
    /// The supported codings, the most preferred first. gzip is what clients support best.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Zstd, Self::Deflate, Self::Lz4, Self::Snappy];

    /// Returns the name as in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }

    /// Returns the coding that has this name in a header.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::known(name).map(|(_, coding)| coding)
    }

    /// As [`named`](Self::named), with the canonical name. Names are compared without regard to case (RFC 9110 §8.4.1).
    pub fn known(name: &[u8]) -> Option<(&'static str, Self)> {
        const NAMES: [(&str, Coding); 8] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("zlib", Coding::Deflate),
            ("zstd", Coding::Zstd),
            ("snappy", Coding::Snappy),
            ("x-snappy", Coding::Snappy),
            ("lz4", Coding::Lz4),
        ];
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).copied()
    }
}
