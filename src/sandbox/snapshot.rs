//! Snapshots of a guest's memory after `initialize`, from which further guests start.
//!
//! An instrumented component exposes the contents of its globals and memories. That is the whole state of a guest,
//! unless it holds a handle: handles are in tables of the host, and the tables of another guest would not have them.
//! Clocks, randomness and the environment come from the host at each use, so they are current in every guest.
//!
//! The host only reads the state and writes it to a file. The compiling child makes a component from the file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;
use tokio::runtime::Handle;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{ComponentNamedList, Instance, Lift, WasmList};
use wasmtime::{AsContextMut, Store};

use super::compile;
use super::guest::Guest;
use super::host::HostState;
use super::limits::MAX_IMAGE;
use super::program::Program;
use super::state::{self, Value};
use super::{Sandbox, engine::EngineKind};
use crate::failpoint;

/// The export under which an instrumented component exposes its state.
const SHOWN: &str = "wasmtime:wizer/access";

/// A program of which no guest has been initialised yet.
pub struct Uninitialized {
    pub(super) program: Arc<Program>,
    /// The snapshot to take, or the reason why none can be taken.
    pub(super) draft: Result<Draft, String>,
}

/// A program that can serve, and the way in which its guests are created.
pub struct Ready {
    pub program: Arc<Program>,
    /// A guest that was created to make the program ready, and that can be used.
    pub first: Option<Guest>,
    /// The reason why guests are initialised one by one; `None` if they start from an image.
    pub no_snapshot: Option<String>,
}

/// A snapshot that is still to be taken.
pub(super) struct Draft {
    pub(super) wasm: PathBuf,
    /// The SHA-256 of the bytes of `wasm`.
    pub(super) sha256: String,
    pub(super) name: String,
    pub(super) kind: EngineKind,
    pub(super) functions: Option<TempPath>,
}

impl Uninitialized {
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// True if a snapshot of the first guest is to be taken.
    pub fn wants_snapshot(&self) -> bool {
        self.draft.is_ok()
    }
}

impl Sandbox {
    /// Takes a snapshot of `first`, in which only `initialize` has run, if that is possible. Otherwise the program
    /// serves without one.
    pub async fn make_ready(&self, of: Uninitialized, mut first: Guest) -> Ready {
        let Uninitialized { program, draft } = of;
        let without = |reason, program, first| Ready { program, first, no_snapshot: Some(reason) };
        let draft = match draft {
            Ok(draft) => draft,
            Err(reason) => return without(reason, program, Some(first)),
        };
        // Other services may start from the same image.
        if let Some(act) = first.store_and_instance().0.data().private_act() {
            let reason = format!("it has {act} in initialize, and other services must not know what it learned");
            return without(reason, program, Some(first));
        }
        let handles = first.store_and_instance().0.data_mut().open_handles();
        if handles > 0 {
            let plural = if handles == 1 { "" } else { "s" };
            let reason = format!(
                "it keeps {handles} handle{plural} open after initialize (files, streams, or standard output it has printed to)"
            );
            return without(reason, program, Some(first));
        }
        match self.make_image(draft, first, &program).await {
            Ok(image) => match image.instantiate_at_once() {
                Some(first) => Ready { program: image, first: Some(first), no_snapshot: None },
                None => without("no guest could be started from it".into(), program, None),
            },
            Err(reason) => without(reason, program, None),
        }
    }

