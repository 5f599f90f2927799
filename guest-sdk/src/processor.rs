use crate::{Error, Model, Request, Response};

/// What a processor is. Hand the type to [`export!`](crate::export) to make a component of it.
pub trait Processor: Sized + 'static {
    /// Gets ready: reads the model, checks the configuration. Runs before any call, once per instance or once for all of them:
    /// where it can, the host keeps a snapshot of the memory as it is after this function and starts every instance from it.
    ///
    /// An error refuses the deploy, and its message says why.
    ///
    /// What a snapshot cannot hold is an open handle, so close what you open, and say things with [`log`](crate::log) rather than
    /// on standard output; else this function runs for each instance, and `bulkhead desc` says so. What is computed here is the
    /// same in all instances: the seeds of hash maps that have been used, and random numbers that have been drawn, so draw
    /// secrets and ids in `process`. Clocks go on: an `Instant` taken here may be compared with later ones.
    ///
    /// # Errors
    ///
    /// Whatever keeps this instance from answering calls. The status of the error has no meaning here.
    fn initialize(model: &Model) -> Result<Self, Error>;

    /// Answers one call.
    ///
    /// An instance answers one call at a time, so it owns itself while it does: scratch space and caches are plain fields, without
    /// locks. The request is owned too, so that its body can be taken instead of copied.
    ///
    /// # Errors
    ///
    /// Becomes the answer: the status that the error carries, and its message as the body.
    fn process(&mut self, request: Request) -> Result<Response, Error>;
}

/// A processor that answers several calls at once, because that is faster than one after the other: a model that runs on a batch
/// of inputs. Hand the type to [`export_batch!`](crate::export_batch) instead of `export!`, and set `metadata.rpc.batching` in the
/// service file.
pub trait BatchProcessor: Processor {
    /// Answers calls that came at about the same time, at most `metadata.rpc.max_batch_size` of them: one answer for each, in their
    /// order.
    ///
    /// An `Err` is the answer to that one call. A panic, a trap, or the end of the fuel, of which there is as much as all the calls
    /// have together, is an answer to none: the calls then go to [`process`](Processor::process) of fresh instances one by one, so
    /// that only the one at fault fails. So `process` must be able to answer each of them. What this function has kept in the
    /// instance by then is gone.
    ///
    /// Each call is stopped at its own deadline as far as its caller sees; the instance is stopped at the last of them. Log lines
    /// belong to the first call until another one is asked something, or [`Request::log`] is used.
    fn process_batch(&mut self, requests: Vec<Request>) -> Vec<Result<Response, Error>>;
}
