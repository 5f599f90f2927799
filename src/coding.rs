//! Content codings: what bodies are compressed with, and how that is undone and done.
//!
//! Decoders get input from strangers. They are safe Rust, except for zstd: there only the reference library, in C,
//! refuses every frame that other receivers refuse. Output is bounded while it is produced, and long work checks the
//! deadline. Nothing here knows HTTP beyond the names.

mod decode;
mod effort;
mod encode;
mod form;

pub use self::decode::{Fault, decode};
pub use self::effort::Effort;
pub use self::encode::{encode, snappy};

/// How a body is compressed.
///
/// The first three are registered (RFC 9110 §8.4.1, RFC 8878 §7.1); the last two are what clients of EAS call raw Snappy
/// and LZ4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, of one member or several.
    Gzip,
    /// RFC 1950. Decoding takes bare RFC 1951 as well, which some senders mean by the name.
    Deflate,
    /// RFC 8878, of one frame or several.
    Zstd,
    /// The raw format: a length and a block, without framing.
    Snappy,
    /// Frames; decoding takes a bare block as well, which has no mark of its own.
    Lz4,
}

impl Coding {
    /// Those we speak, most wanted first: gzip is what clients know best.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Zstd, Self::Deflate, Self::Lz4, Self::Snappy];

    /// As in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }

    /// The coding of this name in a header.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::known(name).map(|(_, coding)| coding)
    }

    /// The same, with its canonical name. Names are compared without regard to case (RFC 9110 §8.4.1).
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
