//! The reasons why a request to a queue is refused before the queue sees it.

/// The reason why a request is not an operation on a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Names the parameter or header, the value that was found, and what is accepted.
    #[error("{0}")]
    BadRequest(String),
    /// `allow` has the accepted methods as the header `Allow` lists them.
    #[error("the method is not accepted here; accepted is {allow}")]
    MethodNotAllowed { allow: &'static str },
}
