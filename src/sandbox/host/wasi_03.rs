//! WASI 0.3, for components with asynchronous functions: the world `wasi:http/service`, and the environment. Files and
//! sockets are offered in version 0.2 only.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock, system_clock};
use wasmtime_wasi::p3::bindings::random::random;
use wasmtime_wasi::p3::{cli, clocks, random as randomness};
use wasmtime_wasi::{TrappableError, WasiView};
use wasmtime_wasi_http::p3::bindings::http::types::{HeaderError, HostFields};
use wasmtime_wasi_http::{FieldMap, WasiHttpView, p3};

use super::http::ENTRY;
use super::{HOST_CALL, HostState, RANDOM_BYTE, replace};

/// The version that the linker offers. Guests built for other patch versions of 0.3 find it too.
const WASI_03: &str = "0.3.0";
const TYPES: (&str, &str) = ("http/types", WASI_03);

type Fields = Resource<FieldMap>;

pub(in crate::sandbox) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    cli::add_to_linker(linker)?;
    clocks::add_to_linker(linker)?;
    randomness::add_to_linker(linker)?;
    p3::add_to_linker(linker)?;
    link_dear(linker)?;
    link_dear_fields(linker)
}

/// Replaces costly functions by functions that count their work, as for WASI 0.2.
fn link_dear(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
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

/// The functions that copy sets of headers.
fn link_dear_fields(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    replace(linker, TYPES, "[method]fields.copy-all", |mut host, (fields,): (Fields,)| {
        Box::new(async move {
            let state = host.data_mut();
            let entries = HostFields::copy_all(&mut state.http(), fields)?;
            state.work(entries.iter().map(|(name, value)| 2 * HOST_CALL + name.len() + value.len()).sum()).await;
            Ok((entries,))
        })
    })?;
    replace(linker, TYPES, "[method]fields.get", |mut host, (fields, name): (Fields, String)| {
        Box::new(async move {
            let state = host.data_mut();
            let values = HostFields::get(&mut state.http(), fields, name)?;
            state.work(values.iter().map(|value| HOST_CALL + value.len()).sum()).await;
            Ok((values,))
        })
    })?;
    replace(linker, TYPES, "[static]fields.from-list", |mut host, (entries,): (Vec<(String, Vec<u8>)>,)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(entries.iter().map(|(name, value)| ENTRY + name.len() + value.len()).sum()).await;
            let made = HostFields::from_list(&mut state.http(), entries);
            Ok((told(made)?,))
        })
    })?;
    // A set that is shared with a clone is copied before it is changed.
    replace(linker, TYPES, "[method]fields.append", |mut host, (fields, name, value): (Fields, String, Vec<u8>)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(state.size_of(&fields) + value.len()).await;
            let appended = HostFields::append(&mut state.http(), fields, name, value);
            Ok((told(appended)?,))
        })
    })?;
    replace(
        linker,
        TYPES,
        "[method]fields.set",
        |mut host, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            Box::new(async move {
                let state = host.data_mut();
                let new: usize = values.iter().map(|value| ENTRY + value.len()).sum();
                state.work(state.size_of(&fields) + new).await;
                let set = HostFields::set(&mut state.http(), fields, name, values);
                Ok((told(set)?,))
            })
        },
    )?;
    replace(linker, TYPES, "[method]fields.delete", |mut host, (fields, name): (Fields, String)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(state.size_of(&fields)).await;
            let deleted = HostFields::delete(&mut state.http(), fields, name);
            Ok((told(deleted)?,))
        })
    })?;
    replace(linker, TYPES, "[method]fields.get-and-delete", |mut host, (fields, name): (Fields, String)| {
        Box::new(async move {
            let state = host.data_mut();
            state.work(state.size_of(&fields)).await;
            let deleted = HostFields::get_and_delete(&mut state.http(), fields, name);
            Ok((told(deleted)?,))
        })
    })
}

/// Separates the error that the guest gets from one that ends it.
fn told<T>(result: Result<T, TrappableError<HeaderError>>) -> wasmtime::Result<Result<T, HeaderError>> {
    match result {
        Ok(made) => Ok(Ok(made)),
        Err(error) => error.downcast().map(Err),
    }
}
