//! Decodes zstd with the reference library, which alone decides which frames are valid: it checks content sizes,
//! checksums and reserved bits, and its output is the same as other receivers'.

use zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name, get_frame_content_size, is_error_kind};

use super::{CUT_OFF, Fault, Output, PIECE, STREAM_COST};

/// The window that every decoder must support (RFC 9659 §3). If the limit for the body is larger, the window may be
/// larger, too.
const LEAST_WINDOW: usize = 8 << 20;
/// The widest window that the library accepts.
const MOST_WINDOW_LOG: u32 = 31;

/// Decodes every frame of `coded`, one after the other.
pub(super) fn decode(coded: &[u8], output: &mut Output<'_>) -> Result<(), Fault> {
    let corrupt = |at: usize, why: &str| Fault::Corrupt { at: Some(at), why: why.to_owned() };
    let Some(mut decoder) = DCtx::try_create() else { return Err(corrupt(0, "there is no memory for a decoder")) };
    // The library allocates the window that a frame declares, so its size is bounded first.
    let window_log = output.limit.max(LEAST_WINDOW).next_power_of_two().trailing_zeros().min(MOST_WINDOW_LOG);
    let setting = decoder.set_parameter(DParameter::WindowLogMax(window_log));
    setting.map_err(|code| corrupt(0, get_error_name(code)))?;

    let mut piece = [0; PIECE];
    // The start of the current frame, the position in the input, and the output of the frames before.
    let (mut frame, mut at, mut before) = (0, 0, 0);
    // The bytes that the library asks for next: a header, or a block with the header of the next one. It gets no more
    // than that, so that the position of a fault is known and each step does no more work than was counted.
    let mut wanted = 1;
    output.effort.spend(STREAM_COST)?;
    loop {
        let end = coded.len().min(at + wanted);
        let mut input = InBuffer::around(&coded[at..end]);
        let mut room = OutBuffer::around(&mut piece[..]);
        let step = decoder.decompress_stream(&mut room, &mut input);
        let (read, made) = (input.pos(), room.pos());
        let next = step.map_err(|code| {
            let is_wide = is_error_kind(code, ZSTD_error_frameParameter_windowTooLarge);
            match get_frame_content_size(&coded[frame..]) {
                Ok(Some(size)) if is_wide && size > output.limit as u64 => Fault::TooLarge,
                _ if is_wide => corrupt(frame, &format!("its window is larger than {} bytes", 1_u64 << window_log)),
                _ => corrupt(at, get_error_name(code)),
            }
        })?;
        at += read;
        output.take(&piece[..made])?;
        if next == 0 {
            // The library misses two faults when it gets the input in pieces. It refuses them when it gets all at once.
            if has_hollow_block(&coded[frame..at]) {
                return Err(corrupt(frame, "it has a compressed block of 0 bytes"));
            }
            if let Ok(Some(size)) = get_frame_content_size(&coded[frame..])
                && size != (output.bytes.len() - before) as u64
            {
                return Err(corrupt(frame, "its content does not have the size that its header states"));
            }
            if at == coded.len() {
                return Ok(());
            }
            output.effort.spend(STREAM_COST)?;
            (frame, wanted, before) = (at, 1, output.bytes.len());
        } else {
            if read == 0 && made == 0 {
                return Err(corrupt(at, CUT_OFF));
            }
            // Empty blocks produce no output, so their work is counted here.
            output.effort.spend(1)?;
            wanted = next;
        }
    }
}

