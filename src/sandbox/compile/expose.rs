//! Exports of globals, the same before and after a snapshot.
//!
//! The compiler treats an exported global differently from a private one. An instrumented component exports all its
//! globals, and the component of a snapshot would export none: most functions would have to be compiled again. So both
//! are made from a component whose modules already export their globals.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{Component, ComponentSectionId, ExportKind, ExportSection, Module, RawSection, SectionId};
use wasmparser::{BinaryReaderError, Parser, Payload, TypeRef};

/// Returns `wasm` with every mutable global of its core modules exported.
pub(super) fn globals(wasm: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut component = Component::new();
    // The number of modules and components around the parser's position.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let section = payload.as_section().filter(|_| depth == 0);
        match &payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                if depth == 0 {
                    let data = module(&wasm[unchecked_range.clone()])?;
                    component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: &data });
                }
                depth += 1;
                continue;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some((id, range)) = section {
            component.section(&RawSection { id, data: &wasm[range] });
        }
    }
    Ok(component.finish())
}

fn module(wasm: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut module = Module::new();
    let mut mutable = Vec::new();
    let mut globals = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    globals += u32::from(matches!(import?.ty, TypeRef::Global(_)));
                }
            }
            Payload::GlobalSection(defined) => {
                for global in defined.clone() {
                    if global?.ty.mutable {
                        mutable.push(globals);
                    }
                    globals += 1;
                }
            }
            Payload::ExportSection(present) => {
                let mut exports = ExportSection::new();
                for export in present.clone() {
                    let export = export?;
                    if RoundtripReencoder.parse_export(&mut exports, export).is_err() {
                        return Ok(wasm.to_vec());
                    }
                }
                for index in &mutable {
                    exports.export(&format!("bulkhead global {index}"), ExportKind::Global, *index);
                }
                module.section(&exports);
                continue;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            debug_assert_ne!(id, u8::from(SectionId::Export));
            module.section(&RawSection { id, data: &wasm[range] });
        }
    }
    Ok(module.finish())
}
