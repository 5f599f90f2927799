//! What `initialize` does outside of its memory, so that no snapshot can be taken.

use bulkhead_guest::Error;

#[cfg(target_family = "wasm")]
mod keyvalue {
    wit_bindgen::generate!({ path: "../../src/sandbox/wit/keyvalue.wit" });
    pub(super) use self::wasi::keyvalue::{atomics, store};
}

/// Adds one to the number of starts.
#[cfg(target_family = "wasm")]
pub(crate) fn count() -> Result<(), Error> {
    let store = keyvalue::store::open("default");
    let counted = store.and_then(|store| keyvalue::atomics::increment(&store, "starts", 1));
    counted.map(drop).map_err(|error| Error::new(0, format_args!("the start cannot be counted: {error:?}")))
}

/// Sends a request that nobody answers.
#[cfg(target_family = "wasm")]
pub(crate) fn ask() -> Result<(), Error> {
    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_scheme(Some(&Scheme::Http)).and_then(|()| request.set_path_with_query(Some("/")));
    set.and_then(|()| request.set_authority(Some("localhost:1"))).map_err(|()| Error::new(0, "not a request"))?;
    let sent = outgoing_handler::handle(request, None);
    sent.map(drop).map_err(|error| Error::new(0, format_args!("the request cannot be sent: {error}")))
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn count() -> Result<(), Error> {
    Err(Error::new(0, "there is no store outside of a host"))
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn ask() -> Result<(), Error> {
    Err(Error::new(0, "there are no requests outside of a host"))
}
