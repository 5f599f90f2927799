use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::super::encode;
use super::*;

const LIMIT: usize = 1 << 20;

fn until(deadline: Instant) -> Effort<'static> {
    static WANTED: AtomicBool = AtomicBool::new(false);
    Effort::Until { deadline, abandoned: &WANTED }
}

fn patiently() -> Effort<'static> {
    until(Instant::now() + Duration::from_secs(60))
}

fn decoded(coding: Coding, coded: &[u8]) -> Result<Vec<u8>, Fault> {
    decode(coding, coded, LIMIT, &patiently())
}

/// Bodies of one byte, of text, of noise, and of one byte repeated.
fn bodies() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let noise = (0..100_000).map(|_| random.u8(..)).collect();
    let text = (0..9000).flat_map(|i| format!("{{\"row\": {i}, \"score\": 0.{i}}}\n").into_bytes()).collect();
    vec![b"x".to_vec(), text, noise, vec![7; 200_000]]
}

fn block(plain: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(plain)
}

#[test]
fn what_is_coded_comes_out_as_it_was() {
    for coding in Coding::ALL {
        for body in bodies() {
            assert_eq!(decoded(coding, &encode(coding, &body).unwrap()), Ok(body), "{coding:?}");
        }
        assert_eq!(decoded(coding, &encode(coding, b"").unwrap()), Ok(Vec::new()), "{coding:?}");
    }
    for body in bodies() {
        assert_eq!(decoded(Coding::Lz4, &block(&body)), Ok(body.clone()));
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        bare.write_all(&body).unwrap();
        assert_eq!(decoded(Coding::Deflate, &bare.finish().unwrap()), Ok(body));
    }
}

#[test]
fn streams_that_may_follow_each_other_do() {
    let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    for (coding, between) in [(Coding::Gzip, &[][..]), (Coding::Zstd, &skipped), (Coding::Lz4, &skipped)] {
        let [first, second] = ["one ", "two"].map(|text| encode(coding, text.as_bytes()).unwrap());
        assert_eq!(decoded(coding, &[&first, between, &second].concat()), Ok(b"one two".to_vec()), "{coding:?}");
    }
}

