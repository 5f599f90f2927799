//! Compression of request bodies, for services with `metadata.rpc.decompressor`.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd_safe::{CLEVEL_DEFAULT, compress, compress_bound, get_error_name};

/// The compression of request bodies.
///
/// As with the official SDKs, no header announces it: the service must be configured with the same
/// `metadata.rpc.decompressor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compressor {
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950).
    Zlib,
    /// One block of Snappy without framing, as the Python and Java SDKs send it.
    Snappy,
    /// Zstandard: one frame, with its content size.
    Zstd,
    /// LZ4: the frame format.
    Lz4Frame,
    /// LZ4: one block without framing.
    Lz4Block,
}

impl Compressor {
    pub(crate) fn compress(self, body: &[u8]) -> Result<Bytes, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the body cannot be compressed: {error}");
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).and_then(|()| encoder.finish()).map_err(|error| failed(&error))?
            }
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).and_then(|()| encoder.finish()).map_err(|error| failed(&error))?
            }
            Self::Snappy => snap::raw::Encoder::new().compress_vec(body).map_err(|error| failed(&error))?,
            // The frame states its content size, which some receivers need.
            Self::Zstd => {
                let mut compressed = Vec::with_capacity(compress_bound(body.len()));
                compress(&mut compressed, body, CLEVEL_DEFAULT).map_err(|code| failed(&get_error_name(code)))?;
                compressed
            }
            Self::Lz4Frame => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(body).map_err(|error| failed(&error))?;
                encoder.finish().map_err(|error| failed(&error))?
            }
            Self::Lz4Block => lz4_flex::block::compress(body),
        };
        Ok(compressed.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decompress(compressor: Compressor, body: &[u8], length: usize) -> Vec<u8> {
        let all = |decoder: &mut dyn Read| {
            let mut plain = Vec::new();
            decoder.read_to_end(&mut plain).map(|_| plain).unwrap()
        };
        match compressor {
            Compressor::Gzip => all(&mut flate2::read::GzDecoder::new(body)),
            Compressor::Zlib => all(&mut flate2::read::ZlibDecoder::new(body)),
            Compressor::Snappy => snap::raw::Decoder::new().decompress_vec(body).unwrap(),
            // Decodes all at once, as some receivers do.
            Compressor::Zstd => {
                let size = zstd_safe::get_frame_content_size(body).unwrap().expect("the frame tells its content size");
                let mut plain = Vec::with_capacity(usize::try_from(size).unwrap());
                zstd_safe::decompress(&mut plain, body).unwrap();
                plain
            }
            Compressor::Lz4Frame => all(&mut lz4_flex::frame::FrameDecoder::new(body)),
            Compressor::Lz4Block => lz4_flex::block::decompress(body, length).unwrap(),
        }
    }

    #[test]
    fn what_is_compressed_can_be_had_again() {
        use Compressor::{Gzip, Lz4Block, Lz4Frame, Snappy, Zlib, Zstd};
        let large = b"a row of numbers, ".repeat(5000);
        for compressor in [Gzip, Zlib, Snappy, Zstd, Lz4Frame, Lz4Block] {
            for body in [&b""[..], b"x", &large] {
                let compressed = compressor.compress(body).unwrap();
                assert_eq!(decompress(compressor, &compressed, body.len()), body, "{compressor:?}");
            }
            assert!(compressor.compress(&large).unwrap().len() < large.len() / 10, "{compressor:?}");
        }
    }
}
