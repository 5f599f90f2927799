//! Decoding, within limits of output and of work.

use std::fmt;
use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};

use super::{Coding, Effort, form};

/// Bytes decoded at a time.
const PIECE: usize = 32 << 10;
/// Decoded text is seldom longer than this many times its coded length.
const USUAL_RATIO: usize = 8;
/// The cost of one stream, in bytes of output. A body may consist of many small streams.
const STREAM_COST: usize = 4 << 10;

/// The reason why a body was not decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The decoded body would be larger than the limit.
    #[error("the body is larger than the limit once it is decoded")]
    TooLarge,
    /// The body is not valid in its coding.
    #[error("the coding is broken{}: {why}", at.map(|at| format!(" at byte {at}")).unwrap_or_default())]
    Corrupt {
        /// The number of bytes that were valid, if the decoder knows it.
        at: Option<usize>,
        why: String,
    },
    /// Decoding needs more work than is allowed at once.
    #[error("it took too long")]
    Outgrown,
    /// The deadline has passed, or the result is no longer needed.
    #[error("it took too long")]
    Stopped,
}

/// Decodes `coded` to at most `limit` bytes, with never much more memory than that.
///
/// # Errors
/// [`Fault`], if the output would be larger, the input is malformed or truncated, or the work is more than `effort`.
pub fn decode(coding: Coding, coded: &[u8], limit: usize, effort: &Effort<'_>) -> Result<Vec<u8>, Fault> {
    let mut output = Output::new(coded.len(), limit, effort);
    let decoded = match coding {
        Coding::Gzip => inflate(coding, coded, || Decompress::new_gzip(15), &mut output),
        Coding::Deflate => {
            let has_header = form::has_zlib_header(coded);
            inflate(coding, coded, || Decompress::new(has_header), &mut output)
        }
        Coding::Zstd => zstd::decode(coded, &mut output),
        Coding::Snappy => snappy(coded, &mut output),
        Coding::Lz4 if begins_as_lz4_frame(coded) => lz4_frames(coded, &mut output),
        Coding::Lz4 => lz4_block(coded, &mut output),
    };
    decoded.map_err(|fault| form::explain(fault, coding, coded, limit, effort))?;
    output.bytes.shrink_to_fit();
    Ok(output.bytes)
}

/// Decoded bytes, up to a limit.
struct Output<'a> {
    bytes: Vec<u8>,
    /// A size that most bodies do not exceed.
    usual: usize,
    limit: usize,
    effort: &'a Effort<'a>,
}

impl<'a> Output<'a> {
    fn new(coded: usize, limit: usize, effort: &'a Effort<'a>) -> Self {
        Self { bytes: Vec::new(), usual: coded.saturating_mul(USUAL_RATIO), limit, effort }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let length = self.bytes.len() + piece.len();
        if length > self.limit {
            return Err(Fault::TooLarge);
        }
        self.effort.spend(piece.len())?;
        if length > self.bytes.capacity() {
            // Reserves the usual size first, and then the whole limit. Reserved memory costs nothing until it is
            // written, while every further step would copy the bytes.
            let usual = if self.bytes.capacity() == 0 { self.usual.max(length).min(self.limit) } else { self.limit };
            self.bytes.reserve_exact(usual - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// The unread rest of a body, for decoders that read. It records a read beyond the end.
struct Source<'a> {
    whole: usize,
    rest: &'a [u8],
    is_cut_off: bool,
}

impl<'a> Source<'a> {
    fn new(coded: &'a [u8]) -> Self {
        Self { whole: coded.len(), rest: coded, is_cut_off: false }
    }

    fn corrupt(&self, why: impl fmt::Display) -> Fault {
        let why = if self.is_cut_off { CUT_OFF.to_owned() } else { why.to_string() };
        Fault::Corrupt { at: Some(self.whole - self.rest.len()), why }
    }
}

const CUT_OFF: &str = "it is truncated";

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.is_cut_off |= self.rest.is_empty() && !into.is_empty();
        self.rest.read(into)
    }
}

/// Decodes every stream of `coded` in turn: gzip may have several, zlib has one. Zeros at the end of gzip are padding
/// from tapes and block devices. They are ignored, as by gzip itself.
fn inflate(coding: Coding, coded: &[u8], start: impl Fn() -> Decompress, output: &mut Output<'_>) -> Result<(), Fault> {
    let mut rest = coded;
    let mut piece = [0; PIECE];
    let corrupt =
        |rest: &[u8], why: &str| Err(Fault::Corrupt { at: Some(coded.len() - rest.len()), why: why.to_owned() });
    loop {
        output.effort.spend(STREAM_COST)?;
        let mut stream = start();
        let mut ended = false;
        while !ended {
            let (read, made) = (stream.total_in(), stream.total_out());
            let step = stream.decompress(rest, &mut piece, FlushDecompress::None);
            let (read, made) = ((stream.total_in() - read) as usize, (stream.total_out() - made) as usize);
            rest = &rest[read..];
            output.take(&piece[..made])?;
            match step {
                Ok(Status::StreamEnd) => ended = true,
                Ok(Status::Ok | Status::BufError) if read == 0 && made == 0 => return corrupt(rest, CUT_OFF),
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => return corrupt(rest, error.message().unwrap_or("the data is malformed")),
            }
        }
        let is_padding = coding == Coding::Gzip && rest.iter().all(|byte| *byte == 0);
        if rest.is_empty() || is_padding {
            return Ok(());
        }
        if coding != Coding::Gzip {
            return corrupt(rest, "data follows its end");
        }
    }
}

/// Returns the input after a skippable frame at its start (RFC 8878 §3.1.2, and the same in LZ4); `None` if there is
/// none.
fn skippable(coded: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = coded.split_first_chunk::<4>()?;
    let is_skippable = u32::from_le_bytes(*magic) & 0xffff_fff0 == 0x184d_2a50;
    let (length, rest) = rest.split_first_chunk::<4>().filter(|_| is_skippable)?;
    rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)
}

