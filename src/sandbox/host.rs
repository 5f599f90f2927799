//! Everything a guest can reach: the `call` interface, and WASI with clocks, random, environment, captured output and
//! the model directory. No other files, no sockets, no input. Granting more is a change to this file.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::bindings::Processor;
use super::bindings::bulkhead::processor::{call, types};
use super::limits::{Limits, MAX_HANDLES, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use super::lines::{Level, LineSink, Lines, Source};
use crate::call::Call;
use crate::failpoint;

/// Where guests find their model.
pub(super) const MODEL_DIR: &str = "/model";

/// Bytes of randomness one call to WASI may ask for.
const MAX_RANDOM: u64 = 64 << 10;
/// Bytes of a panic's message that are kept.
const MAX_PANIC: usize = 4 << 10;

/// The host's side of one guest.
pub(super) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) lines: Lines,
    /// The call being answered; none during `initialize`.
    pub(super) call: Option<Arc<Call>>,
    pub(super) panic: Option<(String, Option<String>)>,
}

/// What a guest is given at its birth.
pub(super) struct Provision<'a> {
    pub(super) memory_limit: usize,
    pub(super) envs: &'a [(String, String)],
    pub(super) model_dir: Option<&'a Path>,
    pub(super) sink: Arc<dyn LineSink>,
}

impl HostState {
    pub(super) fn new(provision: &Provision<'_>) -> wasmtime::Result<Self> {
        let lines = Lines::new(Arc::clone(&provision.sink));
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(provision.envs)
            .stdout(lines.stream(Source::Stdout))
            .stderr(lines.stream(Source::Stderr))
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(dir) = provision.model_dir {
            wasi.preopened_dir(dir, MODEL_DIR, FsPerms::ReadOnly)?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Ok(Self {
            wasi: wasi.build(),
            table,
            limits: Limits::new(provision.memory_limit),
            lines,
            call: None,
            panic: None,
        })
    }
}

impl ResourceLimiter for HostState {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum);
        if let Some(call) = &self.call {
            call.spent.note_memory(self.limits.memory());
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.limits.table_growing(current, desired, maximum))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// Offers guests exactly what this file holds.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    Processor::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for HostState {}

impl call::Host for HostState {
    fn header(&mut self, name: String) -> Option<String> {
        let value = self.call.as_ref()?.headers.get(name.as_str())?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let Some(call) = &self.call else { return Vec::new() };
        call.headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect()
    }

    fn request_id(&mut self) -> String {
        failpoint::reach("host.request_id");
        self.call.as_ref().map(|call| call.request_id.as_str().to_owned()).unwrap_or_default()
    }

    fn remaining_ms(&mut self) -> u64 {
        let Some(call) = &self.call else { return u64::MAX };
        u64::try_from(call.deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
    }

    fn log(&mut self, level: call::Level, message: String) {
        self.lines.log(level.into(), &message);
    }

    fn report_panic(&mut self, mut message: String, location: Option<String>) {
        message.truncate(message.floor_char_boundary(MAX_PANIC));
        let location = location.map(|mut location| {
            location.truncate(location.floor_char_boundary(MAX_PANIC));
            location
        });
        self.panic = Some((message, location));
    }
}

impl From<call::Level> for Level {
    fn from(level: call::Level) -> Self {
        match level {
            call::Level::Error => Self::Error,
            call::Level::Warn => Self::Warn,
            call::Level::Info => Self::Info,
            call::Level::Debug => Self::Debug,
            call::Level::Trace => Self::Trace,
        }
    }
}
