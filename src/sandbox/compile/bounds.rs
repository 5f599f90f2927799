//! The bounds on components that are compiled, and the checks against them.
//!
//! Each bound is far above the output of real tool chains, and far below the sizes that make the compiler slow. The
//! comments give the largest counts seen in the guests of every tool chain that `cargo xtask setup` installs: see
//! `tests/it/toolchains.rs`.

use std::fmt;

use wasmparser::BinaryReaderError;

use crate::sandbox::limits::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};

/// A bound: the name of the count, and the largest value that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    name: &'static str,
    most: u64,
    /// True if counting stops at the bound, so that the real number may be higher.
    is_cut: bool,
}

const fn bound(name: &'static str, most: u64) -> Bound {
    Bound { name, most, is_cut: false }
}

const fn cut(name: &'static str, most: u64) -> Bound {
    Bound { name, most, is_cut: true }
}

// Bounds on one function. Seen: body 427 KB, nesting 781, locals 271 in CPython; blocks 4,216 in StarlingMonkey.
pub(super) const BODY: Bound = bound("bytes in one function", 1 << 20);
pub(super) const NESTING: Bound = bound("blocks inside each other in one function", 2_000);
pub(super) const LOCALS: Bound = bound("locals in one function", 50_000);
pub(super) const BLOCKS: Bound = bound("blocks in one function", 30_000);
// Bounds on one core module. Seen: functions 24,677, targets 44,376, elements 9,933, types 396, imports 918, exports
// 1,857, globals 508, element segments 3, tables 2.
pub(super) const FUNCTIONS: Bound = bound("functions", 50_000);
pub(super) const TARGETS: Bound = bound("br_table targets", 100_000);
pub(super) const TYPES: Bound = bound("types", 10_000);
pub(super) const IMPORTS: Bound = bound("imports", 5_000);
pub(super) const EXPORTS: Bound = bound("exports", 10_000);
pub(super) const GLOBALS: Bound = bound("globals", 10_000);
/// Wizer writes a memory as at most 10,000 segments, and components of StarlingMonkey have that many.
pub(super) const DATA: Bound = bound("data segments", 40_000);
pub(super) const SEGMENTS: Bound = bound("element segments", 10_000);
/// Each function in a segment takes 32 bytes of the host's memory for every guest, in a table or not.
pub(super) const ELEMENT_ITEMS: Bound = bound("items of element segments", 25_000);
pub(super) const MEMORIES: Bound = bound("memories in one module", MAX_MEMORIES as u64);
pub(super) const TABLES: Bound = bound("tables in one module", 4);
pub(super) const ELEMENTS: Bound = bound("table elements", MAX_TABLE_ELEMENTS as u64);
// Bounds on the whole file. Seen: 16 modules, 3 deep, 1,750 items, 3,375 parameters, 2.5 MB of names for debuggers.
pub(super) const MODULES: Bound = bound("modules and components", 64);
pub(super) const DEPTH: Bound = bound("components inside each other", 8);
pub(super) const ITEMS: Bound = bound("types, instances, aliases and functions of components", 20_000);
pub(super) const SIGNATURES: Bound = bound("parameters and results of function types", 200_000);
pub(super) const CUSTOM: Bound = bound("bytes of custom sections", 32 << 20);
// Bounds on one guest; each definition counts as often as it is instantiated. Seen: 4 component instances, 14 core
// instances (CPython), 2 memories (QuickJS), 2 tables.
pub(super) const COMPONENT_INSTANCES: Bound = cut("component instances in one guest", 1_000);
pub(super) const CORE_INSTANCES: Bound = cut("core instances in one guest", MAX_INSTANCES as u64);
pub(super) const GUEST_MEMORIES: Bound = cut("memories in one guest", MAX_MEMORIES as u64);
pub(super) const GUEST_TABLES: Bound = cut("tables in one guest", MAX_TABLES as u64);
pub(super) const STEPS: Bound = cut("items of components, counted once for each instance", 1_000_000);

/// The reason for refusing a file, for its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BinaryReaderError> for Refusal {
    fn from(error: BinaryReaderError) -> Self {
        Self(format!("{} at byte {}", error.message(), error.offset()))
    }
}

/// Adds to a count and checks it against its bound.
pub(super) fn add(count: &mut u64, more: u64, bound: Bound) -> Result<(), Refusal> {
    *count = count.saturating_add(more);
    at_most(*count, bound)
}

pub(super) fn at_most(count: u64, Bound { name, most, is_cut }: Bound) -> Result<(), Refusal> {
    #[cfg(test)]
    peaks::note(name, count, most);
    if count <= most {
        return Ok(());
    }
    let least = if is_cut { "at least " } else { "" };
    Err(Refusal(format!("it has {least}{count} {name}, accepted are {most}")))
}

/// The largest count seen of each bound, and the bound, for tests.
#[cfg(test)]
pub(super) mod peaks {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    type Peaks = BTreeMap<&'static str, (u64, u64)>;

    thread_local! {
        static PEAKS: RefCell<Peaks> = RefCell::default();
    }

    pub(super) fn note(name: &'static str, count: u64, most: u64) {
        PEAKS.with_borrow_mut(|peaks| {
            let peak = peaks.entry(name).or_default();
            *peak = (count.max(peak.0), most);
        });
    }

    /// Returns and clears the counts of this thread.
    pub(in crate::sandbox::compile) fn take() -> Peaks {
        PEAKS.take()
    }
}
