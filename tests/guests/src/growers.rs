//! Components that are small to send and expensive to hold: their compiled form would fill the host's own memory.

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, Function, FunctionSection, GlobalSection,
    GlobalType, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use super::composed::{composed, doubled};
use super::random::{push_instance, push_module};
use super::{Expect, Hostile, component_of, good};

/// Makes every grower, with the expected text of its refusal. The last ones are just small enough.
pub fn growers() -> Vec<Hostile> {
    use Expect::{Answer, Refused};
    let module = "(core module $m (memory 0) (table 0 funcref)) (core instance (instantiate $m))";
    vec![
        grower(
            "C20",
            "sixteen million component instances",
            Refused("component instances in one guest, accepted are"),
            composed(&doubled(24, "")),
        ),
        grower(
            "C20-core",
            "sixteen million core instances",
            Refused("core instances in one guest, accepted are"),
            composed(&doubled(24, "(core module $m) (core instance (instantiate $m))")),
        ),
        grower(
            "C20-memories",
            "sixty-four memories",
            Refused("memories in one guest, accepted are"),
            composed(&doubled(6, module)),
        ),
        grower(
            "C20-types",
            "ten thousand function types of a thousand parameters",
            Refused("parameters and results of function types, accepted are"),
            wide_types(10_000, 1000),
        ),
        grower(
            "C20-functions",
            "fifty thousand functions that a table may hold",
            Refused("items of element segments, accepted are"),
            escaping(50_000),
        ),
        grower(
            "C20-exports",
            "a hundred instances with exports of long names",
            Refused("to describe, accepted are"),
            long_names(100, 60_000),
        ),
        grower("C20-fields", "types with ten thousand fields", Refused("type size exceeds"), fields(120, 9000)),
        grower(
            "C20-globals",
            "almost three hundred thousand globals in modules that nobody uses",
            Answer,
            unused(28, &globals(9_900)),
        ),
        grower(
            "C20-data",
            "data segments far from each other in a module that nobody uses",
            Answer,
            unused(1, &segments(39_000)),
        ),
    ]
}

fn grower(id: &str, title: &'static str, expect: Expect, component: Vec<u8>) -> Hostile {
    Hostile { id: id.into(), title, expect, sandbox: "{}", component }
}

/// Makes the good processor beside an instance of another module.
fn beside(module: &Module) -> Vec<u8> {
    let mut component = good();
    push_module(&mut component, &module.clone().finish());
    push_instance(&mut component, 1, &[]);
    component
}

/// Makes the good processor beside `count` copies of a module.
fn unused(count: usize, module: &Module) -> Vec<u8> {
    let module = module.clone().finish();
    let mut component = good();
    (0..count).for_each(|_| push_module(&mut component, &module));
    component
}

fn globals(count: u32) -> Module {
    let mut globals = GlobalSection::new();
    for n in 0..count {
        let ty = GlobalType { val_type: ValType::I64, mutable: n % 2 == 0, shared: false };
        globals.global(ty, &ConstExpr::i64_const(n.into()));
    }
    let mut module = Module::new();
    module.section(&globals);
    module
}

/// Makes segments so far apart that the engine makes no memory image of them.
fn segments(count: u32) -> Module {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 65536, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut data = DataSection::new();
    for n in 0..count {
        data.active(0, &ConstExpr::i32_const((n << 16) as i32), [1]);
    }
    let mut module = Module::new();
    module.section(&memories).section(&data);
    module
}

fn wide_types(count: usize, parameters: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    for n in 0..count {
        // Each type is different: the bits of its number select the parameters that are floats.
        let parameter = |at: usize| if n >> (at % 16) & 1 == 1 { ValType::F32 } else { ValType::I32 };
        types.ty().function((0..parameters).map(parameter), []);
    }
    let mut module = Module::new();
    module.section(&types);
    beside(&module)
}

fn escaping(count: u32) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    let mut function = Function::new([]);
    function.instructions().end();
    for _ in 0..count {
        functions.function(0);
        code.function(&function);
    }
    let mut elements = ElementSection::new();
    elements.passive(Elements::Functions((0..count).collect::<Vec<_>>().into()));
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&elements).section(&code);
    beside(&module)
}

/// Makes instances of one component whose exports have names of `length` bytes.
fn long_names(count: usize, length: usize) -> Vec<u8> {
    let names: String = (0..count).map(|n| format!(r#"(export "{}{n}" (func $f))"#, "n".repeat(length))).collect();
    component_of(&format!(
        r#"(component (component $c (core module $m (func (export "f"))) (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f"))) {names})
           (instance $c (instantiate $c)) (export "c" (instance $c)))"#
    ))
}

fn fields(count: usize, fields: usize) -> Vec<u8> {
    let types: String = (0..count)
        .map(|n| {
            let flags: String = (0..fields).map(|f| format!(r#"(field "f{n}-{f}" u8)"#)).collect();
            format!("(type $t{n} (record {flags})) (export \"t{n}\" (type $t{n}))")
        })
        .collect();
    component_of(&format!("(component {types})"))
}
