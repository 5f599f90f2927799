//! A look at an upload before it is compiled: what would exhaust the compiler is refused by its name and size.
//!
//! Compiling takes time and memory out of all proportion to some inputs: a function of two megabytes of nested blocks
//! costs minutes, a table of branches gigabytes. Each bound below lies well above what honest compilers produce (the
//! largest seen among ONNX runtimes and CPython is noted) and well below where it begins to hurt. What this passes may
//! still be invalid: the compiler says so. It runs in the compiling child, so not even its own parser is trusted.

use std::fmt;

use wasmparser::{
    BinaryReaderError, ComponentTypeRef, Encoding, FunctionBody, MemoryType, Operator, Parser, Payload, TableType,
    TypeRef,
};

use super::offered;
use crate::sandbox::limits::MAX_TABLE_ELEMENTS;

/// A count that is bounded: what it is called, its bound, and what it counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    name: &'static str,
    most: u64,
}

const fn bound(name: &'static str, most: u64) -> Bound {
    Bound { name, most }
}

// Of one function. Seen: body 427 KB, nesting 781, locals 271, blocks 3,112, all of them in CPython.
const BODY: Bound = bound("bytes in one function", 1 << 20);
const NESTING: Bound = bound("blocks inside each other in one function", 2_000);
const LOCALS: Bound = bound("locals in one function", 50_000);
const BLOCKS: Bound = bound("blocks in one function", 30_000);
// Of one core module. Seen: functions 24,527, targets 40,844, imports 918, exports 1,857, segments 1,847, elements 9,900.
const FUNCTIONS: Bound = bound("functions", 50_000);
const TARGETS: Bound = bound("br_table targets", 100_000);
const TYPES: Bound = bound("types", 10_000);
const IMPORTS: Bound = bound("imports", 5_000);
const EXPORTS: Bound = bound("exports", 10_000);
const GLOBALS: Bound = bound("globals", 10_000);
const SEGMENTS: Bound = bound("data and element segments", 10_000);
const MEMORIES: Bound = bound("memories", 1);
const TABLES: Bound = bound("tables", 4);
const ELEMENTS: Bound = bound("table elements", MAX_TABLE_ELEMENTS as u64);
// Of the whole file. Seen: 16 modules, 2 deep, 1,733 items, 2.5 MB of names for debuggers.
const MODULES: Bound = bound("modules and components", 64);
const DEPTH: Bound = bound("components inside each other", 8);
const ITEMS: Bound = bound("types, instances, aliases and functions of components", 20_000);
const CUSTOM: Bound = bound("bytes of custom sections", 32 << 20);

/// Why a file is not compiled, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(String);

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

/// Checks the component in `wasm`.
///
/// # Errors
/// Names what is too large or not offered, and where the bound is.
pub(super) fn inspect(wasm: &[u8]) -> Result<(), Refusal> {
    let mut whole = Whole::default();
    for payload in Parser::new(0).parse_all(wasm) {
        whole.see(payload?)?;
    }
    Ok(())
}

/// What is counted over the whole file.
#[derive(Default)]
struct Whole {
    /// The modules and components that the parser is inside of.
    inside: Vec<Module>,
    modules: u64,
    items: u64,
    custom: u64,
}

/// What is counted of one module; of a component most stays zero.
#[derive(Default)]
struct Module {
    types: u64,
    imports: u64,
    functions: u64,
    exports: u64,
    globals: u64,
    segments: u64,
    memories: u64,
    tables: u64,
    elements: u64,
    targets: u64,
}

impl Whole {
    fn see(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        use Payload as P;
        match payload {
            P::Version { encoding, .. } => return self.enter(encoding),
            P::End(_) => {
                self.inside.pop();
                return Ok(());
            }
            P::CustomSection(section) => return add(&mut self.custom, section.data().len() as u64, CUSTOM),
            P::ComponentImportSection(section) => {
                let outermost = self.inside.len() == 1;
                for import in section {
                    add(&mut self.items, 1, ITEMS)?;
                    let import = import?;
                    let name = import.name.name;
                    // A type has nothing to offer but its name.
                    let is_type = matches!(import.ty, ComponentTypeRef::Type(_));
                    if outermost && !is_type && !offered::is_offered(name) {
                        return Err(Refusal(format!("it imports {name:?}, which is not offered here")));
                    }
                }
                return Ok(());
            }
            P::ComponentExportSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::ComponentTypeSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::ComponentInstanceSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::ComponentAliasSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::ComponentCanonicalSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::InstanceSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            P::CoreTypeSection(s) => return add(&mut self.items, s.count().into(), ITEMS),
            _ => {}
        }
        match self.inside.last_mut() {
            Some(module) => module.see(payload),
            None => Ok(()),
        }
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        if self.inside.is_empty() && encoding != Encoding::Component {
            return Err(Refusal("it is a core WebAssembly module; a component is needed".into()));
        }
        add(&mut self.modules, 1, MODULES)?;
        self.inside.push(Module::default());
        at_most(self.inside.len() as u64, DEPTH)
    }
}

