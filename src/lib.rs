//! Bulkhead serves user-written processors, WebAssembly programs, each in its own watertight compartment.
//!
//! A request enters through `front`, which finds its service, authenticates its caller and reads its body. `outcome`
//! passes the call to a version in `registry`; the call waits for a worker in `admission`, and a guest of the `sandbox`
//! answers it. A request for a service on another host enters through the same front and leaves through `gateway`.
//! `admin` and `cli` are for operators; `api` has the documents that these two exchange.
//!
//! Each module uses only the modules behind its arrow. They all stand below it, and a test checks this drawing against
//! the code:
//!
//! ```text
//! fuzz      → front, sandbox, config
//! cli       → serve, admin, front, registry, admission, sandbox, storage, outbound, keyvalue, api, call,
//!             config
//! serve     → admin, pump, front, registry, gateway, admission, sandbox, outbound, auth, queue, storage, telemetry,
//!             config, shutdown
//! pump      → outcome, registry, refusal, outbound, queue, call, config
//! admin     → front, registry, gateway, auth, queue, storage, telemetry, api, config, incoming, header, object, quoted
//! front     → outcome, registry, gateway, refusal, admission, sandbox, auth, policy, queue, telemetry, api, call,
//!             coding,
//!             config, discovery, incoming, threads, failpoint, header, hex, limit, quoted
//! outcome   → registry, gateway, refusal, sandbox, policy, telemetry, call, config, threads
//! registry  → refusal, admission, sandbox, outbound, keyvalue, auth, policy, queue, storage, telemetry, call, config,
//!             threads, failpoint, hex
//! gateway   → policy, telemetry, api, call, config, incoming, threads, header, limit
//! refusal   → sandbox, auth, policy, queue, call, config, incoming, quoted
//! admission → threads
//! sandbox   → outbound, keyvalue, call, config, failpoint, header, hex
//! keyvalue  → storage
//! auth      → config
//! policy    → config
//! storage   → config, failpoint, hex
//! queue     → telemetry, config, failpoint
//! telemetry → call, threads
//! api       → config, object
//! outbound  → config
//! call      → incoming
//! coding, config, discovery, incoming, threads, failpoint, header, hex, limit, object, quoted, shutdown →
//! ```
//!
//! The missing arrows matter most. The sandbox knows nothing of connections, and admission knows nothing of
//! WebAssembly. Only `refusal.rs` chooses a failing status for callers, and `admin/problem/kinds.rs` for operators. A
//! connection that is refused before its first request gets the fixed response of `front/listen/rejected.rs`. Only
//! `sandbox` imports the engine. There is no unbounded channel and no global state, and a guest runs for a caller only
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
mod pump;
pub mod queue;
pub mod registry;
pub mod storage;

pub mod gateway;
pub mod keyvalue;
pub mod outbound;

pub mod admin;
pub mod api;
pub mod telemetry;

pub mod cli;
pub mod failpoint;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod header;
pub mod hex;
#[cfg(test)]
mod layers;
mod limit;
mod object;
mod quoted;
pub mod serve;
pub mod shutdown;
mod threads;
