//! One warm guest: an instance of a program that answers one call at a time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::Instance;

use super::backtrace::stack;
use super::entry::Entry;
use super::fault::{Circumstances, Fault, classify};
use super::host::HostState;
use super::lines::Lines;
use super::program::Program;
use crate::call::{Answer, Call};

/// An instance with its memory. After a fault or an abandoned call it must not be used again.
pub struct Guest {
    program: Arc<Program>,
    store: Store<HostState>,
    instance: Instance,
    entry: Entry,
    calls: u64,
    /// Bytes of memory at its start.
    born_with: usize,
    clock: Clock,
}

/// The reason why an intact guest is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecycleReason {
    /// The guest has answered as many calls as its service allows.
    Requests,
    /// The guest's memory has grown so much that the rest may soon be too little.
    Memory,
}

impl RecycleReason {
    /// Short and stable: the `reason` label of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Memory => "memory",
        }
    }
}

/// The fault and the guest stack of a failed call.
#[derive(Clone, Debug)]
pub struct Failed {
    pub fault: Fault,
    /// The guest's frames, innermost first, one per line; empty if there are none.
    pub stack: String,
}

/// The answer to a call, or its failure. Boxed, because it is passed up through many futures.
pub type Answered = Result<Box<Answer>, Box<Failed>>;

impl From<Fault> for Box<Failed> {
    fn from(fault: Fault) -> Self {
        Box::new(Failed { fault, stack: String::new() })
    }
}

/// The result of one call.
#[derive(Debug)]
pub struct Run {
    pub result: Answered,
    /// Fuel used; `None` if the service is not metered.
    pub fuel: Option<u64>,
    /// Bytes of memory that the guest uses.
    pub memory: usize,
    pub ended: Instant,
}

impl Run {
    /// True if the guest may answer another call.
    pub fn left_the_guest_whole(&self) -> bool {
        !self.result.as_ref().is_err_and(|failed| failed.fault.spoils())
    }
}

impl Guest {
    pub(super) fn new(program: Arc<Program>, store: Store<HostState>, instance: Instance, entry: Entry) -> Self {
        let born_with = store.data().limits.memory();
        let clock = Clock { busy: Duration::ZERO, last: Instant::now() };
        Self { program, store, instance, entry, calls: 0, born_with, clock }
    }

    pub(super) fn store_and_instance(&mut self) -> (&mut Store<HostState>, Instance) {
        (&mut self.store, self.instance)
    }

    /// Returns the reason to replace this guest although it is intact; `None` if it can stay.
    pub fn recycle_reason(&self) -> Option<RecycleReason> {
        let program = &self.program;
        if program.settings().max_requests.is_some_and(|max| self.calls >= max) {
            return Some(RecycleReason::Requests);
        }
        // A guest that needs `initialize` is more costly to replace than to keep.
        let limits = &self.store.data().limits;
        let room = limits.memory_limit().saturating_sub(self.born_with);
        let grown = limits.memory().saturating_sub(self.born_with);
        (program.starts_from_image() && grown > room / 2).then_some(RecycleReason::Memory)
    }

    /// Answers one call. The future yields at the end of each slice; dropping it stops the guest there.
    ///
    /// `began` is the present time, which the caller has already read.
    pub async fn run(&mut self, call: Arc<Call>, began: Instant) -> Run {
        self.calls += 1;
        let Self { program, store, entry, clock, .. } = self;
        let budget = prepare(store.data_mut(), &call, 1, program);
        *clock = Clock { busy: Duration::ZERO, last: began };
        let returned = match program.wind_up(store, budget) {
            Ok(()) => clock.time(pin!(entry.call(store, &call, program.settings()))).await,
            Err(error) => Err(error),
        };

        let result = match returned {
            Ok(answered) => answered,
            Err(error) => Err(failed(store.data_mut(), &error, budget)),
        };
        let result = streamed(&call, result);
        if let Some(failed) = spoilt_by(&result) {
            store.data().lines.fault(Some(call.request_id), &failed.fault, &failed.stack);
        }
        let (fuel, memory) = self.settle(1);
        if call.streaming.has_begun() {
            // The account of the request is settled as soon as the stream ends.
            call.spent.note_memory(memory);
            fuel.into_iter().for_each(|fuel| call.spent.note_fuel(fuel));
            self.store.data_mut().end_stream();
        }
        Run { result, fuel, memory, ended: self.clock.last }
    }

    /// Answers several calls at once, with the fuel of all of them together. Otherwise as [`Guest::run`].
    ///
    /// # Panics
    /// If the service does not batch, or there is no call.
    pub async fn run_batch(&mut self, calls: &[Arc<Call>], began: Instant) -> BatchRun {
        let size = calls.len();
        self.calls += size as u64;
        let Self { program, store, entry, clock, .. } = self;
        let budget = prepare(store.data_mut(), &calls[0], size, program);
        store.data_mut().batch = calls.to_vec();
        store.set_hostcall_fuel(program.copies(size));
        *clock = Clock { busy: Duration::ZERO, last: began };
        let returned = match program.wind_up(store, budget) {
            Ok(()) => clock.time(pin!(entry.call_batch(store, calls, program.settings()))).await,
            Err(error) => Err(error),
        };

        store.set_hostcall_fuel(program.copies(1));
        let results = match returned {
            Ok(results) => results,
            Err(error) => Err(failed(store.data_mut(), &error, budget)),
        };
        tell_of_faults(&store.data().lines, calls, &results);
        let (fuel, memory) = self.settle(size);
        BatchRun { results, fuel, memory, ended: self.clock.last }
    }

