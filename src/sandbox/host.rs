//! Everything that a guest can reach: the `call`, `batch`, `job` and `streaming` interfaces, `wasi:http`,
//! `wasi:keyvalue`, and WASI as far as [`super::wasi`] grants it. Nothing outside this module and its parts grants
//! access.

mod fields;
mod http;
mod keyvalue;
mod proposals;
mod streaming;
mod wasi_03;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wasmtime::ResourceLimiter;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, HasSelf, Lift, Linker, Lower, ResourceTable};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::random;
use wasmtime_wasi::{WasiCtxView, WasiView};

use self::http::Http;
pub(super) use self::http::Lent;
#[expect(unreachable_pub, reason = "the generated bindings export them")]
pub use self::keyvalue::{Bucket, Cas};
pub(super) use self::streaming::STREAMING;
pub(super) use self::wasi_03::link as link_wasi_03;
use super::bindings::Processor;
use super::bindings::batch::bulkhead::processor::batch;
use super::bindings::bulkhead::processor::{call, types};
use super::bindings::job::bulkhead::processor::job;
use super::bindings::streaming::bulkhead::processor::streaming as streaming_interface;
use super::limits::{Limits, MAX_HANDLES, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use super::lines::{Level, LineSink, Lines};
use super::settings::Settings;
use super::stream::Sink;
use super::wasi::Wasi;
use crate::call::{Call, Job, StreamLimits};
use crate::failpoint;
use crate::keyvalue::Store;

/// The version of WASI that the linker offers. Guests built for earlier versions of 0.2 find it too.
const WASI_02: &str = "0.2.12";
/// Most bytes kept of a panic's message.
const MAX_PANIC: usize = 4 << 10;

/// Host work after which a host call yields, as the guest does at the end of a slice. The unit is a copied byte; a
/// megabyte takes a few hundred microseconds at most. Host work costs no fuel, so a slice could contain any amount of
/// it.
pub(super) const SLICE_OF_HOST_WORK: usize = 1 << 20;
/// Host work of one host call, in addition to the bytes that it moves.
const HOST_CALL: usize = 256;
/// Host work of a random byte: making one takes about as long as copying this many.
const RANDOM_BYTE: usize = 16;

/// The host's side of one guest.
pub(super) struct HostState {
    wasi: Wasi,
    http: Http,
    /// The store of the service; `None` if it has none.
    keyvalue: Option<Store>,
    has_used_store: bool,
    table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) lines: Lines,
    /// The call that is being answered; in a batch, the selected call. `None` during `initialize`.
    pub(super) call: Option<Arc<Call>>,
    /// All calls of the batch that is being answered; empty outside of a batch.
    pub(super) batch: Vec<Arc<Call>>,
    pub(super) panic: Option<(String, Option<String>)>,
    /// The guest's end of the answer that it streams.
    stream: Option<Sink>,
    stream_limits: Option<StreamLimits>,
    /// Host work since a host call last yielded.
    host_work: usize,
}

impl HostState {
    pub(super) fn new(settings: &Arc<Settings>, sink: &Arc<dyn LineSink>) -> wasmtime::Result<Self> {
        let lines = Lines::new(Arc::clone(sink));
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Ok(Self {
            wasi: Wasi::new(Arc::clone(settings), &lines)?,
            http: Http::new(settings.outbound.clone(), &lines),
            keyvalue: settings.keyvalue.clone(),
            has_used_store: false,
            table,
            limits: Limits::new(settings.memory_limit),
            lines,
            call: None,
            batch: Vec::new(),
            panic: None,
            stream: None,
            stream_limits: settings.stream,
            host_work: 0,
        })
    }

    /// Returns the environment variables of the service file.
    fn envs(&self) -> &[(String, String)] {
        self.wasi.envs()
    }

    /// Prepares for another call.
    pub(super) fn begin_call(&mut self) {
        self.http.begin_call();
    }

    /// Ends what a call has left outside of the guest.
    pub(super) fn end_call(&mut self) {
        self.http.end_call();
    }

    /// Returns the number of handles that the guest holds.
    pub(super) fn open_handles(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    /// Returns the act by which the guest may have learned what other services must not know; `None` if there was none.
    pub(super) fn private_act(&self) -> Option<&'static str> {
        let used = self.has_used_store.then_some("used the key-value store");
        used.or_else(|| self.http.has_sent().then_some("sent a request"))
    }

    /// Counts a host call that moves `bytes`, and yields if enough work has been done.
    async fn work(&mut self, bytes: usize) {
        self.host_work += HOST_CALL + bytes;
        if self.host_work > SLICE_OF_HOST_WORK {
            self.host_work = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl ResourceLimiter for HostState {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum);
        for call in self.call.iter().chain(&self.batch) {
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

/// Links everything that guests are offered.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    link_costly(linker)?;
    http::link(linker)?;
    proposals::link(linker)?;
    keyvalue::link(linker)?;
    batch::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    job::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    streaming_interface::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    Processor::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Replaces the costly functions of WASI, on which a guest could spend a whole slice, by functions that count their
/// work.
fn link_costly(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for (interface, function) in
        [("random/random", "get-random-bytes"), ("random/insecure", "get-insecure-random-bytes")]
    {
        replace(linker, (interface, WASI_02), function, |mut host, (length,): (u64,)| {
            Box::new(async move {
                let state = host.data_mut();
                let bytes = random::Host::get_random_bytes(state.ctx().ctx.random(), length)?;
                state.work(bytes.len() * RANDOM_BYTE).await;
                Ok((bytes,))
            })
        })?;
    }
    replace(linker, ("clocks/monotonic-clock", WASI_02), "now", |mut host, (): ()| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(0).await;
            Ok((monotonic_clock::Host::now(&mut state.clocks())?,))
        })
    })?;
    replace(linker, ("clocks/wall-clock", WASI_02), "now", |mut host, (): ()| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(0).await;
            Ok((wall_clock::Host::now(&mut state.clocks())?,))
        })
    })
}