/// True if a frame that was read has a compressed block of zero bytes (RFC 8878 §3.1.1).
fn has_hollow_block(frame: &[u8]) -> bool {
    const COMPRESSED: u32 = 2;
    const RLE: u32 = 1;
    let (true, Some(descriptor)) = (frame.starts_with(&zstd_safe::MAGICNUMBER.to_le_bytes()), frame.get(4)) else {
        return false;
    };
    let is_single = descriptor >> 5 & 1;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [usize::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
    let mut rest = frame.get(5 + usize::from(1 - is_single) + dictionary + size..).unwrap_or_default();
    while let [one, two, three, blocks @ ..] = rest {
        let header = u32::from_le_bytes([*one, *two, *three, 0]);
        let (is_last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        if kind == COMPRESSED && size == 0 {
            return true;
        }
        let bytes = if kind == RLE { 1 } else { size as usize };
        rest = if is_last { &[] } else { blocks.get(bytes..).unwrap_or_default() };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::{Effort, Fault, decode};
    use crate::coding::{Coding, encode};

    const LIMIT: usize = 1 << 20;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Fault> {
        decode(Coding::Zstd, coded, LIMIT, &Effort::brief(usize::MAX))
    }

    /// Returns the library's result for whole frames at once.
    fn reference(coded: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::with_capacity(LIMIT);
        zstd_safe::decompress(&mut plain, coded).ok().map(|_| plain)
    }

    fn bodies(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let text = (0..40).flat_map(|row| format!("{{\"row\": {row}, \"score\": 0.{row}}}\n").into_bytes()).collect();
        vec![b"hello".to_vec(), text, vec![7; 3000], (0..500).map(|_| random.u8(..)).collect(), Vec::new()]
    }

    /// Encodes frames with and without a checksum, with and without a content size.
    fn frames(body: &[u8]) -> Vec<Vec<u8>> {
        let switches = [(true, true), (true, false), (false, true), (false, false)];
        let frame = |(checksum, size): (bool, bool)| {
            let mut encoder = zstd_safe::CCtx::create();
            encoder.set_parameter(zstd_safe::CParameter::ChecksumFlag(checksum)).unwrap();
            encoder.set_parameter(zstd_safe::CParameter::ContentSizeFlag(size)).unwrap();
            let mut coded = Vec::with_capacity(zstd_safe::compress_bound(body.len()));
            encoder.compress2(&mut coded, body).unwrap();
            coded
        };
        switches.into_iter().map(frame).collect()
    }

    /// An earlier, lenient decoder accepted one damaged frame in fifty, some of them with other output than the
    /// reference's.
    #[test]
    fn damaged_frames_are_refused_or_what_the_reference_makes_of_them() {
        let mut random = fastrand::Rng::with_seed(0x5a73_7464);
        let frames: Vec<Vec<u8>> = bodies(&mut random).iter().flat_map(|body| frames(body)).collect();
        let (mut refused, mut whole) = (0, 0);
        for _ in 0..40_000 {
            let mut coded = frames[random.usize(..frames.len())].clone();
            if random.u8(..8) == 0 {
                coded.extend_from_slice(&frames[random.usize(..frames.len())]);
            }
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..coded.len());
                match random.u8(..8) {
                    0 => coded.truncate(at.max(1)),
                    // The library accepts empty input as no frames. An empty body does not occur here.
                    1 if coded.len() > 1 => drop(coded.remove(at)),
                    2 => coded.insert(at, random.u8(..)),
                    _ => coded[at] ^= 1 << random.u8(..8),
                }
            }
            match (decoded(&coded), reference(&coded)) {
                (Ok(ours), Some(theirs)) if ours == theirs => whole += 1,
                // The library checks neither the window's size nor that of a block's output, if it decodes all at
                // once.
                (Err(Fault::Corrupt { .. } | Fault::TooLarge), _) => refused += 1,
                (ours, theirs) => panic!("{coded:?} is {ours:?}, and {theirs:?} for the reference"),
            }
        }
        assert!(refused > 30_000 && whole > 100, "{refused} and {whole}: both ends are seen");
    }

    #[test]
    fn a_false_content_size_a_reserved_bit_and_a_dictionary_are_refused() {
        let whole = encode(Coding::Zstd, b"hello").unwrap();
        // Magic number, descriptor (one segment, a size of one byte, a checksum), size.
        assert_eq!(whole[4..6], [0b0010_0100, 5]);
        for size in [0, 4, 6, 255] {
            let mut wrong = whole.clone();
            wrong[5] = size;
            assert!(matches!(decoded(&wrong), Err(Fault::Corrupt { .. })), "{size}");
        }
        let mut reserved = whole.clone();
        reserved[4] |= 0b1000;
        assert!(matches!(decoded(&reserved), Err(Fault::Corrupt { .. })));
        let mut dictionary = whole;
        dictionary[4] |= 1;
        dictionary.insert(5, 9);
        assert!(matches!(decoded(&dictionary), Err(Fault::Corrupt { .. })));
    }

    /// The window is allocated before anything is decoded into it.
    #[test]
    fn a_window_is_no_wider_than_a_body_may_be() {
        // A frame of one empty block, whose window is 1 KiB << exponent.
        let frame = |exponent: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3], &[1, 0, 0][..]].concat();
        assert_eq!(decoded(&frame(13)), Ok(Vec::new()), "8 MiB are taken of everybody");
        let told = decoded(&frame(14)).unwrap_err().to_string();
        assert_eq!(told, "the coding is broken at byte 0: its window is larger than 8388608 bytes");
        let told = decode(Coding::Zstd, &frame(14), 16 << 20, &Effort::brief(usize::MAX));
        assert_eq!(told, Ok(Vec::new()), "a larger body may look back farther");
        // One segment of 4 GiB declares a size that is too large.
        let segment = [&[0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000, 255, 255, 255, 255], &[1, 0, 0][..]].concat();
        assert_eq!(decoded(&segment), Err(Fault::TooLarge));
    }

    #[test]
    fn answers_tell_their_content_size() {
        for size in [0, 1, 300, 70_000, 3 << 20] {
            let coded = encode(Coding::Zstd, &vec![b'x'; size]).unwrap();
            assert_eq!(zstd_safe::get_frame_content_size(&coded).unwrap(), Some(size as u64));
        }
    }

    #[test]
    fn empty_blocks_are_work() {
        let empty = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0][..], &[0, 0, 0].repeat(10_000), &[1, 0, 0]].concat();
        assert_eq!(decoded(&empty), Ok(Vec::new()));
        assert_eq!(decode(Coding::Zstd, &empty, LIMIT, &Effort::brief(9000)), Err(Fault::Outgrown));
    }
}
