//! Work that consumes time, stack or memory. `black_box` keeps the optimiser from removing it.

use std::hint::black_box;

const MEBIBYTE: usize = 1 << 20;
const PAGE: usize = 4096;

/// Aborts, which is one `unreachable` instruction on Wasm.
pub(crate) fn trap() -> ! {
    std::process::abort()
}

pub(crate) fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// Recurses. Each call has work to do after the inner call, so the compiler cannot turn the recursion into a loop.
pub(crate) fn descend(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(descend(depth + 1)) ^ black_box(depth)
}

/// Recurses with a variable of four kibibytes in each call.
pub(crate) fn descend_with_room(depth: u64) -> u64 {
    let mut room = [0_u8; PAGE];
    black_box(&mut room)[0] = 1;
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(descend_with_room(depth + 1)) ^ u64::from(black_box(&room)[0])
}

/// Allocates memory and writes to every page of it, since untouched memory costs nothing. Returns the number of
/// mebibytes.
pub(crate) fn allocate(mib: Option<u64>) -> u64 {
    let mut blocks = Vec::new();
    for _ in 0..mib.unwrap_or(u64::MAX) {
        let mut block = vec![0_u8; MEBIBYTE];
        block.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        blocks.push(black_box(block));
    }
    blocks.len() as u64
}

/// Computes with Xorshift: every round needs the result of the round before.
pub(crate) fn burn(rounds: u64) -> u64 {
    let mut value = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..rounds {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    black_box(value)
}
