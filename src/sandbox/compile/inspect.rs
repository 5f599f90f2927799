//! The inspection of an upload before it is compiled: a file that would exhaust the compiler is refused.
//!
//! Compiling takes time and memory out of all proportion to some inputs: a function of two megabytes of nested blocks
//! takes minutes, a table of branches gigabytes. The bounds are in [`bounds`]. An accepted file may still be invalid;
//! the compiler reports that. The inspection runs in the compiling child, because its own parser is not trusted either.

use wasmparser::{
    ComponentInstance, ComponentTypeRef, CompositeInnerType, ElementItems, Encoding, FunctionBody, MemoryType,
    Operator, Parser, Payload, RecGroup, TableType, TypeRef,
};

use super::bounds::{self, Refusal, add, at_most};
use super::{instances, offered};
use crate::sandbox::engine::EngineKind;
use crate::sandbox::entry::{HANDLER, INCOMING_HANDLER};

/// Checks the component in `wasm`.
///
/// # Errors
/// Names the count that is too large and its bound, or the import that is not offered.
pub(super) fn inspect(wasm: &[u8], kind: EngineKind) -> Result<(), Refusal> {
    let mut whole = Whole { kind, ..Whole::default() };
    for payload in Parser::new(0).parse_all(wasm) {
        whole.see(payload?)?;
    }
    whole.check_imports()?;
    instances::count(wasm)
}

/// True for a component that exports only the handler of `wasi:http` 0.3, and so needs an engine with asynchronous
/// functions. A draft of that version does not count.
///
/// # Errors
/// If the file is malformed.
pub(super) fn needs_async_engine(wasm: &[u8]) -> Result<bool, Refusal> {
    let (mut depth, mut has_handler) = (0_u32, false);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let name = export?.name.name;
                    if name.starts_with(INCOMING_HANDLER) {
                        return Ok(false);
                    }
                    has_handler |= name.starts_with(HANDLER) && !name.contains('-');
                }
            }
            _ => {}
        }
    }
    Ok(has_handler)
}

/// Most imports that a refusal names.
const TOLD: usize = 8;

/// The counts over the whole file.
#[derive(Default)]
struct Whole {
    /// The engine that the component is for.
    kind: EngineKind,
    /// The first imports that are not offered.
    refused: Vec<String>,
    /// The modules and components around the parser's position.
    inside: Vec<Module>,
    modules: u64,
    items: u64,
    custom: u64,
    signatures: u64,
}