fn snappy(coded: &[u8], output: &mut Output<'_>) -> Result<(), Fault> {
    let corrupt = |error: snap::Error| {
        // The error message names the coding already.
        let why = error.to_string().trim_start_matches("snappy: ").to_owned();
        Fault::Corrupt { at: None, why }
    };
    let length = snap::raw::decompress_len(coded).map_err(corrupt)?;
    // The decoded length comes first, so a bomb is refused before it is decoded.
    if length > output.limit {
        return Err(Fault::TooLarge);
    }
    output.effort.spend(length)?;
    output.bytes = snap::raw::Decoder::new().decompress_vec(coded).map_err(corrupt)?;
    Ok(())
}

/// Most bytes that one byte of an LZ4 block stands for: it can lengthen a match by 255.
pub(super) const LZ4_MOST: usize = 255;

/// True for an LZ4 frame. A block cannot begin with the magic number of a frame: there, these bytes would mean a copy
/// from before the start of the output.
fn begins_as_lz4_frame(coded: &[u8]) -> bool {
    let is_cut_off = !coded.is_empty() && form::LZ4_FRAME.starts_with(coded);
    coded.starts_with(form::LZ4_FRAME) || is_cut_off || skippable(coded).is_some()
}

fn lz4_frames(coded: &[u8], output: &mut Output<'_>) -> Result<(), Fault> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(Source::new(coded));
    let mut piece = [0; PIECE];
    while !decoder.get_ref().rest.is_empty() {
        output.effort.spend(STREAM_COST)?;
        if let Some(rest) = skippable(decoder.get_ref().rest) {
            decoder.get_mut().rest = rest;
            continue;
        }
        loop {
            match decoder.read(&mut piece) {
                Ok(0) => break,
                Ok(made) => output.take(&piece[..made])?,
                Err(error) => return Err(decoder.get_ref().corrupt(lz4_fault(&error))),
            }
        }
        // The decoder takes the end of its input for the end of the frame, even if the frame's end mark is missing.
        if decoder.get_ref().is_cut_off {
            return Err(decoder.get_ref().corrupt(CUT_OFF));
        }
    }
    Ok(())
}

/// Returns the fault of a frame as a sentence. The library has only the names of its variants.
fn lz4_fault(error: &std::io::Error) -> String {
    use lz4_flex::frame::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::ContentChecksumError) => "the checksum of its content does not match".into(),
        Some(Error::BlockChecksumError) => "the checksum of a block does not match".into(),
        Some(Error::HeaderChecksumError) => "the checksum of the frame's header does not match".into(),
        Some(Error::ContentLengthError { expected, actual }) => {
            format!("its content has {actual} bytes, and its header says {expected}")
        }
        Some(Error::UnsupportedBlocksize(code)) => format!("its block size has code {code}; 4 to 7 are accepted"),
        Some(Error::UnsupportedVersion(version)) => format!("its frame has version {version}; only 1 is accepted"),
        Some(Error::ReservedBitsSet) => "reserved bits of the frame's header are set".into(),
        Some(Error::BlockTooBig) => "a block is larger than the frame's header says".into(),
        Some(Error::DictionaryNotSupported) => "it needs a dictionary, which is not supported".into(),
        Some(Error::WrongMagicNumber) => "data that is not another frame follows its end".into(),
        _ => "the data is malformed".into(),
    }
}

fn lz4_block(coded: &[u8], output: &mut Output<'_>) -> Result<(), Fault> {
    let corrupt = |why: String| Fault::Corrupt { at: None, why };
    if coded.is_empty() {
        return Err(corrupt(CUT_OFF.to_owned()));
    }
    // A block does not state its decoded length. Zeroed memory takes no physical memory until it is written.
    let room = coded.len().saturating_mul(LZ4_MOST).min(output.limit);
    output.effort.spend(room)?;
    output.bytes = vec![0; room];
    match lz4_flex::block::decompress_into(coded, &mut output.bytes) {
        Ok(length) => {
            output.bytes.truncate(length);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room == output.limit => Err(Fault::TooLarge),
        Err(error) => Err(corrupt(error.to_string())),
    }
}

mod zstd;

#[cfg(test)]
mod tests;
