//! Random core modules, each beside a good processor whose misbehaviour is to call all exports of the module.
//!
//! The component is the good one with four more sections: the random module, its instance, a module that puts one
//! caller per exported function into the processor's table, and its instance. So the host calls the random code
//! directly.

use std::fmt::Write as _;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};
use wasmparser::{CompositeInnerType, ExternalKind, Parser, Payload, ValType};

use super::processor;

/// The most functions of a random module that are called.
const MOST_CALLED: usize = 32;

/// Makes the component of `seed`.
pub fn random(seed: u64) -> Vec<u8> {
    let module = module(seed);
    let driver = wat::parse_str(driver(&module)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut component = processor(
        r#"(table (export "slots") 32 funcref)
           (func $act (local $at i32)
                (loop $again
                    (if (i32.eqz (ref.is_null (table.get (local.get $at)))) (then (call_indirect (local.get $at))))
                    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 32)))))"#,
    );
    // The processor is core module 0, and its instance is core instance 0.
    push_module(&mut component, &module);
    push_instance(&mut component, 1, &[]);
    push_module(&mut component, &driver);
    push_instance(&mut component, 2, &[("processor", 0), ("random", 1)]);
    component
}

/// Appends a core module to a component.
pub(crate) fn push_module(component: &mut Vec<u8>, module: &[u8]) {
    push_section(component, 1, module);
}

/// Appends an instance of the core module `module`, with imports from these instances.
pub(crate) fn push_instance(component: &mut Vec<u8>, module: u8, arguments: &[(&str, u8)]) {
    let mut section = vec![1, 0, module, arguments.len() as u8];
    for (name, instance) in arguments {
        section.push(name.len() as u8);
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(&[0x12, *instance]);
    }
    push_section(component, 2, &section);
}

fn push_section(component: &mut Vec<u8>, kind: u8, content: &[u8]) {
    component.push(kind);
    let mut length = content.len();
    while length > 0x7f {
        component.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend_from_slice(content);
}

/// Makes a module without imports that uses the features enabled in the host's engine.
fn module(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(64 << 10)
    .collect();
    let config = Config {
        max_imports: 0,
        min_funcs: 5,
        export_everything: true,
        max_instructions: 500,
        max_memory32_bytes: 16 << 20,
        max_table_elements: 10_000,
        exceptions_enabled: false,
        gc_enabled: false,
        // Reference types include references to host values, which need a garbage collector, so most such modules are
        // refused.
        reference_types_enabled: seed.is_multiple_of(8),
        memory64_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    };
    let module = Module::new(config, &mut Unstructured::new(&bytes));
    module.unwrap_or_else(|error| panic!("seed {seed}: {error}")).to_bytes()
}

/// Makes a module whose functions call the exported functions of `module` and take no parameters themselves.
fn driver(module: &[u8]) -> String {
    let (mut types, mut functions, mut exported) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("the module is whole") {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group.expect("types").into_types().map(|ty| ty.composite_type.inner));
                }
            }
            Payload::ImportSection(section) => assert_eq!(section.count(), 0, "random modules import nothing"),
            Payload::FunctionSection(section) => functions.extend(section.into_iter().map(|ty| ty.expect("a type"))),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.expect("an export");
                    if export.kind == ExternalKind::Func {
                        exported.push((export.name.to_owned(), export.index));
                    }
                }
            }
            _ => {}
        }
    }
    let (mut imports, mut callers, mut slots) = (String::new(), String::new(), String::new());
    for (at, (name, function)) in exported.iter().take(MOST_CALLED).enumerate() {
        let CompositeInnerType::Func(ty) = &types[functions[*function as usize] as usize] else { continue };
        let list = |values: &[ValType]| values.iter().map(|ty| format!("{} ", text(*ty).0)).collect::<String>();
        let arguments: String = ty.params().iter().map(|ty| text(*ty).1).collect();
        let drops = "drop ".repeat(ty.results().len());
        let name: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let (params, results) = (list(ty.params()), list(ty.results()));
        let _ = writeln!(imports, r#"(import "random" "{name}" (func $f{at} (param {params}) (result {results})))"#);
        let _ = writeln!(callers, "(func $c{at} {arguments} call $f{at} {drops})");
        let _ = writeln!(slots, "(elem (i32.const {at}) $c{at})");
    }
    format!(r#"(module {imports} (import "processor" "slots" (table 32 funcref)) {callers} {slots})"#)
}

/// Returns a type as text, and a value of it.
fn text(ty: ValType) -> (&'static str, &'static str) {
    match ty {
        ValType::I32 => ("i32", "(i32.const 7)"),
        ValType::I64 => ("i64", "(i64.const -7)"),
        ValType::F32 => ("f32", "(f32.const 0.5)"),
        ValType::F64 => ("f64", "(f64.const -0.5)"),
        ValType::V128 => ("v128", "(v128.const i64x2 1 2)"),
        ValType::Ref(ty) if ty.is_func_ref() => ("funcref", "(ref.null func)"),
        ValType::Ref(_) => ("externref", "(ref.null extern)"),
    }
}
