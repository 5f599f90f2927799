//! The callers of native tests, in place of those of a host.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::Response;

thread_local! {
    static CALLER: RefCell<Option<Caller>> = const { RefCell::new(None) };
}

#[derive(Debug, Default)]
struct Caller {
    head: Option<Response>,
    pieces: Vec<Vec<u8>>,
    has_left: bool,
}

/// A caller that reads streamed answers of this thread for as long as this value lives. Only native builds have it, for
/// unit tests.
#[derive(Debug)]
pub struct Simulation(PhantomData<*const ()>);

/// Makes a caller who reads the streamed answer of the next call of this thread. Only native builds have this function,
/// for unit tests.
#[must_use]
pub fn simulate() -> Simulation {
    CALLER.replace(Some(Caller::default()));
    Simulation(PhantomData)
}

impl Simulation {
    /// Returns the head of the answer, as a response without a body; `None` if no answer has begun.
    #[must_use]
    pub fn head(&self) -> Option<Response> {
        with(|caller| caller.head.clone()).flatten()
    }

    /// Returns the pieces that were written.
    #[must_use]
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        with(|caller| caller.pieces.clone()).unwrap_or_default()
    }

    /// Returns the body as far as it was written.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// Makes the caller leave.
    pub fn leave(&self) {
        with(|caller| caller.has_left = true);
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        CALLER.take();
    }
}

pub(crate) fn begin(status: u16, content_type: Option<&str>, headers: &[(String, String)]) -> Result<(), String> {
    let (content_type, headers) = (content_type.map(str::to_owned), headers.to_vec());
    let begun = with(|caller| match caller.head {
        Some(_) => Err("the answer has begun already".to_owned()),
        None => {
            caller.head = Some(Response { status, content_type, headers, body: Vec::new() });
            Ok(())
        }
    });
    begun.unwrap_or_else(|| Err("there is no caller; in tests, `stream::simulate` makes one".to_owned()))
}

pub(crate) fn write(piece: &[u8]) -> Result<(), ()> {
    let written = with(|caller| {
        if caller.head.is_none() || caller.has_left {
            return Err(());
        }
        if !piece.is_empty() {
            caller.pieces.push(piece.to_owned());
        }
        Ok(())
    });
    written.unwrap_or(Err(()))
}

pub(crate) fn is_abandoned() -> bool {
    with(|caller| caller.has_left).unwrap_or(true)
}

fn with<T>(work: impl FnOnce(&mut Caller) -> T) -> Option<T> {
    CALLER.with_borrow_mut(|caller| caller.as_mut().map(work))
}
