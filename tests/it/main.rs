//! One integration binary: the real host, real guests, real sockets.

#![expect(clippy::needless_pass_by_value, reason = "settings are written in place, as json!({…})")]

mod admin;
mod cli;
mod connections;
mod desync;
mod dice;
mod early_answers;
mod faults;
mod figures;
mod host;
mod hostile_http;
mod http;
mod leaving;
mod outcomes;
mod restart;
