//! The count of the instances, memories and tables of one guest of a component.
//!
//! A component may instantiate another one twice, which instantiates a third one twice, and so on: a file of a kilobyte
//! can ask for millions of instances, and the compiler generates code for each. So they are counted first. The count
//! follows the definitions as instantiation would, runs nothing, and stops at the first bound that is exceeded, so its
//! cost is bounded too. An invalid file is left to the compiler, which says what is wrong.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Encoding, Instance, Parser,
    Payload,
};

use super::bounds::{self, Refusal, add};

/// Checks that one guest of the component in `wasm` has no more instances, memories and tables than are accepted.
///
/// # Errors
/// Returns the name of the exceeded count, its value, and the bound.
pub(super) fn count(wasm: &[u8]) -> Result<(), Refusal> {
    let outermost = Rc::new(definition(wasm)?);
    let mut totals = Totals::default();
    totals.instantiate(&outermost, &HashMap::new(), &[]).map(drop)
}

/// The counts so far.
#[derive(Default)]
struct Totals {
    components: u64,
    modules: u64,
    memories: u64,
    tables: u64,
    steps: u64,
}

/// A component's definition: its steps, in the order of the file.
#[derive(Default)]
struct Definition<'a> {
    steps: Vec<Step<'a>>,
    /// The modules and components that it captures from the components around it.
    captures: Vec<Capture>,
}

/// One step of a definition: it adds a module, component or instance to the index spaces, instantiates one, or exports
/// one.
enum Step<'a> {
    Module(Module),
    Component(Rc<Definition<'a>>),
    Captured(ItemKind, usize),
    /// A second index for an item of the same component.
    Again(ItemKind, u32),
    Import(ItemKind, &'a str),
    CoreInstance(u32),
    Instance(u32, Vec<NamedItem<'a>>),
    Bundle(Vec<NamedItem<'a>>),
    Alias(ItemKind, u32, &'a str),
    Export(NamedItem<'a>),
}

/// The kinds of items that instances can come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemKind {
    Module,
    Component,
    Instance,
}

/// A reference to an item under a name.
struct NamedItem<'a> {
    name: &'a str,
    kind: ItemKind,
    index: u32,
}

/// The source of a captured item: the surrounding component's own, or one that it has captured itself.
#[derive(Clone, Copy)]
enum Capture {
    Own(ItemKind, u32),
    Captured(usize),
}

/// The memories and tables that one instance of a module adds.
#[derive(Clone, Copy, Default)]
struct Module {
    memories: u64,
    tables: u64,
}

#[derive(Clone)]
enum Item<'a> {
    Module(Module),
    /// A definition, and the items that it has captured.
    Component(Rc<Definition<'a>>, Rc<[Item<'a>]>),
    Instance(Rc<Exports<'a>>),
    /// An import from the host, or an item of an invalid file.
    Unknown,
}

type Exports<'a> = HashMap<&'a str, Item<'a>>;

/// The index spaces of a component while it is instantiated.
#[derive(Default)]
struct Space<'a> {
    modules: Vec<Item<'a>>,
    components: Vec<Item<'a>>,
    instances: Vec<Item<'a>>,
}

impl Step<'_> {
    /// Returns the cost of the step, in items.
    fn cost(&self) -> u64 {
        match self {
            Self::Instance(_, named) | Self::Bundle(named) => 1 + named.len() as u64,
            Self::Component(inner) => 1 + inner.captures.len() as u64,
            _ => 1,
        }
    }
}

impl ItemKind {
    fn of(kind: ComponentExternalKind) -> Option<Self> {
        match kind {
            ComponentExternalKind::Module => Some(Self::Module),
            ComponentExternalKind::Component => Some(Self::Component),
            ComponentExternalKind::Instance => Some(Self::Instance),
            ComponentExternalKind::Func | ComponentExternalKind::Value | ComponentExternalKind::Type => None,
        }
    }
}