/// Replaces a function of an interface of WASI, given by its name and version, by `ours`. The linker must have it.
/// After a change of WASI's version, `ours` would otherwise stand beside the original, and guests would find the
/// original.
fn replace<Params, Return>(
    linker: &mut Linker<HostState>,
    (interface, version): (&str, &str),
    function: &str,
    ours: impl for<'a> Fn(StoreContextMut<'a, HostState>, Params) -> Answering<'a, Return> + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    Params: ComponentNamedList + Lift + 'static,
    Return: ComponentNamedList + Lower + 'static,
{
    let name = format!("wasi:{interface}@{version}");
    let is_new = linker.instance(&name)?.func_wrap(function, |_, (): ()| Ok(())).is_ok();
    if is_new {
        return Err(wasmtime::Error::msg(format!("there is no {function} in {name} that could be replaced")));
    }
    linker.allow_shadowing(true);
    linker.instance(&name)?.func_wrap_async(function, ours)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Answering<'a, Return> = Box<dyn Future<Output = wasmtime::Result<Return>> + Send + 'a>;

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.context(&self.lines), table: &mut self.table }
    }
}

impl types::Host for HostState {}

impl call::Host for HostState {
    async fn header(&mut self, name: String) -> Option<String> {
        let value = self.call.as_ref()?.headers.get(name.as_str());
        let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        self.work(name.len() + value.as_ref().map_or(0, String::len)).await;
        value
    }

    async fn headers(&mut self) -> Vec<(String, String)> {
        let Some(call) = &self.call else { return Vec::new() };
        let headers: Vec<(String, String)> = call
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        // Each string is one more allocation here, and one more call into the guest to allocate memory for it.
        self.work(headers.iter().map(|(name, value)| 2 * HOST_CALL + name.len() + value.len()).sum()).await;
        headers
    }

    async fn request_id(&mut self) -> String {
        failpoint::reach("host.request_id");
        self.work(0).await;
        self.call.as_ref().map(|call| call.request_id.as_str().to_owned()).unwrap_or_default()
    }

    async fn remaining_ms(&mut self) -> u64 {
        self.work(0).await;
        let Some(call) = &self.call else { return u64::MAX };
        u64::try_from(call.deadline.at().saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
    }

    async fn log(&mut self, level: call::Level, message: String) {
        self.lines.log(level.into(), &message);
        self.work(message.len()).await;
    }

    async fn report_panic(&mut self, mut message: String, location: Option<String>) {
        self.work(message.len() + location.as_ref().map_or(0, String::len)).await;
        message.truncate(message.floor_char_boundary(MAX_PANIC));
        let location = location.map(|mut location| {
            location.truncate(location.floor_char_boundary(MAX_PANIC));
            location
        });
        self.panic = Some((message, location));
    }
}

impl batch::Host for HostState {
    async fn select(&mut self, index: u32) {
        if let Some(call) = self.batch.get(index as usize) {
            self.lines.select(call.request_id);
            self.call = Some(Arc::clone(call));
        }
        self.work(0).await;
    }
}

impl HostState {
    /// The item that the guest works on; `None` in a call that is no item.
    fn job(&self) -> Option<&dyn Job> {
        self.call.as_ref()?.job.as_deref()
    }
}

impl job::Host for HostState {
    async fn report(&mut self, fraction: f64, note: String) {
        self.work(note.len()).await;
        if let Some(job) = self.job() {
            job.report(fraction, note);
        }
    }

    async fn keep_partial(&mut self, data: Vec<u8>) -> Result<(), String> {
        self.work(data.len()).await;
        match self.job() {
            Some(job) => job.keep_partial(data.into()).await,
            None => Err("there is no item: a partial result is kept for an item of a queue".into()),
        }
    }

    async fn partial(&mut self) -> Option<Vec<u8>> {
        let partial = self.job().and_then(Job::partial);
        self.work(partial.as_ref().map_or(0, Bytes::len)).await;
        partial.map(Vec::from)
    }

    async fn delivery(&mut self) -> u32 {
        self.work(0).await;
        self.job().map_or(0, Job::delivery)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_be_replaced() {
        let mut linker = Linker::new(&wasmtime::Engine::default());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let mut ours = |interface| {
            replace(&mut linker, (interface, WASI_02), "now", |_, (): ()| Box::new(async { Ok((0_u64,)) }))
                .map_err(|e| e.to_string())
        };
        assert_eq!(ours("clocks/monotonic-clock"), Ok(()));
        let refused = ours("clocks/sun-dial").unwrap_err();
        assert!(refused.contains("there is no now in wasi:clocks/sun-dial@0.2"), "{refused}");
    }
}
