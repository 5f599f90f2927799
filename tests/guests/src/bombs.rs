//! Group C: components that are small to send and expensive to compile.
//!
//! Each is the good processor with one more core module, so that an accepted component can serve.

use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalType, ImportSection, InstructionSink, Module, TypeSection, ValType,
};

use super::random::{push_instance, push_module};
use super::{Expect, Hostile, good};

/// Makes every bomb, with the expected verdict of the size checks and of the limits in the compiling child.
pub fn bombs() -> Vec<Hostile> {
    use Expect::{Answer, Refused};
    let too_long = Refused("bytes in one function");
    vec![
        bomb("C1", "a hundred thousand empty functions", Refused("functions, accepted"), functions(100_000, |_| {})),
        bomb(
            "C2",
            "a hundred thousand small functions",
            Refused("functions, accepted"),
            functions(100_000, |code| {
                for n in 0..10 {
                    code.local_get(0).i32_const(n * 1000).i32_add().local_set(0);
                }
            }),
        ),
        bomb("C3", "fifteen thousand blocks, one after another", Answer, one(0, |code| blocks(code, 15_000))),
        bomb("C4", "two hundred thousand blocks, one after another", too_long, one(0, |code| blocks(code, 200_000))),
        bomb(
            "C4-short",
            "sixty thousand blocks in half a megabyte",
            Refused("blocks in one function"),
            one(0, |code| blocks(code, 60_000)),
        ),
        bomb("C5", "a million blocks, one in another", too_long, one(0, |code| nested(code, 1_000_000, |_| {}))),
        bomb("C6", "three thousand loops, one in another, each with 51 variables", too_long, one(51, loops)),
        bomb(
            "C7",
            "a thousand branch tables of two thousand targets",
            too_long,
            one(0, |code| {
                for _ in 0..1000 {
                    code.block(BlockType::Empty).block(BlockType::Empty);
                    code.local_get(0).br_table((0..2000).map(|n| n % 2), 0).end().end();
                }
            }),
        ),
        bomb(
            "C7-spread",
            "branch tables of two hundred thousand targets, over twenty functions",
            Refused("br_table targets"),
            functions(20, |code| {
                for _ in 0..50 {
                    code.block(BlockType::Empty).block(BlockType::Empty);
                    code.local_get(0).br_table((0..200).map(|n| n % 2), 0).end().end();
                }
            }),
        ),
        bomb(
            "C8",
            "a branch table of two million targets",
            too_long,
            one(0, |code| {
                code.block(BlockType::Empty).block(BlockType::Empty);
                code.local_get(0).br_table((0..2_000_000).map(|n| n % 2), 0).end().end();
            }),
        ),
        bomb(
            "C9",
            "a stack of five hundred thousand operands",
            too_long,
            one(0, |code| {
                (0..500_000).for_each(|_| {
                    code.i32_const(1);
                });
                (0..500_000).for_each(|_| {
                    code.drop();
                });
            }),
        ),
        bomb(
            "C10",
            "three hundred thousand calls in one function",
            too_long,
            one(0, |code| {
                for _ in 0..300_000 {
                    code.local_get(0).call(1).local_get(0).drop();
                }
            }),
        ),
        bomb(
            "C11",
            "one function of seven megabytes",
            too_long,
            one(0, |code| {
                for n in 0..800_000 {
                    code.local_get(0).i32_const(n).i32_add().local_set(0);
                }
            }),
        ),
        bomb(
            "C12",
            "fifty thousand variables that live long",
            Answer,
            one(49_999, |code| {
                for n in 0..49_999 {
                    code.local_get(n).i32_const(1).i32_add().local_set(n + 1);
                }
            }),
        ),
        bomb("C12-more", "sixty thousand variables", Refused("locals in one function"), one(60_000, |_| {})),
        bomb(
            "C13",
            "a branch table to fifty thousand depths",
            Refused("blocks inside each other"),
            one(0, |code| {
                nested(code, 50_000, |code| {
                    code.local_get(0).br_table(0..50_000, 0);
                });
            }),
        ),
        bomb("C14-types", "a million types", Refused("types, accepted"), types(1_000_000)),
        bomb("C14-imports", "a million imports", Refused("imports, accepted"), imports(1_000_000)),
        bomb("C14-exports", "a million exports", Refused("exports, accepted"), exports(1_000_000)),
        bomb("C14-names", "an import with names of a hundred thousand bytes", Answer, named(&"n".repeat(100_000))),
        bomb("C14-custom", "ten megabytes that mean nothing", Answer, custom("junk")),
        bomb("C14-name", "a name section of ten megabytes of nonsense", Answer, custom("name")),
        bomb("B7", "a hundred thousand data segments", Refused("data segments, accepted"), segments(100_000, 1)),
        bomb("B7-wizer", "ten thousand data segments, as many as Wizer makes, and some", Answer, segments(10_100, 1)),
        bomb("B10", "a million globals", Refused("globals, accepted"), globals(1_000_000)),
    ]
}