impl<'a> Space<'a> {
    fn of(&mut self, kind: ItemKind) -> &mut Vec<Item<'a>> {
        match kind {
            ItemKind::Module => &mut self.modules,
            ItemKind::Component => &mut self.components,
            ItemKind::Instance => &mut self.instances,
        }
    }

    fn find(&self, kind: ItemKind, index: u32) -> Item<'a> {
        let items = match kind {
            ItemKind::Module => &self.modules,
            ItemKind::Component => &self.components,
            ItemKind::Instance => &self.instances,
        };
        items.get(index as usize).cloned().unwrap_or(Item::Unknown)
    }

    fn bundle(&self, named: &[NamedItem<'a>]) -> Exports<'a> {
        named.iter().map(|item| (item.name, self.find(item.kind, item.index))).collect()
    }
}

impl Totals {
    /// Counts an instance of `definition`; returns its exports.
    fn instantiate<'a>(
        &mut self,
        definition: &Rc<Definition<'a>>,
        arguments: &Exports<'a>,
        captured: &[Item<'a>],
    ) -> Result<Exports<'a>, Refusal> {
        add(&mut self.components, 1, bounds::COMPONENT_INSTANCES)?;
        let (mut space, mut exports) = (Space::default(), Exports::new());
        for step in &definition.steps {
            add(&mut self.steps, step.cost(), bounds::STEPS)?;
            let (kind, item) = match step {
                Step::Module(module) => (ItemKind::Module, Item::Module(*module)),
                Step::Component(inner) => {
                    let items = inner.captures.iter().map(|capture| match *capture {
                        Capture::Own(kind, index) => space.find(kind, index),
                        Capture::Captured(at) => captured.get(at).cloned().unwrap_or(Item::Unknown),
                    });
                    (ItemKind::Component, Item::Component(Rc::clone(inner), items.collect()))
                }
                Step::Captured(kind, at) => (*kind, captured.get(*at).cloned().unwrap_or(Item::Unknown)),
                Step::Again(kind, index) => (*kind, space.find(*kind, *index)),
                Step::Import(kind, name) => (*kind, arguments.get(name).cloned().unwrap_or(Item::Unknown)),
                Step::CoreInstance(module) => {
                    self.core_instance(&space.find(ItemKind::Module, *module))?;
                    continue;
                }
                Step::Instance(component, arguments) => {
                    let made = match space.find(ItemKind::Component, *component) {
                        Item::Component(inner, captured) => {
                            let arguments = space.bundle(arguments);
                            Item::Instance(self.instantiate(&inner, &arguments, &captured)?.into())
                        }
                        _ => Item::Unknown,
                    };
                    (ItemKind::Instance, made)
                }
                Step::Bundle(named) => (ItemKind::Instance, Item::Instance(space.bundle(named).into())),
                Step::Alias(kind, instance, name) => {
                    let found = match space.find(ItemKind::Instance, *instance) {
                        Item::Instance(exports) => exports.get(name).cloned(),
                        _ => None,
                    };
                    (*kind, found.unwrap_or(Item::Unknown))
                }
                Step::Export(named) => {
                    let item = space.find(named.kind, named.index);
                    exports.insert(named.name, item.clone());
                    (named.kind, item)
                }
            };
            space.of(kind).push(item);
        }
        Ok(exports)
    }

    fn core_instance(&mut self, module: &Item<'_>) -> Result<(), Refusal> {
        let Item::Module(Module { memories, tables }) = module else { return Ok(()) };
        add(&mut self.modules, 1, bounds::CORE_INSTANCES)?;
        add(&mut self.memories, *memories, bounds::GUEST_MEMORIES)?;
        add(&mut self.tables, *tables, bounds::GUEST_TABLES)
    }
}

