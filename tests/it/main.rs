//! One integration binary: the real host, real guests, real sockets.

#![expect(clippy::needless_pass_by_value, reason = "settings are written in place, as json!({…})")]

mod admin;
mod cli;
mod connections;
mod crowd;
mod deploys;
mod endings;
mod faults;
mod figures;
mod host;
mod http;
mod load;
mod outcomes;
mod replacements;
mod restart;
mod soak;