    async fn make_image(&self, draft: Draft, guest: Guest, program: &Program) -> Result<Arc<Program>, String> {
        let Draft { wasm, sha256, name, kind, functions } = draft;
        let running = self.running(kind).map_err(|error| error.to_string())?;
        let file = self.compiler.state_file(&running.engine, kind, &name).map_err(|error| compile::on_disk(&error))?;
        let file = spawn_read(guest, file).await?;
        failpoint::reach("snapshot.taken");
        let functions = functions.as_deref();
        let draft = compile::ImageSource { wasm: &wasm, sha256: &sha256, state: &file, functions, name: &name };
        let image = self.compiler.make_image(&running.engine, kind, draft).await?;
        let (settings, sink) = (Arc::clone(program.settings()), Arc::clone(program.sink()));
        let linked = Program::link(running, kind, image, settings, sink, true);
        linked.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// Reads the state on a thread where that may take long, and where a panic does no harm.
async fn spawn_read(mut guest: Guest, file: TempPath) -> Result<TempPath, String> {
    let runtime = Handle::current();
    let work = move || {
        let (store, instance) = guest.store_and_instance();
        runtime.block_on(read(store, instance, &file))?;
        Ok(file)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("its state cannot be read".into()))
}

/// Writes the guest's whole state to `file`.
async fn read(store: &mut Store<HostState>, instance: Instance, file: &Path) -> Result<(), String> {
    store.data_mut().limits.lift();
    store.set_hostcall_fuel(usize::MAX);
    let names = shown(store, instance);
    let full = failpoint::is_full("snapshot.write");
    let mut to = BufWriter::new(full.and_then(|()| File::create(file)).map_err(|error| compile::on_disk(&error))?);
    let mut left = MAX_IMAGE;
    for (name, kind) in names {
        let value = match kind {
            ExportKind::I32 => Value::I32(call(store, instance, &name).await?),
            ExportKind::I64 => Value::I64(call(store, instance, &name).await?),
            ExportKind::F32 => Value::F32(call::<f32>(store, instance, &name).await?.to_bits()),
            ExportKind::F64 => Value::F64(call::<f64>(store, instance, &name).await?.to_bits()),
            ExportKind::Memory => {
                let memory: WasmList<u8> = call(store, instance, &name).await?;
                let memory = memory.as_le_slice(&*store);
                left = left.checked_sub(state::span(memory)).ok_or_else(too_large)?;
                state::write_memory(&mut to, &name, memory).map_err(|error| compile::on_disk(&error))?;
                continue;
            }
        };
        state::write(&mut to, &name, &value).map_err(|error| compile::on_disk(&error))?;
    }
    to.flush().map_err(|error| compile::on_disk(&error))
}

fn too_large() -> String {
    format!("its memory spans more than {} MiB after initialize", MAX_IMAGE >> 20)
}

enum ExportKind {
    I32,
    I64,
    F32,
    F64,
    Memory,
}

/// Returns the values that the component exposes, by name.
fn shown(store: &mut Store<HostState>, instance: Instance) -> Vec<(String, ExportKind)> {
    let engine = store.engine().clone();
    let component = instance.instance_pre(&*store).component().component_type();
    let Some(ComponentItem::ComponentInstance(shown)) = component.get_export(&engine, SHOWN).map(|export| export.ty)
    else {
        return Vec::new();
    };
    shown
        .exports(&engine)
        .filter_map(|(name, export)| {
            let ComponentItem::ComponentFunc(function) = export.ty else { return None };
            let kind = match function.results().next()? {
                Type::S32 => ExportKind::I32,
                Type::S64 => ExportKind::I64,
                Type::Float32 => ExportKind::F32,
                Type::Float64 => ExportKind::F64,
                Type::List(_) => ExportKind::Memory,
                _ => return None,
            };
            Some((name.to_owned(), kind))
        })
        .collect()
}

/// Calls a function that exposes a value. For a memory, this grows the memory by a page, for its address and length.
async fn call<T>(store: &mut Store<HostState>, instance: Instance, name: &str) -> Result<T, String>
where
    T: Lift + Send + Sync + 'static,
    (T,): ComponentNamedList + Lift,
{
    let failed = |error: wasmtime::Error| format!("its state cannot be read: {}", error.root_cause());
    let missing = || format!("its state cannot be read: {name} is missing");
    let (_, shown) = instance.get_export(&mut *store, None, SHOWN).ok_or_else(missing)?;
    let (_, function) = instance.get_export(&mut *store, Some(&shown), name).ok_or_else(missing)?;
    let function = instance.get_typed_func::<(), (T,)>(&mut *store, function).map_err(failed)?;
    let (value,) = function.call_async(store.as_context_mut(), ()).await.map_err(failed)?;
    Ok(value)
}
