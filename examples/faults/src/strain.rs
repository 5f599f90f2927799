//! Work that goes on until somebody stops it. `black_box` keeps the optimiser from seeing that none of it matters.

use std::hint::black_box;

const MEBIBYTE: usize = 1 << 20;
const PAGE: usize = 4096;

/// On Wasm this is one `unreachable` instruction.
pub(crate) fn trap() -> ! {
    std::process::abort()
}

pub(crate) fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// Each call has work to do after the one inside it returns, so no compiler can make a loop of it.
pub(crate) fn descend(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(descend(depth + 1)) ^ black_box(depth)
}

/// The same with a variable of four kibibytes in each call.
pub(crate) fn descend_with_room(depth: u64) -> u64 {
    let mut room = [0_u8; PAGE];
    black_box(&mut room)[0] = 1;
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(descend_with_room(depth + 1)) ^ u64::from(black_box(&room)[0])
}

/// Takes memory and writes to every page of it, since untouched memory costs nothing. Answers how many mebibytes it got.
pub(crate) fn allocate(mib: Option<u64>) -> u64 {
    let mut blocks = Vec::new();
    for _ in 0..mib.unwrap_or(u64::MAX) {
        let mut block = vec![0_u8; MEBIBYTE];
        block.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        blocks.push(black_box(block));
    }
    blocks.len() as u64
}

/// Xorshift: every round needs the one before it.
pub(crate) fn burn(rounds: u64) -> u64 {
    let mut value = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..rounds {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    black_box(value)
}
