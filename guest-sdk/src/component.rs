//! Code that [`export!`](crate::export) and [`export_batch!`](crate::export_batch) expand to. Hidden, because authors
//! never name it.

use std::{
    cell::RefCell,
    panic::{self, PanicHookInfo},
};

use crate::{
    BatchProcessor, Processor,
    bindings::{batch_of, bulkhead::processor::call},
    preopens,
};

pub use crate::bindings::*;

/// The only processor of this instance.
///
/// The host never enters an instance while a call runs in it, and never again after a trap, so the borrows cannot
/// clash.
pub struct Slot<P>(RefCell<Option<P>>);

impl<P: Processor> Slot<P> {
    #[must_use]
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    pub fn initialize(&self, model: Model) -> Result<(), String> {
        panic::set_hook(Box::new(report_panic));
        #[cfg(feature = "log")]
        crate::log_lines::install();
        #[cfg(feature = "tracing")]
        crate::tracing_events::install();

        let processor = P::initialize(&model.into()).map_err(|error| error.message)?;
        preopens::close();
        self.0.replace(Some(processor));
        Ok(())
    }

    pub fn process(&self, request: Request) -> Result<Response, Failure> {
        let mut slot = self.0.borrow_mut();
        let processor = slot.as_mut().expect("the host initializes an instance before it calls it");
        match processor.process(request.into()) {
            Ok(response) => Ok(response.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<P: BatchProcessor> Slot<P> {
    pub fn process_batch(&self, requests: Vec<Request>) -> Vec<Result<Response, Failure>> {
        let mut slot = self.0.borrow_mut();
        let processor = slot.as_mut().expect("the host initializes an instance before it calls it");
        let answers = processor.process_batch(batch_of(requests)).into_iter();
        answers.map(|answer| answer.map(Into::into).map_err(Into::into)).collect()
    }
}

/// Sends the panic's message to the host first: the abort that follows carries no reason.
fn report_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let location = info.location().map(ToString::to_string);
    call::report_panic(message, location.as_deref());
}