/// The counts of one module; of a component, most stay zero.
#[derive(Default)]
struct Module {
    types: u64,
    imports: u64,
    functions: u64,
    exports: u64,
    globals: u64,
    data: u64,
    segments: u64,
    element_items: u64,
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
            P::CustomSection(section) => return add(&mut self.custom, section.data().len() as u64, bounds::CUSTOM),
            P::ComponentImportSection(section) => {
                let outermost = self.inside.len() == 1;
                for import in section {
                    add(&mut self.items, 1, bounds::ITEMS)?;
                    let import = import?;
                    let name = import.name.name;
                    // An imported type needs nothing from the host.
                    let is_type = matches!(import.ty, ComponentTypeRef::Type(_));
                    if outermost && !is_type && !offered::is_offered(name, self.kind) && self.refused.len() < TOLD {
                        self.refused.push(name.to_owned());
                    }
                }
                return Ok(());
            }
            P::ComponentExportSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            P::ComponentTypeSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            P::ComponentInstanceSection(section) => {
                for instance in section {
                    let named = match instance? {
                        ComponentInstance::Instantiate { args, .. } => args.len(),
                        ComponentInstance::FromExports(exports) => exports.len(),
                    };
                    add(&mut self.items, 1 + named as u64, bounds::ITEMS)?;
                }
                return Ok(());
            }
            P::TypeSection(ref section) => {
                for group in section.clone() {
                    self.signatures(&group?)?;
                }
            }
            P::ComponentAliasSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            P::ComponentCanonicalSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            P::InstanceSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            P::CoreTypeSection(s) => return add(&mut self.items, s.count().into(), bounds::ITEMS),
            _ => {}
        }
        match self.inside.last_mut() {
            Some(module) => module.see(payload),
            None => Ok(()),
        }
    }

    /// Refuses imports that are not offered: each with its cure, unless it has that of the one before.
    fn check_imports(&self) -> Result<(), Refusal> {
        let Some(first) = self.refused.first() else { return Ok(()) };
        let cure = |name: &str| offered::cure(name, self.kind);
        let mut told = format!("it imports {first:?}, which is not offered here: {}", cure(first));
        for (before, name) in self.refused.iter().zip(&self.refused[1..]) {
            told.push_str(&format!("; and {name:?}"));
            if cure(name) != cure(before) {
                told.push_str(&format!(": {}", cure(name)));
            }
        }
        Err(Refusal(told))
    }

    fn signatures(&mut self, group: &RecGroup) -> Result<(), Refusal> {
        for ty in group.types() {
            if let CompositeInnerType::Func(function) = &ty.composite_type.inner {
                let values = function.params().len() + function.results().len();
                add(&mut self.signatures, values as u64, bounds::SIGNATURES)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        if self.inside.is_empty() && encoding != Encoding::Component {
            return Err(Refusal("it is a core WebAssembly module; a component is needed".into()));
        }
        add(&mut self.modules, 1, bounds::MODULES)?;
        self.inside.push(Module::default());
        at_most(self.inside.len() as u64, bounds::DEPTH)
    }
}

impl Module {
    fn see(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(s) => add(&mut self.types, s.count().into(), bounds::TYPES),
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    add(&mut self.imports, 1, bounds::IMPORTS)?;
                    match import?.ty {
                        TypeRef::Memory(memory) => self.memory(memory)?,
                        TypeRef::Table(table) => self.table(table)?,
                        TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
                    }
                }
                Ok(())
            }
            Payload::FunctionSection(s) => add(&mut self.functions, s.count().into(), bounds::FUNCTIONS),
            Payload::ExportSection(s) => add(&mut self.exports, s.count().into(), bounds::EXPORTS),
            Payload::GlobalSection(s) => add(&mut self.globals, s.count().into(), bounds::GLOBALS),
            Payload::ElementSection(section) => {
                add(&mut self.segments, section.count().into(), bounds::SEGMENTS)?;
                for element in section {
                    let items = match element?.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    };
                    add(&mut self.element_items, items.into(), bounds::ELEMENT_ITEMS)?;
                }
                Ok(())
            }
            Payload::DataSection(s) => add(&mut self.data, s.count().into(), bounds::DATA),
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
        add(&mut self.memories, 1, bounds::MEMORIES)
    }

    fn table(&mut self, table: TableType) -> Result<(), Refusal> {
        add(&mut self.tables, 1, bounds::TABLES)?;
        add(&mut self.elements, table.initial, bounds::ELEMENTS)
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        at_most(body.as_bytes().len() as u64, bounds::BODY)?;
        let mut locals = 0;
        for group in body.get_locals_reader()? {
            add(&mut locals, group?.0.into(), bounds::LOCALS)?;
        }
        let (mut blocks, mut depth) = (0, 0_u64);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    add(&mut blocks, 1, bounds::BLOCKS)?;
                    depth += 1;
                    at_most(depth, bounds::NESTING)?;
                }
                Operator::End => depth = depth.saturating_sub(1),
                Operator::BrTable { targets } => add(&mut self.targets, targets.len().into(), bounds::TARGETS)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounds::peaks;
    use super::*;

    /// Guests of other tool chains are checked if `cargo xtask setup` has built them: see `tests/toolchains`.
    #[test]
    fn honest_guests_stay_well_below_every_bound() {
        let examples = ["digits", "echo", "faults", "json-score"].map(bulkhead_artifacts::guest);
        let made = std::fs::read_dir(bulkhead_artifacts::root().join("target/toolchains/guests"));
        let made = made.into_iter().flatten().map(|entry| entry.unwrap().path());
        let made: Vec<_> = made.filter(|path| path.extension().is_some_and(|name| name == "wasm")).collect();
        println!("guests of other tool chains: {}", made.len());
        let committed = bulkhead_artifacts::root().join("tests/toolchains/c.wasm");
        for path in examples.into_iter().chain(made).chain([committed]) {
            match inspect(&std::fs::read(&path).unwrap(), EngineKind::Fuel) {
                Ok(()) => {}
                // This test does not check imports.
                Err(refusal) => assert!(refusal.0.contains("not offered"), "{}: {refusal}", path.display()),
            }
        }
        let peaks = peaks::take();
        println!("{peaks:#?}");
        assert_eq!(peaks.len(), 26, "every bound was looked at");
        for (name, (peak, most)) in peaks {
            assert!(2 * peak <= most, "{peak} {name} of {most}");
        }
    }

    fn doubled(levels: usize, first: &str) -> String {
        format!("(component {})", bulkhead_hostile::doubled(levels, first))
    }

    fn refused(text: &str) -> String {
        inspect(&bulkhead_hostile::component_of(text), EngineKind::Fuel).expect_err(text).to_string()
    }

    #[test]
    fn what_is_instantiated_is_multiplied_out() {
        let module = "(core module $m (memory 0) (table 0 funcref)) (core instance (instantiate $m))";
        for (levels, innermost, told) in [
            (24, "", "it has at least 1001 component instances in one guest, accepted are 1000"),
            (
                7,
                "(core module $m) (core instance (instantiate $m))",
                "101 core instances in one guest, accepted are 100",
            ),
            (5, module, "17 memories in one guest, accepted are 16"),
        ] {
            let refused = refused(&doubled(levels, innermost));
            assert!(refused.contains(told), "{refused}");
        }
        assert_eq!(
            inspect(&bulkhead_hostile::component_of(&doubled(4, module)), EngineKind::Fuel),
            Ok(()),
            "as many as are accepted"
        );
    }

    #[test]
    fn a_definition_counts_wherever_it_is_taken_from() {
        // The definition is passed as an argument; exported and aliased; or captured from two levels around.
        let many = |how: &str| format!("{how} ").repeat(101);
        let imported = format!(
            r#"(component (core module $m)
                 (component $c (import "m" (core module $m)) {})
                 (instance (instantiate $c (with "m" (core module $m)))))"#,
            many("(core instance (instantiate $m))")
        );
        let exported = format!(
            r#"(component (component $a (core module $m) (export "m" (core module $m)))
                 (instance $a (instantiate $a)) (alias export $a "m" (core module $m)) {})"#,
            many("(core instance (instantiate $m))")
        );
        let outer = format!(
            r#"(component $top (core module $m)
                 (component $a (component $b (alias outer $top $m (core module $n)) {}) (instance (instantiate $b)))
                 (instance (instantiate $a)))"#,
            many("(core instance (instantiate $n))")
        );
        let passed = format!(
            r#"(component (component $one (core module $m) (core instance (instantiate $m)))
                 (component $c (import "c" (component $c)) {})
                 (instance (instantiate $c (with "c" (component $one)))))"#,
            many("(instance (instantiate $c))")
        );
        for text in [imported, exported, outer, passed] {
            let refused = refused(&text);
            assert!(refused.contains("at least 101 core instances in one guest"), "{refused}");
        }
    }
}
