//! The frames of a guest that has failed: as text, and as evidence of a recursion that found no end.
//!
//! A guest has two stacks. The engine bounds the one that calls lie on. The other, for variables that have an address, is
//! a part of the guest's own memory; its compiler puts it at the very beginning, growing down, so that what goes beyond
//! it leaves the memory: an address just below zero, which wraps to just below 4 GiB. The engine calls that an access
//! out of bounds, which is true and explains nothing.

use wasmtime::{FrameInfo, WasmBacktrace};

use super::engine::MAX_FRAMES;

/// Bytes of a function's name that are looked at. Names are the guest's, and one may have a hundred thousand.
const MAX_NAME: usize = 500;
/// The same of a name as it is shown.
const MAX_SHOWN: usize = 300;
/// Bytes below and above the end of a 32-bit memory where a stack that went below zero is met: as large as one frame of
/// it may be.
const LARGEST_FRAME: u64 = 16 << 20;
/// Times that a function is among the innermost frames where it recurses.
const RECURS: usize = 3;

/// The guest's frames at the point of failure, innermost first, one a line; empty where the engine kept none.
pub(super) fn stack(error: &wasmtime::Error) -> String {
    let frames: Vec<String> = frames(error).iter().map(name).collect();
    frames.join("\n")
}

/// The innermost function.
pub(super) fn innermost(error: &wasmtime::Error) -> Option<String> {
    frames(error).first().map(name)
}

/// The innermost of the functions that occur again and again among the frames, where there are more than are kept.
pub(super) fn repeated(error: &wasmtime::Error) -> Option<String> {
    let frames = frames(error);
    if frames.len() < MAX_FRAMES {
        return None;
    }
    let is_same = |one: &FrameInfo, other: &FrameInfo| {
        one.func_index() == other.func_index() && one.module().name() == other.module().name()
    };
    let recurs = |frame: &&FrameInfo| frames.iter().filter(|other| is_same(frame, other)).count() >= RECURS;
    frames.iter().find(recurs).map(name)
}

/// The place of an access out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Just below the beginning of memory, where a stack that ran out ends up. A pointer that is a little less than null
    /// is there as well: only the frames tell them apart.
    BelowMemory,
    Elsewhere,
    /// The engine does not tell: it was an instruction that fills or copies many bytes.
    Unknown,
}

pub(super) fn place(error: &wasmtime::Error) -> Place {
    let end = 1_u64 << 32;
    match fault_address(error) {
        Some(address) if (end - LARGEST_FRAME..end + LARGEST_FRAME).contains(&address) => Place::BelowMemory,
        Some(_) => Place::Elsewhere,
        None => Place::Unknown,
    }
}

/// The address that was out of bounds. The engine tells it in words alone.
fn fault_address(error: &wasmtime::Error) -> Option<u64> {
    error.chain().find_map(|cause| {
        let text = cause.to_string();
        let rest = text.strip_prefix("memory fault at wasm address 0x")?;
        u64::from_str_radix(rest.split(' ').next()?, 16).ok()
    })
}

fn frames(error: &wasmtime::Error) -> &[FrameInfo] {
    error.downcast_ref::<WasmBacktrace>().map_or(&[], WasmBacktrace::frames)
}

fn name(frame: &FrameInfo) -> String {
    let Some(name) = frame.func_name() else { return format!("function {}", frame.func_index()) };
    // Taking a name apart may make it longer than it was, so it is bounded before and after.
    if name.len() > MAX_NAME {
        return shown(name);
    }
    shown(&format!("{:#}", rustc_demangle::demangle(name)))
}

fn shown(name: &str) -> String {
    let cut = &name[..name.floor_char_boundary(MAX_SHOWN)];
    let printable = cut.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char });
    printable.chain((cut.len() < name.len()).then_some('…')).collect()
}
