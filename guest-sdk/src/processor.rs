use crate::{Error, Model, Request, Response};

/// A processor. Pass the type to [`export!`](crate::export) to make a component of it.
pub trait Processor: Sized + 'static {
    /// Prepares the processor: reads the model and checks the configuration. Runs before any call, once per instance or
    /// once for all of them: where possible, the host takes a snapshot of the memory after this function and starts
    /// every instance from it.
    ///
    /// An error rejects the deploy, and its message is the reason given.
    ///
    /// A snapshot cannot hold an open handle. So close the files that you open, and write messages with
    /// [`log`](crate::log) instead of standard output; otherwise this function runs for each instance, and `bulkhead
    /// desc` says so. Values computed here are the same in all instances. That includes the seeds of hash maps that
    /// have been used, and random numbers that have been drawn, so draw secrets and ids in `process`. Clocks continue:
    /// an `Instant` taken here may be compared with later ones.
    ///
    /// # Errors
    ///
    /// Any reason why this instance cannot answer calls. The status of the error has no meaning here.
    fn initialize(model: &Model) -> Result<Self, Error>;

    /// Answers one call.
    ///
    /// An instance answers one call at a time, so scratch space and caches are plain fields, without locks. The request
    /// is owned, so its body can be taken instead of copied.
    ///
    /// # Errors
    ///
    /// The error becomes the answer: its status, and its message as the body.
    fn process(&mut self, request: Request) -> Result<Response, Error>;
}

/// A processor that answers several calls faster together than one after the other, such as a model that runs on a
/// batch of inputs. Pass the type to [`export_batch!`](crate::export_batch) instead of `export!`, and set
/// `metadata.rpc.batching` in the service file.
pub trait BatchProcessor: Processor {
    /// Answers calls that came at about the same time, at most `metadata.rpc.max_batch_size` of them. Returns one
    /// answer for each, in their order.
    ///
    /// An `Err` is the answer to that one call. If the batch panics, traps or runs out of fuel (it has as much fuel as
    /// all its calls together), no call is answered. The calls then go to [`process`](Processor::process) of fresh
    /// instances one by one, so that only the faulty call fails. So `process` must be able to answer each of them. Data
    /// that this function has kept in the instance is lost.
    ///
    /// The caller of each call gets its answer by that call's own deadline; the instance is stopped at the last
    /// deadline. Log lines belong to the first call until another call is queried, or [`Request::log`] is used.
    fn process_batch(&mut self, requests: Vec<Request>) -> Vec<Result<Response, Error>>;
}