impl Module {
    fn see(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(s) => add(&mut self.types, s.count().into(), TYPES),
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    add(&mut self.imports, 1, IMPORTS)?;
                    match import?.ty {
                        TypeRef::Memory(memory) => self.memory(memory)?,
                        TypeRef::Table(table) => self.table(table)?,
                        TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
                    }
                }
                Ok(())
            }
            Payload::FunctionSection(s) => add(&mut self.functions, s.count().into(), FUNCTIONS),
            Payload::ExportSection(s) => add(&mut self.exports, s.count().into(), EXPORTS),
            Payload::GlobalSection(s) => add(&mut self.globals, s.count().into(), GLOBALS),
            Payload::ElementSection(s) => add(&mut self.segments, s.count().into(), SEGMENTS),
            Payload::DataSection(s) => add(&mut self.segments, s.count().into(), SEGMENTS),
            Payload::MemorySection(section) => section.into_iter().try_for_each(|memory| self.memory(memory?)),
            Payload::TableSection(section) => section.into_iter().try_for_each(|table| self.table(table?.ty)),
            Payload::CodeSectionEntry(body) => self.function(&body),
            _ => Ok(()),
        }
    }

    fn memory(&mut self, memory: MemoryType) -> Result<(), Refusal> {
        if memory.shared {
            return Err(Refusal("it has a shared memory; threads are not offered here".into()));
        }
        if memory.memory64 {
            return Err(Refusal("it has a 64-bit memory; memory64 is not offered here".into()));
        }
        add(&mut self.memories, 1, MEMORIES)
    }

    fn table(&mut self, table: TableType) -> Result<(), Refusal> {
        add(&mut self.tables, 1, TABLES)?;
        add(&mut self.elements, table.initial, ELEMENTS)
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        at_most(body.as_bytes().len() as u64, BODY)?;
        let mut locals = 0;
        for group in body.get_locals_reader()? {
            add(&mut locals, group?.0.into(), LOCALS)?;
        }
        let (mut blocks, mut depth) = (0, 0_u64);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    add(&mut blocks, 1, BLOCKS)?;
                    depth += 1;
                    at_most(depth, NESTING)?;
                }
                Operator::End => depth = depth.saturating_sub(1),
                Operator::BrTable { targets } => add(&mut self.targets, targets.len().into(), TARGETS)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn add(count: &mut u64, more: u64, bound: Bound) -> Result<(), Refusal> {
    *count = count.saturating_add(more);
    at_most(*count, bound)
}

fn at_most(count: u64, Bound { name, most }: Bound) -> Result<(), Refusal> {
    #[cfg(test)]
    tests::note(name, count, most);
    if count <= most { Ok(()) } else { Err(Refusal(format!("it has {count} {name}, accepted are {most}"))) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    thread_local! {
        /// The largest count seen of each bound, and the bound.
        static PEAKS: RefCell<BTreeMap<&'static str, (u64, u64)>> = RefCell::default();
    }

    pub(super) fn note(name: &'static str, count: u64, most: u64) {
        PEAKS.with_borrow_mut(|peaks| {
            let peak = peaks.entry(name).or_default();
            *peak = (count.max(peak.0), most);
        });
    }

    /// The largest of them all, CPython, is tried where there is a Python: see `tests/python`.
    #[test]
    fn honest_guests_stay_well_below_every_bound() {
        for example in ["digits", "echo", "faults", "json-score"] {
            let wasm = std::fs::read(bulkhead_artifacts::guest(example)).unwrap();
            assert_eq!(inspect(&wasm), Ok(()), "{example}");
        }
        PEAKS.with_borrow(|peaks| {
            assert_eq!(peaks.len(), 18, "every bound was looked at: {peaks:#?}");
            for (name, (peak, most)) in peaks {
                // One memory is all that is ever needed.
                assert!(2 * peak <= *most || *most == 1, "{peak} {name} of {most}");
            }
        });
    }
}