    /// Ends a call, or `calls` calls together. Returns the fuel used, if it is metered, and the memory in use.
    fn settle(&mut self, calls: usize) -> (Option<u64>, usize) {
        let state = self.store.data_mut();
        state.call = None;
        state.batch.clear();
        state.end_call();
        state.lines.end();
        let memory = state.limits.memory();
        let fuel = burnt(&self.program, &self.store, calls);
        if let Some(fuel) = fuel {
            self.program.fit_slice(fuel, self.clock.busy);
        }
        (fuel, memory)
    }
}

/// The result of one call into the guest for several requests.
#[derive(Debug)]
pub struct BatchRun {
    /// One answer for each request, in their order; or the failure of all.
    pub results: Result<Vec<Answered>, Box<Failed>>,
    /// Fuel used by all together; `None` if the service is not metered.
    pub fuel: Option<u64>,
    pub memory: usize,
    pub ended: Instant,
}

impl BatchRun {
    /// Returns the failure after which the guest must not be used, if there was one.
    pub fn failed(&self) -> Option<&Failed> {
        match &self.results {
            Ok(results) => results.iter().find_map(spoilt_by),
            Err(failed) => Some(failed),
        }
    }
}

/// Returns the failure after which the guest must not be used, if this answer is one.
fn spoilt_by(answered: &Answered) -> Option<&Failed> {
    answered.as_ref().err().map(AsRef::as_ref).filter(|failed| failed.fault.spoils())
}

/// Logs the faults of a batch. A fault that all requests share has no request id, unless there is only one request.
fn tell_of_faults(lines: &Lines, calls: &[Arc<Call>], results: &Result<Vec<Answered>, Box<Failed>>) {
    let tell = |request, failed: &Failed| lines.fault(request, &failed.fault, &failed.stack);
    match (results, calls) {
        (Err(failed), [only]) => tell(Some(only.request_id), failed),
        (Err(failed), _) => tell(None, failed),
        (Ok(results), _) => {
            for (call, failed) in calls.iter().zip(results.iter().map(spoilt_by)) {
                failed.into_iter().for_each(|failed| tell(Some(call.request_id), failed));
            }
        }
    }
}

/// Returns the result of a call that may have streamed its answer: that answer, unless the caller has it already.
fn streamed(call: &Call, result: Answered) -> Answered {
    let has_begun = call.streaming.has_begun();
    let result = match result {
        Ok(answer) if has_begun && answer.body.whole().is_some_and(|body| !body.is_empty()) => {
            let reason = "it has a body, although its answer was streamed".into();
            Err(Fault::BadAnswer { reason }.into())
        }
        Ok(answer) if has_begun => Ok(call.streaming.take().unwrap_or(answer)),
        result => result,
    };
    if result.is_err() {
        call.streaming.break_off();
    }
    result
}

/// Prepares the guest for a call, or for `calls` calls of which this is the first. Returns the fuel they may use
/// together.
fn prepare(state: &mut HostState, call: &Arc<Call>, calls: usize, program: &Program) -> u64 {
    state.begin_call();
    state.limits.take_refused();
    // A panic that was reported and then survived does not explain a later fault.
    state.panic = None;
    state.lines.begin(Some(call.request_id), program.settings().log_bytes.saturating_mul(calls));
    call.spent.note_memory(state.limits.memory());
    state.call = Some(Arc::clone(call));
    budget(program.fuel(), calls).unwrap_or(u64::MAX)
}

/// Returns the fuel of `calls` calls together; `None` if the service is not metered.
fn budget(fuel: Option<u64>, calls: usize) -> Option<u64> {
    fuel.map(|fuel| fuel.saturating_mul(calls as u64))
}

/// Returns the fuel that the present calls have used; `None` if the service is not metered.
fn burnt(program: &Program, store: &Store<HostState>, calls: usize) -> Option<u64> {
    let budget = budget(program.fuel(), calls)?;
    Some(budget.saturating_sub(store.get_fuel().unwrap_or_default()))
}

/// Returns the failure of a call that did not return.
fn failed(state: &mut HostState, error: &wasmtime::Error, fuel_budget: u64) -> Box<Failed> {
    let circumstances = Circumstances { panic: state.panic.take(), refused: state.limits.take_refused(), fuel_budget };
    Box::new(Failed { fault: classify(error, circumstances), stack: stack(error) })
}

/// Returns each call's part of the fuel that a batch has used. The parts add up to the whole.
pub fn share(fuel: u64, calls: usize, index: usize) -> u64 {
    let calls = calls.max(1) as u64;
    fuel / calls + if index == 0 { fuel % calls } else { 0 }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A call under way was stopped here. Only the guest still knows its cost.
        let state = self.store.data_mut();
        let (call, batch) = (state.call.take(), std::mem::take(&mut state.batch));
        let Some(call) = call else { return };
        call.streaming.break_off();
        let Some(fuel) = burnt(&self.program, &self.store, batch.len().max(1)) else { return };
        if batch.is_empty() {
            call.spent.note_fuel(fuel);
        }
        for (index, call) in batch.iter().enumerate() {
            call.spent.note_fuel(share(fuel, batch.len(), index));
        }
        // Without this, the slice would never be fitted to a processor whose calls never return.
        self.program.fit_slice(fuel, self.clock.busy);
    }
}

/// Measures the time spent inside the guest, without the time between polls: the time that its fuel takes.
struct Clock {
    busy: Duration,
    /// The time of the last reading.
    last: Instant,
}

impl Clock {
    /// Polls a future to its end. Its first poll begins at the last reading.
    async fn time<F: Future + Unpin>(&mut self, mut future: F) -> F::Output {
        let mut stood_aside = false;
        poll_fn(|cx| {
            let started = if stood_aside { Instant::now() } else { self.last };
            let polled = Pin::new(&mut future).poll(cx);
            stood_aside = true;
            self.last = Instant::now();
            self.busy += self.last - started;
            polled
        })
        .await
    }
}