/// Reads the steps of a component and of those inside it.
fn definition(wasm: &[u8]) -> Result<Definition<'_>, Refusal> {
    // The definitions that are open in the parser, outermost first. A module has no definition of its own.
    let mut open: Vec<Definition<'_>> = Vec::new();
    let mut module: Option<Module> = None;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Some(open_module) = &mut module {
            if open_module.see(&payload)? {
                let step = Step::Module(std::mem::take(open_module));
                module = None;
                if let Some(definition) = open.last_mut() {
                    definition.steps.push(step);
                }
            }
            continue;
        }
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => module = Some(Module::default()),
            Payload::Version { .. } => open.push(Definition::default()),
            Payload::End(_) => {
                let Some(ended) = open.pop() else { break };
                match open.last_mut() {
                    Some(around) => around.steps.push(Step::Component(ended.into())),
                    None => return Ok(ended),
                }
            }
            payload => see(&mut open, payload)?,
        }
    }
    Ok(Definition::default())
}

impl Module {
    /// Counts a section of a module; returns true at its end.
    fn see(&mut self, payload: &Payload<'_>) -> Result<bool, Refusal> {
        match payload {
            Payload::MemorySection(section) => self.memories += u64::from(section.count()),
            Payload::TableSection(section) => self.tables += u64::from(section.count()),
            Payload::End(_) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }
}

/// Reads a section of the innermost component.
fn see<'a>(open: &mut [Definition<'a>], payload: Payload<'a>) -> Result<(), Refusal> {
    let Some((definition, around)) = open.split_last_mut() else { return Ok(()) };
    let steps = &mut definition.steps;
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                if let Instance::Instantiate { module_index, .. } = instance? {
                    steps.push(Step::CoreInstance(module_index));
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                steps.push(match instance? {
                    ComponentInstance::Instantiate { component_index, args } => {
                        let args = args.iter().map(|arg| (arg.name, arg.kind, arg.index));
                        Step::Instance(component_index, named(args))
                    }
                    ComponentInstance::FromExports(exports) => {
                        Step::Bundle(named(exports.iter().map(|export| (export.name.name, export.kind, export.index))))
                    }
                });
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                let import = import?;
                steps.extend(ItemKind::of(import.ty.kind()).map(|kind| Step::Import(kind, import.name.name)));
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section {
                let export = export?;
                let named = named([(export.name.name, export.kind, export.index)]);
                steps.extend(named.into_iter().map(Step::Export));
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section {
                match alias? {
                    ComponentAlias::InstanceExport { kind, instance_index, name } => {
                        definition.steps.extend(ItemKind::of(kind).map(|kind| Step::Alias(kind, instance_index, name)));
                    }
                    ComponentAlias::Outer { kind, count, index } => {
                        let kind = match kind {
                            ComponentOuterAliasKind::CoreModule => ItemKind::Module,
                            ComponentOuterAliasKind::Component => ItemKind::Component,
                            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => continue,
                        };
                        let step = match count {
                            0 => Step::Again(kind, index),
                            _ => Step::Captured(kind, capture(definition, around, kind, count, index)),
                        };
                        definition.steps.push(step);
                    }
                    ComponentAlias::CoreInstanceExport { .. } => {}
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Makes `definition`, and each component in between, capture an item of the component `count` levels around it.
/// Returns its index among the captures.
fn capture(
    definition: &mut Definition<'_>,
    around: &mut [Definition<'_>],
    kind: ItemKind,
    count: u32,
    index: u32,
) -> usize {
    let captured = match (count, around.split_last_mut()) {
        (..=1, _) | (_, None) => Capture::Own(kind, index),
        (_, Some((parent, around))) => Capture::Captured(capture(parent, around, kind, count - 1, index)),
    };
    definition.captures.push(captured);
    definition.captures.len() - 1
}

fn named<'a>(items: impl IntoIterator<Item = (&'a str, ComponentExternalKind, u32)>) -> Vec<NamedItem<'a>> {
    let items = items.into_iter();
    items.filter_map(|(name, kind, index)| Some(NamedItem { name, kind: ItemKind::of(kind)?, index })).collect()
}