#[test]
fn what_breaks_off_anywhere_is_refused_and_never_shortened() {
    for coding in Coding::ALL {
        for body in bodies() {
            let coded = encode(coding, &body).unwrap();
            let step = coded.len() / 97 + 1;
            for end in (0..coded.len()).step_by(step).chain(coded.len().saturating_sub(9)..coded.len()) {
                let fault = decoded(coding, &coded[..end]).expect_err(&format!("{coding:?} cut at {end}"));
                assert!(matches!(&fault, Fault::Corrupt { .. }), "{coding:?}: {fault}");
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_no_part_of_it() {
    for coding in Coding::ALL {
        let mut coded = encode(coding, b"some text, some text").unwrap();
        coded.extend_from_slice(b"more");
        assert!(matches!(decoded(coding, &coded), Err(Fault::Corrupt { .. })), "{coding:?}");
    }
}

#[test]
fn faults_say_where_it_stopped_to_make_sense() {
    let mut coded = encode(Coding::Gzip, &bodies()[1]).unwrap();
    coded.truncate(5000);
    let cut_off = |at| Fault::Corrupt { at: Some(at), why: "it is truncated".to_owned() };
    assert_eq!(decoded(Coding::Gzip, &coded), Err(cut_off(5000)));
    let whole = encode(Coding::Zstd, &bodies()[1]).unwrap();
    for end in [5, 700, whole.len() - 1] {
        assert_eq!(decoded(Coding::Zstd, &whole[..end]), Err(cut_off(end)));
    }
    let mut coded = encode(Coding::Zstd, b"abcabcabc").unwrap();
    *coded.last_mut().unwrap() ^= 1;
    let checksum = coded.len() - 4;
    let told = decoded(Coding::Zstd, &coded).unwrap_err().to_string();
    assert_eq!(told, format!("the coding is broken at byte {checksum}: Restored data doesn't match checksum"));
    let told = decoded(Coding::Snappy, b"\x05\x10hell").unwrap_err().to_string();
    assert!(told.starts_with("the coding is broken: corrupt input"), "{told}");
}

/// `gzip` writes whole blocks to tapes and devices, and ignores the zeros that fill the last one.
#[test]
fn zeros_behind_gzip_are_padding() {
    let [first, second] = ["one ", "two"].map(|text| encode(Coding::Gzip, text.as_bytes()).unwrap());
    for zeros in [1, 8, 511, 100_000] {
        let padding = vec![0; zeros];
        assert_eq!(decoded(Coding::Gzip, &[&first[..], &second, &padding].concat()), Ok(b"one two".to_vec()));
        let between = decoded(Coding::Gzip, &[&first[..], &padding, &second].concat());
        assert!(matches!(between, Err(Fault::Corrupt { at: Some(at), .. }) if at >= first.len()), "{between:?}");
    }
    assert!(decoded(Coding::Gzip, &[&first[..], b"\0\0x"].concat()).is_err(), "garbage is no padding");
    assert!(decoded(Coding::Gzip, &[0; 100]).is_err(), "padding alone is no body");
    assert!(decoded(Coding::Deflate, &[encode(Coding::Deflate, b"x").unwrap(), vec![0; 8]].concat()).is_err());
}

/// The capacity of the result shows how much a decoder produced: never more than the limit.
#[test]
fn a_bomb_is_refused_before_it_is_larger_than_the_limit() {
    let bomb = vec![0; 64 * LIMIT];
    for coding in Coding::ALL {
        let coded = encode(coding, &bomb).unwrap();
        assert_eq!(decoded(coding, &coded), Err(Fault::TooLarge), "{coding:?}");
        let kept = decode(coding, &coded, bomb.len(), &patiently()).unwrap();
        assert_eq!((kept.len(), kept.capacity()), (bomb.len(), bomb.len()), "{coding:?}");
    }
    assert_eq!(decoded(Coding::Lz4, &block(&bomb)), Err(Fault::TooLarge));
    // A body of exactly the limit passes, and one byte more does not.
    for (size, is_let_through) in [(LIMIT, true), (LIMIT + 1, false)] {
        for coding in Coding::ALL {
            assert_eq!(decoded(coding, &encode(coding, &bomb[..size]).unwrap()).is_ok(), is_let_through, "{coding:?}");
        }
        assert_eq!(decoded(Coding::Lz4, &block(&bomb[..size])).is_ok(), is_let_through);
    }
}

#[test]
fn work_ends_where_it_may_go_no_further() {
    let coded = encode(Coding::Gzip, &bodies()[3]).unwrap();
    assert_eq!(decode(Coding::Gzip, &coded, LIMIT, &Effort::brief(100_000)), Err(Fault::Outgrown));
    assert_eq!(decode(Coding::Gzip, &coded, LIMIT, &until(Instant::now())), Err(Fault::Stopped));
    // Thousands of streams without content count as work, too.
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Lz4] {
        let empty = encode(coding, b"").unwrap().repeat(3000);
        assert_eq!(decode(coding, &empty, LIMIT, &Effort::brief(256 << 10)), Err(Fault::Outgrown), "{coding:?}");
    }
}

/// No invalid input makes a decoder panic, or produce more than the limit.
#[test]
fn noise_and_broken_bodies_end_in_a_fault_or_in_few_bytes() {
    let mut random = fastrand::Rng::with_seed(2026);
    for coding in Coding::ALL {
        let whole: Vec<Vec<u8>> =
            bodies().iter().map(|body| encode(coding, &body[..body.len().min(900)]).unwrap()).collect();
        for round in 0..1500 {
            let mut coded = match round % 3 {
                0 => (0..random.usize(..300)).map(|_| random.u8(..)).collect(),
                // The magic number, with noise after it.
                1 => [&whole[0][..whole[0].len().min(random.usize(2..9))], &random.u64(..).to_le_bytes()].concat(),
                _ => whole[random.usize(..whole.len())].clone(),
            };
            for _ in 0..random.usize(..4) {
                if !coded.is_empty() {
                    let at = random.usize(..coded.len());
                    coded[at] = random.u8(..);
                }
            }
            let limit = random.usize(..4096);
            if let Ok(body) = decode(coding, &coded, limit, &patiently()) {
                assert!(body.len() <= limit, "{coding:?}");
            }
        }
    }
}

#[test]
fn an_lz4_frame_is_refused_in_words() {
    use std::io::Write as _;
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(b"some text").unwrap();
    let mut frame = encoder.finish().unwrap();
    *frame.last_mut().unwrap() ^= 1;
    let told = decode(Coding::Lz4, &frame, 100, &Effort::brief(1 << 20)).unwrap_err().to_string();
    assert!(told.ends_with("the checksum of its content does not match"), "{told}");
}
