//! Encoding, fast rather than small: the CPU time is needed for guests.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd_safe::{CCtx, CParameter, compress_bound};

use super::Coding;

/// The fastest regular compression level.
const ZSTD_LEVEL: i32 = 1;

/// Encodes `plain`; `None` if that is impossible, as for more than Snappy's 4 GiB.
pub fn encode(coding: Coding, plain: &[u8]) -> Option<Vec<u8>> {
    // Text is compressed to half its length at most.
    let room = Vec::with_capacity(plain.len() / 2);
    match coding {
        Coding::Gzip => finish(GzEncoder::new(room, Compression::fast()), plain, GzEncoder::finish),
        Coding::Deflate => finish(ZlibEncoder::new(room, Compression::fast()), plain, ZlibEncoder::finish),
        Coding::Zstd => zstd(plain),
        Coding::Snappy => snappy(plain),
        Coding::Lz4 => finish(lz4_flex::frame::FrameEncoder::new(room), plain, |encoder| {
            encoder.finish().map_err(std::io::Error::from)
        }),
    }
}

/// Encodes raw Snappy. Most encoders produce the same bytes, but the format does not require it.
pub fn snappy(plain: &[u8]) -> Option<Vec<u8>> {
    snap::raw::Encoder::new().compress_vec(plain).ok()
}

/// Encodes one frame with a checksum and with its content size, which some receivers need to allocate their buffer.
fn zstd(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = CCtx::try_create()?;
    encoder.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
    encoder.set_parameter(CParameter::ContentSizeFlag(true)).ok()?;
    encoder.set_parameter(CParameter::ChecksumFlag(true)).ok()?;
    let mut coded = Vec::with_capacity(compress_bound(plain.len()));
    encoder.compress2(&mut coded, plain).ok()?;
    coded.shrink_to_fit();
    Some(coded)
}

fn finish<E: Write>(mut encoder: E, plain: &[u8], end: impl FnOnce(E) -> std::io::Result<Vec<u8>>) -> Option<Vec<u8>> {
    encoder.write_all(plain).ok()?;
    end(encoder).ok()
}
