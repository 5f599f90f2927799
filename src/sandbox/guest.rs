//! One warm guest: an instance of a program that answers one call at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::Instance;

use super::answer;
use super::bindings::Processor;
use super::bindings::bulkhead::processor::types::Request;
use super::fault::{Circumstances, Fault, classify, stack};
use super::host::HostState;
use super::program::Program;
use crate::call::{Answer, Call};

/// An instance with its memory. After a fault, or when a call was abandoned, it must not be used again.
pub struct Guest {
    program: Arc<Program>,
    store: Store<HostState>,
    processor: Processor,
    instance: Instance,
    calls: u64,
    /// Bytes of memory it began with.
    born_with: usize,
    clock: Clock,
}

/// Why a guest that is whole is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worn {
    /// It has answered as many calls as its service lets one answer.
    Requests,
    /// Its memory has grown so far that what is left may soon be too little.
    Memory,
}

impl Worn {
    /// Short and stable: the `reason` label of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Memory => "memory",
        }
    }
}

/// What one call came to.
#[derive(Debug)]
pub struct Run {
    pub result: Result<Answer, Fault>,
    /// The guest's frames when it failed, innermost first.
    pub stack: String,
    /// Fuel burnt; `None` where the service is not metered.
    pub fuel: Option<u64>,
    /// Bytes of memory the guest has come to use.
    pub memory: usize,
    pub ended: Instant,
}

impl Run {
    /// Whether the guest may answer another call.
    pub fn left_the_guest_whole(&self) -> bool {
        matches!(self.result, Ok(_) | Err(Fault::Failure { .. }))
    }
}

impl Guest {
    pub(super) fn new(
        program: Arc<Program>,
        store: Store<HostState>,
        processor: Processor,
        instance: Instance,
    ) -> Self {
        let born_with = store.data().limits.memory();
        let clock = Clock { busy: Duration::ZERO, last: Instant::now() };
        Self { program, store, processor, instance, calls: 0, born_with, clock }
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    pub(super) fn store_and_instance(&mut self) -> (&mut Store<HostState>, Instance) {
        (&mut self.store, self.instance)
    }

    /// Whether this guest should make way for another, though nothing is wrong with it.
    pub fn worn(&self) -> Option<Worn> {
        let program = &self.program;
        if program.settings().max_requests.is_some_and(|max| self.calls >= max) {
            return Some(Worn::Requests);
        }
        // Where `initialize` must run, a new guest costs more than a large one.
        let limits = &self.store.data().limits;
        let room = limits.memory_limit().saturating_sub(self.born_with);
        let grown = limits.memory().saturating_sub(self.born_with);
        (program.starts_from_image() && grown > room / 2).then_some(Worn::Memory)
    }

    /// Answers one call. The future steps aside at the end of each slice; dropping it stops the guest there.
    ///
    /// `began` is the present moment, which the caller has just looked at.
    pub async fn run(&mut self, call: Arc<Call>, began: Instant) -> Run {
        self.calls += 1;
        let Self { program, store, processor, clock, .. } = self;
        let settings = program.settings();
        let budget = settings.fuel.unwrap_or(u64::MAX);
        let state = store.data_mut();
        state.limits.take_refused();
        // A panic that was reported and then survived explains nothing that comes later.
        state.panic = None;
        state.lines.begin(Some(call.request_id), settings.log_bytes);
        call.spent.note_memory(state.limits.memory());
        state.call = Some(Arc::clone(&call));

        *clock = Clock { busy: Duration::ZERO, last: began };
        let returned = match program.wind_up(store, budget) {
            Ok(()) => clock.time(processor.call_process(&mut *store, request(&call))).await,
            Err(error) => Err(error),
        };

        let state = store.data_mut();
        state.call = None;
        state.lines.end();
        let (result, stack) = match returned {
            Ok(Ok(response)) => (answer::check(response, settings.max_response_bytes), String::new()),
            Ok(Err(failure)) => (Err(answer::failure(failure)), String::new()),
            Err(error) => {
                let circumstances = Circumstances {
                    panic: state.panic.take(),
                    memory_refused: state.limits.take_refused(),
                    memory_limit: state.limits.memory_limit(),
                    fuel_budget: budget,
                };
                (Err(classify(&error, circumstances)), stack(&error))
            }
        };
        let memory = state.limits.memory();
        let fuel = burnt(program, store);
        if let Some(fuel) = fuel {
            program.fit_slice(fuel, clock.busy);
        }
        Run { result, stack, fuel, memory, ended: clock.last }
    }
}

/// Fuel that the present call has burnt; `None` where the service is not metered.
fn burnt(program: &Program, store: &Store<HostState>) -> Option<u64> {
    let budget = program.settings().fuel?;
    Some(budget.saturating_sub(store.get_fuel().unwrap_or_default()))
}

impl Drop for Guest {
    fn drop(&mut self) {
        // In the middle of a call: it was stopped, and nobody else can say any more what it cost.
        if let (Some(call), Some(fuel)) = (self.store.data_mut().call.take(), burnt(&self.program, &self.store)) {
            call.spent.note_fuel(fuel);
            // A processor none of whose calls ever comes to its end would otherwise never be known.
            self.program.fit_slice(fuel, self.clock.busy);
        }
    }
}

/// Adds up the time spent in the guest alone, without the time it stood aside: what its fuel costs.
struct Clock {
    busy: Duration,
    /// The last look at the clock.
    last: Instant,
}

impl Clock {
    /// The first poll begins at the last look.
    async fn time<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut stood_aside = false;
        poll_fn(|cx| {
            let started = if stood_aside { Instant::now() } else { self.last };
            let polled = future.as_mut().poll(cx);
            stood_aside = true;
            self.last = Instant::now();
            self.busy += self.last - started;
            polled
        })
        .await
    }
}

fn request(call: &Call) -> Request<'_> {
    Request {
        method: call.method.as_str(),
        path: call.path(),
        query: call.uri.query(),
        content_type: call.content_type(),
        body: &call.body,
    }
}
