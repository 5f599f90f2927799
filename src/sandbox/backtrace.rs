//! The stack frames of a failed guest: as text, and as evidence of endless recursion.
//!
//! A guest has two stacks. The engine bounds the call stack. The other stack holds variables whose address is taken,
//! and is a part of the guest's linear memory: most compilers put it at the beginning of the memory, growing down. If
//! it overflows, the address goes below zero and wraps to just below 4 GiB. The engine reports an access out of bounds,
//! which does not tell the author the cause.

use wasmtime::{FrameInfo, WasmBacktrace};

use super::engine::MAX_FRAMES;

/// Most bytes of a function's name that are demangled. The guest chooses the name, which may be very long.
const MAX_NAME: usize = 500;
/// Most bytes of a name that are shown.
const MAX_SHOWN: usize = 300;
/// Distance from the 4 GiB boundary within which an access may be a stack overflow: the size of the largest frame that
/// is expected.
const LARGEST_FRAME: u64 = 16 << 20;
/// A function that occurs this often among the innermost frames counts as recursive.
const RECURS: usize = 3;

/// Returns the guest's frames at the point of failure, innermost first, one per line; empty if the engine kept none.
pub(super) fn stack(error: &wasmtime::Error) -> String {
    let frames: Vec<String> = frames(error).iter().map(name).collect();
    frames.join("\n")
}

/// Returns the innermost function.
pub(super) fn innermost(error: &wasmtime::Error) -> Option<String> {
    frames(error).first().map(name)
}

/// Returns the innermost recursive function; `None` unless there are as many frames as the engine keeps.
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

/// The position of an access out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultAddress {
    /// Just below the beginning of memory, where a stack overflow ends up. A pointer slightly below null ends up there
    /// too; only the frames distinguish the two.
    BelowMemory,
    Elsewhere,
    /// Not reported by the engine: the instruction fills or copies many bytes.
    Unknown,
}

pub(super) fn place(error: &wasmtime::Error) -> FaultAddress {
    let end = 1_u64 << 32;
    match fault_address(error) {
        Some(address) if (end - LARGEST_FRAME..end + LARGEST_FRAME).contains(&address) => FaultAddress::BelowMemory,
        Some(_) => FaultAddress::Elsewhere,
        None => FaultAddress::Unknown,
    }
}

/// Returns the address that was out of bounds. The engine reports it only in the text of its error.
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
    // Demangling may make a name longer, so its length is bounded before and after.
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
