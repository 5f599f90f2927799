//! Bulkhead serves user-written processors, WebAssembly programs, each in its own watertight compartment.
//!
//! A request comes in through `front`, is named and judged there, waits its turn in `admission`, and is answered by a
//! guest of the `sandbox`; `registry` knows which version of which service that guest belongs to. What other hosts answer
//! goes through `gateway` instead, behind the same front. Dependencies point one way, down this list:
//!
//! ```text
//! cli → serve → front, admin → registry, auth → admission → sandbox
//!                            → gateway
//! floor: config, call, coding, discovery, policy, problem, storage, telemetry, shutdown, failpoint
//! ```
//!
//! What is absent matters most. The sandbox has never heard of connections, and admission has never heard of
//! WebAssembly. Only `refusal.rs` chooses a failing status for callers, and `admin/problem.rs` for operators; a
//! connection that is refused before its first request gets the one answer of `front/turned_away.rs`. Only `sandbox`
//! imports the engine. There is no unbounded channel, no global state, and no way to run a guest for a caller except
//! through admission.

pub mod call;
pub mod coding;
pub mod config;
pub mod discovery;
pub mod incoming;

pub mod front;
mod outcome;
mod refusal;

pub mod admission;
pub mod sandbox;

pub mod auth;
pub mod policy;
pub mod registry;
pub mod storage;

pub mod gateway;

pub mod admin;
pub mod telemetry;

pub mod cli;
pub mod failpoint;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod limit;
mod problem;
mod quoted;
pub mod serve;
pub mod shutdown;
mod threads;
