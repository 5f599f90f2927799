//! Files that are not components, and damaged components.

use super::{frame, processor};

/// Makes the smallest good processor.
pub fn good() -> Vec<u8> {
    processor("")
}

/// Groups C16, C17, C19: files that are not components, each with the expected text of the refusal.
pub fn not_components() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let header = b"\0asm\x0d\0\x01\0";
    let with = |rest: &[u8]| [header.as_slice(), rest].concat();
    vec![
        ("nothing", Vec::new(), "not WebAssembly"),
        ("one byte", vec![0], "not WebAssembly"),
        ("a program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec(), "machine code"),
        ("a zip archive", b"PK\x03\x04\x14\0\0\0\x08\0".to_vec(), "not WebAssembly"),
        ("a gzip file", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "not WebAssembly"),
        ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "not WebAssembly"),
        ("component text", b"(component)".to_vec(), "not WebAssembly"),
        ("module text", b"(module)".to_vec(), "not WebAssembly"),
        ("a core module", frame::core_module(""), "core WebAssembly module"),
        ("an empty core module", b"\0asm\x01\0\0\0".to_vec(), "core WebAssembly module"),
        ("a later version", b"\0asm\x0e\0\x01\0".to_vec(), "version"),
        ("half a header", b"\0asm\x0d\0".to_vec(), "WebAssembly"),
        ("a section past the end", with(&[1, 0xff, 0xff, 0xff, 0x7f]), ""),
        ("a section of four thousand million bytes", with(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), ""),
        ("an over-long number", with(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), ""),
        ("four thousand million types", with(&[7, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]), ""),
        ("four thousand million instances", with(&[2, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]), ""),
        ("a name of four thousand million bytes", with(&[0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]), ""),
        ("a section nobody knows", with(&[99, 1, 0]), ""),
    ]
}

/// Group C15: `component` truncated at every `step`th byte, and with `flips` single bits flipped, from a fixed seed.
pub fn damaged(component: &[u8], step: usize, flips: usize) -> Vec<Vec<u8>> {
    let cut = (8..component.len()).step_by(step).map(|end| component[..end].to_vec());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let flipped = (0..flips).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (seed >> 20) as usize % ((component.len() - 8) * 8);
        let mut component = component.to_vec();
        component[8 + bit / 8] ^= 1 << (bit % 8);
        component
    });
    cut.chain(flipped).collect()
}
