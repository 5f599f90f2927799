use crate::{Error, Model, Request, Response};

/// What a processor is. Hand the type to [`export!`](crate::export) to make a component of it.
pub trait Processor: Sized + 'static {
    /// Gets ready: reads the model, checks the configuration. Runs once per instance, before any call.
    ///
    /// An error refuses the deploy, and its message says why. Close what you open: the host may keep a picture of the memory as
    /// it is after this function and start further instances from it, and an open file would not be in the picture.
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
