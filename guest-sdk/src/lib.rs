//! Write processors for the Bulkhead host.
//!
//! A processor is a type with two functions: `initialize` loads the model, before any call, and `process` answers one
//! call. This crate turns such a type into a WebAssembly component; the host does the rest: HTTP, authentication,
//! queueing, deadlines.
//!
#![doc = include_str!("front_page.md")]
#![doc(test(attr(deny(warnings))))]
#![warn(missing_docs)]

mod call;
mod error;
mod events;
mod export;
pub mod job;
mod level;
mod model;
mod processor;
mod request;
mod response;
#[cfg(not(target_family = "wasm"))]
mod simulated;
#[cfg(not(target_family = "wasm"))]
mod simulated_caller;
pub mod stream;

#[cfg(all(feature = "log", any(target_family = "wasm", test)))]
mod log_lines;
#[cfg(all(feature = "tracing", any(target_family = "wasm", test)))]
mod tracing_events;

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
#[cfg(target_family = "wasm")]
mod preopens;

pub use crate::{
    error::Error,
    level::{Level, log},
    model::Model,
    processor::{BatchProcessor, Processor},
    request::Request,
    response::Response,
};

#[doc(hidden)]
pub use crate::export::{assert_batch_processor, assert_processor};

/// The examples of the README, which are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
