//! One integration binary: the real host, real guests, real sockets.

#![expect(clippy::needless_pass_by_value, reason = "settings are written in place, as json!({…})")]

mod admin;
mod batching;
mod bench;
mod cli;
mod client;
mod clock;
mod codings;
mod connections;
mod control;
mod cors;
mod crash_block;
mod crowd;
mod deploys;
mod desync;
mod dice;
mod discovery;
mod early_answers;
mod endings;
mod faults;
mod figures;
mod gateway;
mod groups;
mod host;
mod hostile;
mod hostile_http;
mod http;
mod http2;
mod leaving;
mod load;
mod mirror;
mod outcomes;
mod replacements;
mod restart;
mod secrets;
mod settings;
mod signatures;
mod snapshots;
mod soak;
mod spent;
mod tokens;
mod uploads;
mod versions;
mod warm_up;
