//! WASI 0.3, for components with asynchronous functions: the world `wasi:http/service`, and the environment. Files and
//! sockets are offered in version 0.2 only.

use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock, system_clock};
use wasmtime_wasi::p3::bindings::random::random;
use wasmtime_wasi::p3::{cli, clocks, random as randomness};
use wasmtime_wasi_http::p3::bindings::http::types;
use wasmtime_wasi_http::{WasiHttpView, p3};

use super::fields::{Entries, Fields, link_fields, size_of_entries, size_of_values, told};
use super::{HostState, RANDOM_BYTE, replace};

/// The version that the linker offers. Guests built for other patch versions of 0.3 find it too.
const WASI_03: &str = "0.3.0";
const TYPES: (&str, &str) = ("http/types", WASI_03);

pub(in crate::sandbox) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    cli::add_to_linker(linker)?;
    clocks::add_to_linker(linker)?;
    randomness::add_to_linker(linker)?;
    p3::add_to_linker(linker)?;
    link_costly(linker)?;
    replace(linker, TYPES, "[method]fields.get-and-delete", |mut host, (fields, name): (Fields, String)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(state.size_of(&fields)).await;
            let mut view = state.http();
            let deleted = types::HostFields::get_and_delete(&mut view, fields, name);
            Ok((told!(view, types, deleted),))
        })
    })?;
    link_fields!(linker, TYPES, types, copy_all, "[method]fields.copy-all");
    Ok(())
}

/// Replaces costly functions by functions that count their work, as for WASI 0.2.
fn link_costly(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for (interface, function) in
        [("random/random", "get-random-bytes"), ("random/insecure", "get-insecure-random-bytes")]
    {
        replace(linker, (interface, WASI_03), function, |mut host, (length,): (u64,)| {
            Box::new(async move {
                let state = host.data_mut();
                let bytes = random::Host::get_random_bytes(state.ctx().ctx.random(), length)?;
                state.work(bytes.len() * RANDOM_BYTE).await;
                Ok((bytes,))
            })
        })?;
    }
    replace(linker, ("clocks/monotonic-clock", WASI_03), "now", |mut host, (): ()| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(0).await;
            Ok((monotonic_clock::Host::now(&mut state.clocks())?,))
        })
    })?;
    replace(linker, ("clocks/system-clock", WASI_03), "now", |mut host, (): ()| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(0).await;
            Ok((system_clock::Host::now(&mut state.clocks())?,))
        })
    })
}
