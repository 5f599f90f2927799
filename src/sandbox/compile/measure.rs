//! The measurement of compiled code before the host maps it: the resources that one guest takes from the pool, and the
//! size of the description that the host would decode into its own memory.
//!
//! The compiler adds adapters between components, so only its output shows how many instances a guest has.

use wasmtime_environ::component::{
    Component, ComponentArtifacts, GlobalInitializer, InstantiateModule, VMComponentOffsets,
};
use wasmtime_environ::obj::ELF_WASMTIME_INFO;
use wasmtime_environ::object::{self, Object, ObjectSection};
use wasmtime_environ::{HostPtr, Module, VMOffsets};

use crate::sandbox::engine::EngineKind;
use crate::sandbox::limits::{MAX_DESCRIPTION, MAX_INSTANCE_BYTES, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use crate::sandbox::needs::Needs;

/// Bytes that the engine allocates for an instance besides its context; a generous estimate.
const BESIDE_CONTEXT: usize = 1024;

/// Reads the needs of one guest of this code.
///
/// # Errors
/// Names the size that is over its bound.
pub(super) fn measure(code: &[u8], kind: EngineKind) -> Result<Needs, String> {
    let description = description(code)?;
    if description.len() > MAX_DESCRIPTION {
        let (has, most) = (description.len(), MAX_DESCRIPTION);
        return Err(format!("its types, names and instances take {has} bytes to describe, accepted are {most}"));
    }
    let artifacts: ComponentArtifacts =
        postcard::from_bytes(description).map_err(|error| format!("its description cannot be read: {error}"))?;
    let component = &artifacts.info.component;
    let modules = instantiated(component).map(|index| index.map(|index| &artifacts.static_modules[index].module));
    let mut counted = Counted::default();
    for module in modules {
        counted.add(module)?;
    }
    counted.settle(component, kind)
}

/// Returns the section of the file that the host decodes.
fn description(code: &[u8]) -> Result<&[u8], String> {
    let found = object::read::elf::ElfFile64::<object::Endianness>::parse(code).and_then(|file| {
        let section = file.section_by_name(ELF_WASMTIME_INFO);
        section.map_or(Ok(None), |section| section.data().map(Some))
    });
    found.ok().flatten().ok_or_else(|| "its machine code has no description".to_owned())
}

/// Returns the modules that are instantiated, in order; `None` for a module that is imported.
fn instantiated(component: &Component) -> impl Iterator<Item = Option<wasmtime_environ::StaticModuleIndex>> {
    component.initializers.iter().filter_map(|initializer| match initializer {
        GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, _), _) => Some(Some(*module)),
        GlobalInitializer::InstantiateModule(InstantiateModule::Import(..), _) => Some(None),
        _ => None,
    })
}

/// Sums over the instances of a guest.
#[derive(Default)]
struct Counted {
    core_instances: usize,
    memories: usize,
    tables: usize,
    bytes: usize,
}

impl Counted {
    fn add(&mut self, module: Option<&Module>) -> Result<(), String> {
        self.core_instances += 1;
        let Some(module) = module else { return Ok(()) };
        self.memories += module.num_defined_memories();
        self.tables += module.num_defined_tables();
        let bytes = VMOffsets::new(HostPtr, module).size_of_vmctx() as usize + BESIDE_CONTEXT;
        fits(bytes, "bytes in the context of one core instance", MAX_INSTANCE_BYTES)?;
        self.bytes += bytes;
        Ok(())
    }

    fn settle(self, component: &Component, kind: EngineKind) -> Result<Needs, String> {
        let bytes = VMComponentOffsets::new(HostPtr, component).size_of_vmctx() as usize + self.bytes;
        fits(bytes, "bytes in the contexts of all instances together", MAX_INSTANCE_BYTES)?;
        let adapters = "core instances in one guest, adapters between its components included";
        Ok(Needs {
            core_instances: fits(self.core_instances, adapters, MAX_INSTANCES)?,
            memories: fits(self.memories, "memories in one guest", MAX_MEMORIES)?,
            tables: fits(self.tables, "tables in one guest", MAX_TABLES)?,
            stacks: match kind {
                EngineKind::Async => component.num_runtime_component_instances.max(1),
                EngineKind::Fuel | EngineKind::Epoch => 1,
            },
        })
    }
}

fn fits(count: usize, name: &str, most: usize) -> Result<u32, String> {
    match u32::try_from(count) {
        Ok(fitting) if count <= most => Ok(fitting),
        _ => Err(format!("it has {count} {name}, accepted are {most}")),
    }
}