/// Makes a good processor beside an instance that holds this data.
pub fn of_data(data: &[u8]) -> Vec<u8> {
    let pages = u64::try_from(data.len().div_ceil(1 << 16)).expect("a size");
    let mut module = memory(pages);
    let mut section = wasm_encoder::DataSection::new();
    section.active(0, &wasm_encoder::ConstExpr::i32_const(0), data.iter().copied());
    module.section(&section);
    let mut component = good();
    push_module(&mut component, &module.finish());
    push_instance(&mut component, 1, &[]);
    component
}

fn memory(minimum: u64) -> Module {
    let mut memories = wasm_encoder::MemorySection::new();
    memories.memory(wasm_encoder::MemoryType {
        minimum,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut module = Module::new();
    module.section(&memories);
    module
}

fn bomb(id: &str, title: &'static str, expect: Expect, module: Module) -> Hostile {
    let mut component = good();
    push_module(&mut component, &module.finish());
    let imports = matches!(id, "C14-imports" | "C14-names");
    if !imports {
        push_instance(&mut component, 1, &[]);
    }
    Hostile { id: id.into(), title, expect, sandbox: "{}", component }
}

/// Makes `count` functions of one parameter, each with the code that `body` writes.
fn functions(count: u32, body: impl Fn(&mut InstructionSink<'_>)) -> Module {
    module(count, 0, body)
}

/// Makes one function with one parameter and `locals` more variables, and an empty function for it to call.
fn one(locals: u32, body: impl Fn(&mut InstructionSink<'_>)) -> Module {
    module(1, locals, body)
}

fn module(count: u32, locals: u32, body: impl Fn(&mut InstructionSink<'_>)) -> Module {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([ValType::I32], []);
    let mut push = |body: &dyn Fn(&mut InstructionSink<'_>)| {
        let mut function = Function::new([(locals, ValType::I32)]);
        let mut sink = function.instructions();
        body(&mut sink);
        sink.end();
        functions.function(0);
        code.function(&function);
    };
    (0..count).for_each(|_| push(&body));
    push(&|_| {});
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module
}

fn blocks(code: &mut InstructionSink<'_>, count: u32) {
    for _ in 0..count {
        code.block(BlockType::Empty).local_get(0).i32_eqz().br_if(0).end();
    }
}

fn nested(code: &mut InstructionSink<'_>, depth: u32, inside: impl Fn(&mut InstructionSink<'_>)) {
    (0..depth).for_each(|_| {
        code.block(BlockType::Empty);
    });
    inside(code);
    (0..depth).for_each(|_| {
        code.end();
    });
}

fn loops(code: &mut InstructionSink<'_>) {
    for _ in 0..3000 {
        code.loop_(BlockType::Empty);
        for n in 0..51 {
            code.local_get(n).i32_const(1).i32_add().local_set(n);
        }
    }
    for _ in 0..3000 {
        code.local_get(0).br_if(0).end();
    }
}

fn types(count: u32) -> Module {
    let mut types = TypeSection::new();
    (0..count).for_each(|n| types.ty().function([if n % 2 == 0 { ValType::I32 } else { ValType::I64 }], []));
    let mut module = Module::new();
    module.section(&types);
    module
}

fn imports(count: u32) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    (0..count).for_each(|n| {
        imports.import("m", &format!("{n:x}"), EntityType::Function(0));
    });
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module
}

fn named(name: &str) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import(name, name, EntityType::Function(0));
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module
}

fn exports(count: u32) -> Module {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut function = Function::new([]);
    function.instructions().end();
    code.function(&function);
    let mut exports = ExportSection::new();
    (0..count).for_each(|n| {
        exports.export(&format!("{n:x}"), ExportKind::Func, 0);
    });
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    module
}

fn custom(name: &str) -> Module {
    let data = vec![0xa5; 10 << 20];
    let mut module = Module::new();
    module.section(&CustomSection { name: name.into(), data: data.into() });
    module
}

fn segments(count: u32, length: usize) -> Module {
    let mut data = wasm_encoder::DataSection::new();
    (0..count).for_each(|n| {
        data.active(0, &wasm_encoder::ConstExpr::i32_const(n as i32), vec![n as u8; length]);
    });
    let mut module = memory(4);
    module.section(&data);
    module
}

fn globals(count: u32) -> Module {
    let mut globals = wasm_encoder::GlobalSection::new();
    (0..count).for_each(|n| {
        let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
        globals.global(ty, &wasm_encoder::ConstExpr::i64_const(n.into()));
    });
    let mut module = Module::new();
    module.section(&globals);
    module
}
